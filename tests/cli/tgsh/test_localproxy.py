"""Tests for `tgsh.localproxy`, `localcert`, `localplans` and `localrun`."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

import click
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from tests.cli.cluster import NOW, CommandCase
from tests.cli.tgsh.wires import Wire, at_once
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.tgsh import localrun, narrow, offered
from tlsgate.cli.tgsh.appconf import App
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import place_of
from tlsgate.cli.tgsh.localcert import Keeper
from tlsgate.cli.tgsh.localplans import application, database
from tlsgate.cli.tgsh.localproxy import LOOK_SECONDS, Listener, Watch
from tlsgate.cli.tgsh.localrun import Address, Running, _tell, ready_login, run
from tlsgate.errors import BadAsk, DaemonSaid, Fault, Unreachable

ROUTES = {"db": "orders", "db_user": "app"}


class LocalCase(CommandCase):
    """A login, and a loop in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.call = Call(
            home=self.terminal.home,
            open_way=self.cluster.open,
            now=lambda: self.terminal.now,
        )
        self.keeper = Keeper(self.call, "db", ROUTES)
        self.place = place_of(str(self.terminal.home), None, None)

    def asked(self) -> int:
        """How many certificates were asked for."""
        return len([1 for _, ask, _ in self.cluster.asked if ask == "POST /v1/me/certificates"])


class KeeperTests(LocalCase):
    """Tests for `Keeper`."""

    def test_renewal(self) -> None:
        """One is asked for, kept, and renewed before its end."""
        narrow.issue(self.call, "db", ROUTES, 600)
        first = self.keeper.current()
        self.assertIs(self.keeper.current(), first)
        self.terminal.now = NOW + 310
        second = self.keeper.current()
        self.assertGreater(second.not_after, first.not_after)
        self.assertEqual(self.asked(), 2)

    def test_the_gateway_is_away(self) -> None:
        """The old one does while it is good, and the question is not put for each connection."""
        narrow.issue(self.call, "db", ROUTES, 600)
        first = self.keeper.current()
        self.cluster.refuses = lambda way: Unreachable("gate.test:443", "it is away")
        self.terminal.now = NOW + 400
        for _ in range(3):
            self.assertIs(self.keeper.current(), first)
        self.terminal.now = NOW + 600
        self.assertRaises(Unreachable, self.keeper.current)

    def test_the_end(self) -> None:
        """With the login it is over, until there is another."""
        self.keeper.current()
        self.terminal.now = NOW + 43200
        self.assertRaises(NotLoggedIn, self.keeper.current)
        self.cluster.ahead = 43200
        self.terminal.login()
        self.assertGreater(self.keeper.current().not_after, self.terminal.now)
        self.assertIn("--proxy=gate.test:443", self.keeper.login)

    def test_renew(self) -> None:
        """One that a gateway did not like is looked at anew."""
        first = self.keeper.current()
        self.keeper.renew()
        self.assertEqual(self.keeper.current(), first)


class WatchTests(LocalCase):
    """Tests for `Watch`."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.told: list[NotLoggedIn] = []
        self.watch = Watch(self.keeper, self.clock, cast(Any, at_once), self.told.append)
        self.watch.start()

    def test_the_end(self) -> None:
        """It is told once, and again after another login."""
        self.clock.advance(LOOK_SECONDS)
        self.terminal.now = NOW + 43200
        self.clock.pump([LOOK_SECONDS] * 3)
        self.assertEqual(len(self.told), 1)
        self.watch.again()
        self.watch.refused(self.told[0])
        self.assertEqual(len(self.told), 2)
        self.watch.stop()
        self.watch.stop()
        self.assertFalse(self.clock.getDelayedCalls())

    def test_others(self) -> None:
        """A gateway that is away is nobody's end, and a refused certificate is looked at anew."""
        self.cluster.refuses = lambda way: Unreachable("gate.test:443", "it is away")
        self.clock.pump([LOOK_SECONDS] * 2)
        self.watch.refused(DaemonSaid("locked", Fault.CLIENT, "locked"))
        self.assertEqual(self.told, [])


