"""The daemon on doubles: what it asks of its crew, in which order, and what it answers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.service.doubles import FakeCrew, FakeReactor, fake_bound
from tlsgate.config.endpoints import bind_of
from tlsgate.config.settings import Settings
from tlsgate.errors import BadSettings, CannotListen, ReloadRefused, UpgradeFailed, WorkerFailed
from tlsgate.interfaces import IDaemon
from tlsgate.service import listeners, memory, tree
from tlsgate.service.listeners import Sockets
from tlsgate.service.logs import Log
from tlsgate.service.process import DIAG, Process, wanted
from tlsgate.service.reload import Source
from tlsgate.service.tree import Daemon

TEXT = """\
version: v2
teleport: {{data_dir: {folder}/data}}
proxy_service:
  web_listen_addr: 127.0.0.1:1
  public_addr: [gw.test:443]
{more}
"""


class FakeSink:
    """A sink that only counts."""

    output = "stderr"

    def __init__(self) -> None:
        self.reopened = 0
        self.closed = 0

    def write(self, line: str) -> None:
        """Forget it."""

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class FakeAudit:
    """An audit log without a file."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.events: list[tuple[str, dict[str, object]]] = []

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """Remember."""
        self.events.append((event, dict(fields)))


class FakeClaim:
    """A claim without a file."""

    file = 5

    def __init__(self) -> None:
        self.told: list[str] = []

    def sign(self) -> None:
        """Remember it."""
        self.told.append("sign")

    def give_up(self) -> None:
        """Remember it."""
        self.told.append("give up")

    def let_go(self) -> None:
        """Remember it."""
        self.told.append("let go")


class FakeAdmin(Service):
    """An admin socket without a socket."""

    error: Exception | None = None

    def __init__(self, *_: Any) -> None:
        self.starts = 0

    def startService(self) -> None:
        """Open, or fail."""
        super().startService()
        self.starts += 1
        if self.error is not None:
            raise self.error

    def stopService(self) -> Deferred[None]:
        """Close."""
        super().stopService()
        return succeed(None)


