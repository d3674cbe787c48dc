"""Tests for `tlsgate.service.labels`."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.settings import LabelCommand, OfferSettings
from tlsgate.service.labels import Labels

UNAME = LabelCommand(name="kernel", command=("uname", "-r"), period_seconds=60.0)


def offer(*commands: LabelCommand, **labels: str) -> OfferSettings:
    """What is offered."""
    return OfferSettings(
        kind="node", name="db1", labels=labels, commands=commands, addresses=("127.0.0.1:22",)
    )


class FakeProcess:
    """A command that runs."""

    pid = 7

    def __init__(self, protocol: Any, words: list[str]) -> None:
        self.protocol, self.words = protocol, words
        self.signals: list[str] = []

    def closeStdin(self) -> None:
        """Nothing is said to it."""

    def loseConnection(self) -> None:
        """Close its pipes."""

    def signalProcess(self, name: str) -> None:
        """Remember it."""
        self.signals.append(name)

    def ends(self, output: bytes, good: bool = True) -> None:
        """It prints, and ends."""
        self.protocol.outReceived(output)
        self.protocol.errReceived(b"complaints")
        self.protocol.processEnded(Failure(ProcessDone(0) if good else ProcessTerminated(1)))


class FakeReactor(Clock):
    """A clock that runs commands."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[FakeProcess] = []
        self.error: OSError | None = None

    def spawnProcess(self, protocol: Any, file: str, words: list[str], env: Any) -> None:
        """Run one."""
        if self.error is not None:
            raise self.error
        made = FakeProcess(protocol, words)
        self.running.append(made)
        protocol.makeConnection(made)


class LabelsTests(SynchronousTestCase):
    """Tests for `Labels`."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.changes = 0

    def changed(self) -> None:
        """Count it."""
        self.changes += 1

    def make(self, *commands: LabelCommand, **labels: str) -> Labels:
        """Labels that have begun."""
        made = Labels(offer(*commands, **labels), self.reactor, self.changed)
        made.start()
        return made

    def test_both_kinds(self) -> None:
        """Written ones are there at once, a command's when it has spoken."""
        labels = self.make(UNAME, env="prod")
        self.assertEqual(labels.now(), {"env": "prod"})
        (running,) = self.reactor.running
        self.assertEqual(running.words, ["uname", "-r"])
        running.ends(b"6.1.0\nmore\n")
        self.assertEqual(labels.now(), {"env": "prod", "kernel": "6.1.0"})
        self.assertEqual(labels.offer().labels, labels.now())
        self.assertEqual(self.changes, 1)

    def test_each_period(self) -> None:
        """It runs again; the same word is no change, another one is."""
        labels = self.make(UNAME)
        for output, changes in ((b"a", 1), (b"a\n", 1), (b"b", 2)):
            self.reactor.running[-1].ends(output)
            self.assertEqual(self.changes, changes)
            self.reactor.advance(60)
        self.assertEqual(len(self.reactor.running), 4)
        labels.stop()
        self.assertEqual(self.reactor.running[-1].signals, ["KILL"])
        self.reactor.running[-1].ends(b"c")
        self.assertEqual((labels.now()["kernel"], self.reactor.getDelayedCalls()), ("b", []))

    def test_what_fails(self) -> None:
        """What it has said last stays."""
        labels = self.make(UNAME)
        self.reactor.running[-1].ends(b"a")
        self.reactor.advance(60)
        self.reactor.running[-1].ends(b"b", good=False)
        self.reactor.advance(60)
        self.reactor.error = FileNotFoundError("uname")
        self.reactor.advance(60)
        self.assertEqual((labels.now(), self.changes), ({"kernel": "a"}, 1))

    def test_bounds(self) -> None:
        """Time, output, and what stands in a label are bounded."""
        labels = self.make(UNAME)
        self.reactor.advance(10)
        self.assertEqual(self.reactor.running[0].signals, ["KILL"])
        self.reactor.running[0].ends(b"late")
        self.reactor.advance(50)
        self.reactor.running[1].protocol.outReceived(b"x" * 70000)
        self.assertEqual(self.reactor.running[1].signals, ["KILL"])
        self.reactor.running[1].ends(b"")
        self.reactor.advance(60)
        self.assertEqual(labels.now(), {})
        self.reactor.running[2].ends(b"\x1b[1m\xff " + b"x" * 2000)
        value = labels.now()["kernel"]
        self.assertEqual((len(value), value.isprintable()), (1024, True))

    def test_one_at_a_time(self) -> None:
        """A command that is still there is not started again."""
        self.make(UNAME)
        self.reactor.running[0].protocol._late.cancel()
        self.reactor.advance(60)
        self.assertEqual(len(self.reactor.running), 1)

    def test_another_configuration(self) -> None:
        """What the same command has said stays, so that no label is gone for a moment."""
        older = self.make(UNAME)
        self.reactor.running[-1].ends(b"a")
        other = LabelCommand(name="kernel", command=("x",), period_seconds=60.0)
        for commands, labels in (((UNAME,), {"kernel": "a"}), ((other,), {}), ((), {})):
            newer = Labels(offer(*commands), self.reactor, self.changed)
            newer.keep(older)
            self.assertEqual(newer.now(), labels)