class ListenerTests(LocalCase):
    """Tests for `Listener`."""

    def test_port(self) -> None:
        """Only this machine gets there; a port that is taken is said to be."""
        reactor = MemoryReactorClock()
        begun: list[Any] = []
        listener = Listener(begun.append)
        listener.open_port(reactor, 5433)
        ((port, _, _, interface),) = reactor.tcpServers
        self.assertEqual((port, interface), (5433, "127.0.0.1"))
        side = listener.buildProtocol(None)
        wire = Wire()
        side.makeConnection(cast(Any, wire))
        self.assertEqual((begun, listener.sides), ([side], {side}))
        listener.stop()
        self.assertEqual(wire.fate, "cut")
        side.connectionLost()
        self.assertEqual(listener.sides, set())

        def taken(*args: Any, **keys: Any) -> None:
            raise CannotListenError("127.0.0.1", 5433, OSError(98, "Address already in use"))

        self.patch(reactor, "listenTCP", taken)
        error = self.assertRaises(BadAsk, listener.open_port, reactor, 5433)
        self.assertIn("Address already in use", str(error))

    def test_socket(self) -> None:
        """A socket is its owner's; one that was left behind goes, anything else stays."""
        reactor = MemoryReactorClock()
        # Trial's own folder may lie deeper than a socket's name may be long.
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        listener = Listener(lambda side: None)
        listener.open_socket(reactor, path)
        self.assertFalse(path.exists())
        self.assertEqual(reactor.unixServers[0][3], 0o600)
        with socket.socket(socket.AF_UNIX) as there:
            there.bind(str(path))
            there.listen()
            error = self.assertRaises(BadAsk, listener.open_socket, reactor, path)
        self.assertIn("somebody listens", str(error))
        path.unlink()
        path.write_text("mine")
        error = self.assertRaises(BadAsk, listener.open_socket, reactor, path)
        self.assertIn("no socket", str(error))


class PlanTests(LocalCase):
    """What is told once a proxy listens."""

    def test_tunnel(self) -> None:
        """A client of a tunnel needs no TLS; one of a plain forwarding has the files."""
        address = Address(5433)
        plan = database(self.call, self.place, ROUTES, address, tunnel=True)
        ready = plan.ready(address)
        self.assertEqual(ready["uri"], "postgresql://app@127.0.0.1:5433/?sslmode=disable")
        self.assertIn("  psql", "\n".join(ready["lines"]))
        plan = database(self.call, self.place, ROUTES, Address(0), tunnel=False)
        ready = plan.ready(address)
        self.assertEqual(ready["settings"]["host"], "gate.test")
        self.assertEqual(ready["settings"]["hostaddr"], "127.0.0.1")
        self.assertIn("--port", "\n".join(ready["lines"]))

    def test_socket(self) -> None:
        """A socket is told as libpq wants it: folder and port."""
        address = Address(0, Path("/run/x/.s.PGSQL.5433"))
        plan = database(self.call, self.place, ROUTES, address, tunnel=True)
        ready = plan.ready(address)
        self.assertEqual(ready["uri"], "postgresql://app@/?host=/run/x&port=5433")
        self.assertEqual(ready["socket"], str(address))

    def test_application(self) -> None:
        """An address for a browser, or a command; nothing to run for bytes."""
        wiki = App("wiki", "http", "wiki.gate.test", 443)
        plan = application(self.call, self.place, wiki, Address(8080))
        self.assertEqual(plan.ready(Address(8080))["uri"], "http://127.0.0.1:8080")
        at = Address(0, Path("/run/x"))
        self.assertIn("--unix-socket /run/x", plan.ready(at)["command"])
        feed = App("feed", "tcp", "feed.gate.test", 443)
        ready = application(self.call, self.place, feed, Address(0)).ready(Address(9000))
        self.assertEqual((ready["uri"], ready["command"]), ("tcp://127.0.0.1:9000", ""))

    def test_told(self) -> None:
        """For programs it is one line of JSON, for people a block."""
        plan = database(self.call, self.place, ROUTES, Address(5433), tunnel=True)
        for how in ("json", "text"):
            out = io.StringIO()
            self.call.format = how
            with contextlib.redirect_stdout(out):
                _tell(self.call, plan.ready(Address(5433)))
            if how == "json":
                self.assertEqual(json.loads(out.getvalue())["port"], 5433)
                self.assertEqual(out.getvalue().count("\n"), 1)
            else:
                self.assertTrue(out.getvalue().endswith("Ctrl-C ends it.\n"))

    def test_running(self) -> None:
        """A program that connects reaches the gateway; the end cuts it."""
        reactor = MemoryReactorClock()
        plan = database(self.call, self.place, ROUTES, Address(5433), tunnel=False)
        running = Running(plan, reactor, lambda error: None, cast(Any, lambda work: _never()))
        (_, factory, _, _) = reactor.tcpServers[0]
        side = cast(Any, factory).buildProtocol(None)
        wire = Wire()
        side.makeConnection(wire)
        self.assertFalse(wire.read)
        running.stop()
        self.assertEqual(wire.fate, "cut")
        self.assertEqual(offered.offered.__name__, "offered")