class TreeCase(SynchronousTestCase):
    """A daemon on doubles."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "tlsgate.yaml"
        self.opened: list[Any] = []
        self.notices: list[tuple[str, ...]] = []
        self.complaints: list[str] = []
        self.patch(listeners, "open_endpoint", self.open_endpoint)
        self.patch(tree, "AdminService", FakeAdmin)
        self.patch(tree, "complain", self.complaints.append)
        self.patch(tree.notify, "notify", lambda *said: self.notices.append(said))  # type: ignore[attr-defined]
        self.patch(memory, "settle", lambda: None)
        self.reactor, self.crew = FakeReactor(), FakeCrew()
        self.claim, self.audit, self.sink = FakeClaim(), FakeAudit(), FakeSink()
        self.codes: list[int] = []
        self.taken: set[str] = set()

    def open_endpoint(self, endpoint: str) -> Any:
        """Open nothing."""
        if endpoint in self.taken:
            raise OSError(98, "Address already in use")
        bound = fake_bound(len(self.opened))
        bound.endpoint, bound.wanted = endpoint, bind_of(endpoint)
        bound.actual = bound.wanted
        self.opened.append(bound)
        return bound

    def write(self, more: str = "") -> None:
        """Write the file."""
        self.file.write_text(TEXT.format(folder=self.folder, more=more))

    def make(self, more: str = "", **changes: Any) -> Daemon:
        """A daemon that has not begun."""
        self.write(more)
        source = Source(self.file)
        text, settings = source.load()
        doubles: Any = {
            "reactor": self.reactor,
            "command": None,
            "log": Log(self.sink, "text", "info"),  # type: ignore[arg-type]
            "audit": self.audit,
            "claim": self.claim,
            "in_thread": maybeDeferred,
        }
        process = Process(source=source, sockets=Sockets(), leave=self.codes.append, **doubles)
        settings = evolve(settings, **changes)
        plan = process.sockets.plan(wanted(settings))
        return Daemon(
            process, text=text, settings=settings, plan=plan, crew=self.crew, remarks=["r"]
        )

    def begin(self, more: str = "", **changes: Any) -> Daemon:
        """A daemon that serves."""
        daemon = self.make(more, **changes)
        daemon.startService()
        self.assertTrue(daemon.ready)
        self.crew.told.clear()
        self.notices.clear()
        return daemon

    def settings(self, daemon: Daemon) -> Settings:
        """What is in force."""
        return daemon.settings


class StartTests(TreeCase):
    """Starting."""

    def test_names_come_last(self) -> None:
        """Only when the crew serves are pid file and admin socket ours, and systemd is told."""
        daemon = self.make()
        verifyObject(IDaemon, daemon)
        self.crew.begins = Deferred()
        daemon.startService()
        self.assertEqual((self.claim.told, _starts(daemon), self.notices), ([], 0, []))
        self.crew.begins.callback(None)
        self.assertEqual((self.claim.told, _starts(daemon)), (["sign"], 1))
        self.assertEqual(self.notices[0][:2], ("READY=1", f"MAINPID={os.getpid()}"))
        status = self.successResultOf(Deferred.fromCoroutine(daemon.status()))
        self.assertEqual(
            {key: status[key] for key in ("ready", "connections", "workers", "warnings", "pid")},
            {"ready": True, "connections": 2, "workers": 1, "warnings": ["r"], "pid": os.getpid()},
        )

    def test_cannot_serve(self) -> None:
        """The reason is on the terminal, and the code is the operator's."""
        self.crew.error = WorkerFailed(0, "no key")
        self.make().startService()
        self.assertEqual((self.codes, self.reactor.stops), ([2], 1))
        self.assertIn("no key", self.complaints[0])
        self.assertEqual(self.claim.told, [])

    def test_stopped_before_it_serves(self) -> None:
        """SIGTERM while it starts is no failure; nothing that was opened stays."""
        daemon = self.make()
        self.crew.begins = Deferred()
        daemon.startService()
        daemon.terminate()
        stopped = daemon.stopService()
        self.crew.drained.callback(0)
        self.successResultOf(stopped)
        self.crew.error = WorkerFailed(0, "killed")
        self.crew.begins.callback(None)
        self.assertEqual((self.codes, self.complaints), ([], []))
        self.assertTrue(self.opened[0].closed)
        self.assertEqual(self.claim.told, ["give up"])

    def test_listeners(self) -> None:
        """Each has its address and its counts."""
        daemon = self.begin()
        (web,) = self.successResultOf(Deferred.fromCoroutine(daemon.listeners()))
        self.assertEqual(
            (web["name"], web["address"], web["accepted"], web["active"], web["refused"]),
            ("web", "127.0.0.1:1", 3, 2, 8),
        )


