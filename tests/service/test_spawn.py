"""How a child is started, and what it hears of its end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service.spawn import Child, Command, Heritage


class CommandTests(SynchronousTestCase):
    """Tests for `Command`."""

    def ours(self, original: list[str], arguments: list[str]) -> Command:
        """The command of a process that was started like that."""
        self.patch(sys, "orig_argv", original)
        self.patch(sys, "argv", arguments)
        self.patch(sys, "executable", "/venv/bin/python")
        return Command.ours(Path("/etc/tlsgate.yaml"), None)

    def test_a_script(self) -> None:
        """The interpreter's own options stay, and the script's path becomes whole."""
        script = __file__
        command = self.ours(
            ["python", "-X", "dev", script, "-n", "tlsgate", "-c", "x"],
            [script, "-n", "tlsgate", "-c", "x"],
        )
        self.assertEqual(
            command.line(),
            [
                "/venv/bin/python",
                "-X",
                "dev",
                script,
                "-n",
                "--pidfile=",
                "tlsgate",
                "--config",
                "/etc/tlsgate.yaml",
            ],
        )

    def test_a_module(self) -> None:
        """`python -m` and `python -c` are repeated."""
        for how in (["-m", "some.module"], ["-c", "run()"]):
            command = self.ours(["python", *how, "-n", "tlsgate"], ["?", "-n", "tlsgate"])
            self.assertEqual(command.program, ("/venv/bin/python", *how))

    def test_data_dir(self) -> None:
        """`--data-dir` is passed on with its whole path."""
        command = Command.ours(Path("x.yaml"), Path("data"))
        self.assertEqual(
            command.arguments,
            (
                "tlsgate",
                "--config",
                str(Path("x.yaml").absolute()),
                "--data-dir",
                str(Path("data").absolute()),
            ),
        )


class HeritageTests(SynchronousTestCase):
    """Tests for `Heritage`."""

    def test_none(self) -> None:
        """A process that nobody has left anything starts by itself."""
        self.assertIsNone(Heritage.take({}))


class Process:
    """A process transport."""

    pid = 4711

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        """Keep it."""
        self.signals.append(name)


class ChildTests(SynchronousTestCase):
    """Tests for `Child`."""

    def test_life(self) -> None:
        """It has a number, can be signalled while it lives, and its end is told once."""
        for error, code in (
            (ProcessDone(0), 0),
            (ProcessTerminated(exitCode=3), 3),
            (ProcessTerminated(signal=9), -9),
        ):
            codes: list[int] = []
            child, process = Child(codes.append), Process()
            transport: Any = process
            child.makeConnection(transport)
            self.assertEqual(child.pid, 4711)
            child.kill("TERM")
            child.processEnded(Failure(error))
            child.kill("KILL")
            self.assertEqual((codes, process.signals, child.pid), ([code], ["TERM"], 4711))