class EndTests(LocalCase):
    """How a proxy ends."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.stopped = 0
        self.said: list[str] = []
        self.patch(localrun, "beside", lambda reactor: at_once)
        self.patch(localrun, "say", self.said.append)
        self.patch(self.reactor, "stop", self._stop)
        self.patch(self.reactor, "run", self._live)
        self.call.format = "json"
        self.terminal_there = False
        self.patch(localrun, "at_a_terminal", lambda: self.terminal_there)

    def _stop(self) -> None:
        self.stopped += 1

    def _live(self) -> None:
        """Let the login end while the proxy runs."""
        self.terminal.now = NOW + 43200
        self.reactor.pump([LOOK_SECONDS] * 3)

    def end(self) -> int:
        """Run to the end; gives the exit code."""
        plan = database(self.call, self.place, ROUTES, Address(5433), tunnel=True)
        with contextlib.redirect_stdout(io.StringIO()):
            return run(self.call, plan, self.reactor)

    def test_expired(self) -> None:
        """A login that has ended is a sentence with the command that heals, and code 1."""
        self.assertEqual(self.end(), 1)
        self.assertEqual((len(self.said), self.stopped), (1, 1))
        self.assertIn("tgsh login --proxy=gate.test:443", self.said[0])

    def test_no_login_at_all(self) -> None:
        """So it is where it has ended before; nobody listens then."""
        self.terminal.now = NOW + 43200
        self.assertRaises(NotLoggedIn, self.end)
        self.assertEqual(self.reactor.tcpServers, [])

    def test_offered(self) -> None:
        """At a terminal a new login is offered, and the proxy goes on with it."""
        self.terminal_there = True
        answers = [True, False]
        ran: list[list[str]] = []

        def log_in(words: list[str], **keys: Any) -> Any:
            ran.append(words)
            self.cluster.ahead = 43200
            self.terminal.login()
            return subprocess.CompletedProcess(words, 0)

        def confirm(*words: Any, **keys: Any) -> bool:
            return answers.pop(0)

        self.patch(click, "confirm", confirm)
        self.patch(subprocess, "run", log_in)
        self.assertEqual(self.end(), 0)
        self.assertEqual((ran[0][-2:], self.stopped), (["login", "--proxy=gate.test:443"], 0))

    def test_offered_before(self) -> None:
        """So is it where the login had ended before; --home is that of the proxy."""
        ready_login(self.call)
        self.terminal.now = NOW + 43200
        self.assertRaises(NotLoggedIn, ready_login, self.call)
        self.assertEqual(self.said, [])
        self.terminal_there = True
        answers, codes, ran = [False, True, True], [1, 0], []

        def log_in(words: list[str], **keys: Any) -> Any:
            ran.append(words[3:])
            return subprocess.CompletedProcess(words, codes.pop(0))

        self.patch(click, "confirm", lambda *words, **keys: answers.pop(0))
        self.patch(subprocess, "run", log_in)
        self.assertRaises(NotLoggedIn, ready_login, self.call)
        self.assertRaises(NotLoggedIn, ready_login, self.call)
        ready_login(self.call)
        home = f"--home={self.terminal.home}"
        self.assertEqual(ran, [[home, "login", "--proxy=gate.test:443"]] * 2)
        self.assertEqual(len(self.said), 3)
        nobody = Call(home=self.terminal.home / "none")
        self.assertRaises(NotLoggedIn, ready_login, nobody)

    def test_declined(self) -> None:
        """Who declines ends it."""
        self.terminal_there = True

        def confirm(*words: Any, **keys: Any) -> bool:
            raise click.Abort

        self.patch(click, "confirm", confirm)
        self.assertEqual((self.end(), self.stopped), (1, 1))

    def test_ended(self) -> None:
        """Ctrl-C is an end in order."""
        self.patch(self.reactor, "run", lambda: None)
        self.assertEqual((self.end(), self.said), (0, []))


def _never() -> Any:
    from twisted.internet.defer import Deferred

    return Deferred()