class ReloadTests(TreeCase):
    """Reloading."""

    def reload(self, daemon: Daemon) -> Deferred[dict[str, Any]]:
        """One reload."""
        return Deferred.fromCoroutine(daemon.reload())

    def test_order(self) -> None:
        """New sockets, prepare, swap; then old sockets close."""
        daemon = self.begin()
        self.write("  postgres_listen_addr: 127.0.0.1:2")
        said = self.successResultOf(self.reload(daemon))
        self.assertEqual((said["opened"], said["kept"]), (["postgres"], ["web"]))
        self.assertEqual(
            [word if word == "commit" else word[0] for word in self.crew.told],
            ["prepare", "commit"],
        )
        self.assertEqual(list(daemon.process.sockets.open), ["web", "postgres"])
        self.write("  refuse_seconds: 0")
        self.successResultOf(self.reload(daemon))
        self.assertEqual(self.opened[1].closed, [False])
        self.assertEqual([said[0] for said in self.notices], ["RELOADING=1", "READY=1"] * 2)

    def test_audited(self) -> None:
        """An auditor reads which ports were opened and closed, and how each reload ended."""
        daemon = self.begin()
        self.write("  postgres_listen_addr: 127.0.0.1:2")
        self.successResultOf(self.reload(daemon))
        self.write()
        self.successResultOf(self.reload(daemon))
        self.write("  nonsense: 1")
        self.failureResultOf(self.reload(daemon), BadSettings)
        told = [
            (event, fields.get("listener"), fields.get("success"))
            for event, fields in self.audit.events
        ]
        self.assertEqual(
            told,
            [
                ("listener.open", "web", None),
                ("config.reload", None, True),
                ("listener.open", "postgres", None),
                ("config.reload", None, True),
                ("listener.close", "postgres", None),
                ("config.reload", None, False),
            ],
        )

    def test_the_crew_refuses(self) -> None:
        """Then what was opened is closed again, and the old settings stay."""
        daemon = self.begin()
        before = self.settings(daemon)
        self.crew.error = ReloadRefused(["bad key"])
        self.write("  postgres_listen_addr: 127.0.0.1:2")
        self.failureResultOf(self.reload(daemon), ReloadRefused)
        self.assertEqual(self.opened[1].closed, [False])
        self.assertIs(self.settings(daemon), before)
        self.assertEqual([said[0] for said in self.notices], ["RELOADING=1", "READY=1"])
        status = self.successResultOf(Deferred.fromCoroutine(daemon.status()))
        self.assertFalse(status["last_reload"]["ok"])

    def test_the_mode_changes_meanwhile(self) -> None:
        """While the crew prepares, clients may be told to use what the reload would close."""
        daemon = self.begin("  postgres_listen_addr: 127.0.0.1:2")
        before = self.settings(daemon)
        self.crew.in_cluster = {"mode": "multiplex", "mode_age_seconds": None}

        async def prepare(orders: object) -> list[str]:
            self.crew.in_cluster = {"mode": "separate", "mode_age_seconds": 0.0}
            return []

        self.patch(self.crew, "prepare", prepare)
        self.write()
        failure = self.failureResultOf(self.reload(daemon), ReloadRefused)
        self.assertIn("the port postgres would close", str(failure.value))
        self.assertEqual(self.crew.told, ["abort"])
        self.assertIs(self.settings(daemon), before)
        forced = Deferred.fromCoroutine(daemon.reload(force=True))
        self.assertEqual(self.successResultOf(forced)["closed"], ["postgres"])

    def test_nothing_reaches_the_crew(self) -> None:
        """A bad file, a fixed key or a taken port is refused before anybody prepares."""
        daemon = self.begin()
        self.write("  nonsense: 1")
        self.failureResultOf(self.reload(daemon), BadSettings)
        self.write("  workers: 2")
        self.failureResultOf(self.reload(daemon), ReloadRefused)
        self.taken.add("tcp:2:interface=127.0.0.1")
        self.write("  postgres_listen_addr: 127.0.0.1:2")
        self.failureResultOf(self.reload(daemon), CannotListen)
        self.assertEqual(self.crew.told, [])

    def test_one_after_the_other(self) -> None:
        """A reload that comes during another one waits for it."""
        daemon = self.begin()
        held: Deferred[Any] = Deferred()
        daemon.process.in_thread = lambda call: held.addCallback(lambda _: call())
        first, second = self.reload(daemon), self.reload(daemon)
        self.assertEqual(self.notices, [("RELOADING=1", self.notices[0][1])])
        daemon.process.in_thread = maybeDeferred
        held.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)

    def test_signals(self) -> None:
        """SIGHUP reopens logs; many at once are two reloads; none while stopping."""
        daemon = self.begin()
        held: Deferred[Any] = Deferred()
        daemon.process.in_thread = lambda call: held.addCallback(lambda _: call())
        for _ in range(5):
            daemon.hang_up()
        self.assertEqual((self.sink.reopened, self.audit.sink.reopened), (5, 5))
        held.callback(None)
        self.assertEqual(len([word for word in self.crew.told if word == "commit"]), 2)
        daemon.terminate()
        daemon.hang_up()
        self.assertEqual(self.sink.reopened, 5)
        self.failureResultOf(self.reload(daemon), ReloadRefused)

    def test_the_log_follows(self) -> None:
        """Form and severity of lines are the new file's."""
        daemon = self.begin()
        self.file.write_text(
            self.file.read_text().replace(
                "data}", "data, log: {severity: ERROR, format: {output: json}}}"
            )
        )
        self.successResultOf(self.reload(daemon))
        self.assertEqual((daemon.process.log.json, daemon.process.log.least), (True, 3))


class UpgradeTests(TreeCase):
    """Handing over."""

    def upgrade(self, daemon: Daemon, outcome: Any) -> Deferred[dict[str, Any]]:
        """An upgrade that ends like that."""

        async def succeed(*_: Any) -> Any:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        self.patch(tree, "succeed", succeed)
        return Deferred.fromCoroutine(daemon.upgrade())

    def test_hands_over(self) -> None:
        """Accepting stops, the claim is let go, names stay, and the answer leaves first."""
        daemon = self.begin()
        said = self.upgrade(daemon, {"pid": 7, "version": "2"})
        self.assertEqual(self.successResultOf(said), {"pid": 7, "version": "2"})
        self.assertEqual(self.crew.told, [("stop", False)])
        self.assertEqual(self.claim.told, ["sign", "let go"])
        self.assertEqual(self.opened[0].closed, [True])
        self.assertEqual(self.notices[0][0], "MAINPID=7")
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.advance(1)
        self.assertEqual(self.reactor.stops, 1)
        stopped = daemon.stopService()
        self.crew.drained.callback(0)
        self.successResultOf(stopped)
        self.assertEqual(set(self.opened[0].closed), {True})
        self.failureResultOf(self.upgrade(daemon, {}), ReloadRefused)

    def test_fails(self) -> None:
        """Then everything is as before, and the names are ours again."""
        daemon = self.begin()
        self.failureResultOf(self.upgrade(daemon, UpgradeFailed("no")), UpgradeFailed)
        self.assertEqual((self.crew.told, self.claim.told), ([], ["sign", "sign"]))
        self.assertFalse(daemon.draining)
        self.reactor.advance(1)
        self.assertEqual(self.reactor.stops, 0)

    def test_an_endpoint_without_descriptor(self) -> None:
        """What cannot be inherited is named, and no process is started."""
        daemon = self.begin()
        daemon.process.sockets.open["odd"] = listeners.Bound(
            bind_of("tcp:0"),
            "odd:1",
            None,
        )
        error = self.failureResultOf(self.upgrade(daemon, {}), CannotListen).value
        self.assertEqual((error.listener, error.endpoint), ("odd", "odd:1"))


class EndTests(TreeCase):
    """Stopping."""

    def test_drains(self) -> None:
        """Ports close, then the drain, then the admin socket and the claim."""
        daemon = self.begin()
        daemon.terminate()
        self.assertEqual(self.reactor.stops, 1)
        stopped = daemon.stopService()
        self.assertEqual(self.crew.told, [("stop", True), ("drain", 300.0)])
        self.assertEqual((self.opened[0].closed, daemon.admin.running), ([False], 1))
        self.crew.drained.callback(0)
        self.successResultOf(stopped)
        self.assertEqual((self.codes, daemon.admin.running), ([], 0))
        self.assertEqual(self.claim.told, ["sign", "give up"])
        self.assertEqual(self.audit.sink.closed, 1)

    def test_cut(self) -> None:
        """Connections that were cut off make the code 1; a second signal cuts."""
        daemon = self.begin()
        daemon.terminate()
        stopped = daemon.stopService()
        daemon.terminate()
        self.assertEqual(self.crew.told[-1], "cut")
        self.crew.drained.callback(3)
        self.successResultOf(stopped)
        self.assertEqual((self.codes, self.reactor.stops), ([1], 1))


class HelperTests(TreeCase):
    """What `make` and `start` use."""

    def test_wanted(self) -> None:
        """The diagnostic port stands among the listeners under a name of its own."""
        daemon = self.make(diag="tcp:9:interface=127.0.0.1")
        self.assertEqual([one.name for one in wanted(daemon.settings)], ["web", DIAG])


def _starts(daemon: Daemon) -> int:
    """How often its admin socket was opened."""
    admin: Any = daemon.admin
    return int(admin.starts)
