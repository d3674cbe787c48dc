"""Tests for `tlsgate.service.agent`; whole agents are in `tests.integration.test_agent`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import FakeDoor, event, lock, snapshot
from tests.net.rig import FakeReactor
from tests.service.test_requests import Audit
from tests.support.authorities import Cluster
from tests.targets.test_dropin import source
from tlsgate import registry
from tlsgate.cluster.joining import Joining
from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings, TargetTls
from tlsgate.errors import NotServed, ReloadRefused
from tlsgate.service.agent import AgentCrew
from tlsgate.service.crew import Orders

FILE = """
version: v3
teleport: {nodename: db1, proxy_server: gate.example.com:443, auth_token: the-token,
           ca_pin: "sha256:abababababababababababababababababababababababababababababababab"}
ssh_service: {labels: {env: prod}, sshd_addr: 127.0.0.1:22, sshd_log: none}
"""

TARGETS = (
    FILE.partition("ssh_service")[0]
    + """
db_service: {databases: [{name: orders, protocol: postgres, uri: pg}]}
app_service: {apps: [{name: wiki, uri: "https://wiki"}]}
"""
)


class CrewTests(SynchronousTestCase):
    """Tests for `AgentCrew`."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(self.mktemp()).absolute()
        self.reactor = FakeReactor()
        self.door = FakeDoor()
        self.door.reply = self.reply
        self.beats: list[Any] = []
        self.joins: list[Any] = []
        self.labels: dict[str, str] = {}
        self.patch(Joining, "_dial", lambda *_: self.door)
        self.journal: list[Any] = []
        self.audit = Audit()
        self.make()

    def make(self, text: str = FILE) -> None:
        """An agent with this file."""
        self.crew = AgentCrew(
            self.reactor,
            self.settings(text),
            journal=self.journal.append,
            audit=self.audit,
            in_thread=lambda function, *args, **more: succeed(function(*args, **more)),
            environ={},
            now=self.cluster.clock,
            chance=lambda: 0.5,
        )
        self.addCleanup(self.crew.means.poller.close)
        self.finds: list[str] = []
        self.patch(self.crew.tunnels, "find", self.find)

    async def find(self, server: str) -> Any:
        """The gateway is not there."""
        self.finds.append(server)
        return await Deferred()

    def settings(self, text: str = FILE) -> Settings:
        """What the file means."""
        return read_text(text, data_dir=self.folder)

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """What the auth service says."""
        if path == "/v1/agent/heartbeat":
            self.beats.append(body)
            return 200, {"next_seconds": 60, "labels": self.labels}
        self.joins.append(body)
        roles = (body.get("type", "node"), *body.get("also", ()))
        issued = self.cluster.issuer.host_certificate(
            self.cluster.host("db1", *roles),
            body["tls_public_key"],
            ssh_public_key=body.get("ssh_public_key"),
        )
        cas = {kind: list(texts) for kind, texts in issued.cas.items()}
        return 200, {
            "certificate": issued.tls_pem,
            "ssh_certificate": issued.ssh,
            "cas": cas,
            "labels": self.labels,
        }

    def orders(self, text: str = FILE) -> Orders:
        """One configuration at work."""
        return Orders(text=text, settings=self.settings(text), sockets={})

    def now(self, coroutine: Any) -> Any:
        """The result of what waits for nothing."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def begin(self) -> None:
        """Join, and hear."""
        beginning = Deferred.fromCoroutine(self.crew.begin(self.orders()))
        public = self.cluster.authorities.public()
        users: Any = []
        line = snapshot(cluster=self.cluster.name, authorities=public, users=users)
        self.door.live.say(line)
        self.successResultOf(beginning)

    def test_it_begins(self) -> None:
        """It has joined, looks for its gateway, and says what it offers."""
        self.begin()
        self.reactor.advance(1)
        self.assertEqual(self.finds, ["gate.example.com:443"])
        self.assertEqual(self.beats[0]["offers"][0]["labels"], {"env": "prod"})
        cluster = self.now(self.crew.cluster())
        self.assertEqual([cluster["name"], cluster["tunnels"]], [self.cluster.name, []])
        self.assertEqual(self.now(self.crew.connections()), [])
        self.assertEqual(self.now(self.crew.tally())["active"], {"tunnel": 0})
        self.assertEqual(self.crew.members(), [])
        self.crew.reopen_logs()
        explaining = Deferred.fromCoroutine(self.crew.explain("web", None, [], None))
        self.failureResultOf(explaining, NotServed)
        self.end()

    def end(self) -> None:
        """Drain, with nothing open."""
        self.now(self.crew.stop_accepting(True))
        self.assertEqual(self.successResultOf(self.crew.drain(5)), 0)

    def test_a_reload(self) -> None:
        """Labels change while it runs, its name does not; what is not taken is forgotten."""
        self.begin()
        self.reactor.advance(1)
        other = FILE.replace("prod", "dev")
        self.now(self.crew.prepare(self.orders(other)))
        self.crew.abort()
        self.now(self.crew.commit())
        self.assertEqual(self.crew.offers()[0].labels, {"env": "prod"})
        self.now(self.crew.prepare(self.orders(other)))
        self.now(self.crew.commit())
        self.assertEqual(self.crew.offers()[0].labels, {"env": "dev"})
        self.assertEqual(self.crew.tunnels.offers, self.crew.offers())
        self.reactor.advance(1)
        self.assertEqual(self.beats[-1]["offers"][0]["labels"], {"env": "dev"})
        renamed = self.orders(FILE.replace("db1", "db2"))
        refusing = Deferred.fromCoroutine(self.crew.prepare(renamed))
        self.failureResultOf(refusing, ReloadRefused)
        self.end()

    def test_the_labels_of_its_token(self) -> None:
        """They win over its own, in what gateways are offered and in what sshd is told."""
        self.labels = {"env": "dev", "team": "a"}
        self.begin()
        self.reactor.advance(1)
        self.assertEqual(self.crew.offers()[0].labels, self.labels)
        self.assertEqual(self.crew.tunnels.offers, self.crew.offers())
        self.assertEqual(self.crew._node_labels(), self.labels)
        found = self.crew._offer("node", "db1")
        assert found is not None
        self.assertEqual(found.labels, self.labels)
        self.end()

    def test_without_an_sshd(self) -> None:
        """An agent of databases and applications asks for no certificate for a host key."""
        self.make(TARGETS)
        self.begin()
        self.reactor.advance(1)
        (join,) = self.joins
        self.assertEqual((join["type"], join["also"]), ("db", ["app"]))
        self.assertNotIn("ssh_public_key", join)
        (beat,) = self.beats
        self.assertEqual(
            [(one["kind"], one["name"], one["facts"]["protocol"]) for one in beat["offers"]],
            [("db", "orders", "postgres"), ("app", "wiki", "http")],
        )
        self.assertEqual(self.crew.tunnels.hello("control").roles, ("db", "app"))
        self.assertEqual(self.crew._node_labels(), {})
        changed = self.orders(TARGETS.replace("wiki", "docs").replace("pg", "pg2"))
        self.now(self.crew.prepare(changed))
        self.now(self.crew.commit())
        self.assertEqual(
            [(one.name, one.addresses) for one in self.crew.tunnels.offers],
            [("orders", ("pg2:5432",)), ("docs", ("docs:443",))],
        )
        self.assertEqual(self.crew._offered("app", "docs").tls, TargetTls())
        self.end()

    def test_a_drop_in(self) -> None:
        """A database of a protocol that a file in the agent's folder serves, and of no other."""
        text = TARGETS.replace("protocol: postgres, uri: pg", "protocol: x-ledger, uri: 'pg:9'")
        self.make(text)
        refused = Deferred.fromCoroutine(self.crew.begin(self.orders(text)))
        said = str(self.failureResultOf(refused, NotServed).value)
        self.assertIn("no plug-in in", said)
        folder = self.folder / "plugins"
        folder.mkdir(parents=True, mode=0o700)
        self.addCleanup(registry.load_targets, None)
        (folder / "accounts.py").write_text(source())
        self.make(TARGETS)
        self.begin()
        self.now(self.crew.prepare(self.orders(text)))
        self.assertNotIn(("db", "x-unheard"), self.crew.requests.openings)
        self.now(self.crew.commit())
        self.assertIn(("db", "x-ledger"), self.crew.requests.openings)
        self.assertEqual(self.crew.offers()[0].facts["protocol"], "x-ledger")
        (folder / "accounts.py").write_text(source(protocol="x-other"))
        (folder / "broken.py").write_text("1 / 0")
        self.now(self.crew.prepare(self.orders(text)))  # the older one runs on
        self.crew.abort()
        self.end()

    def test_another_service(self) -> None:
        """The certificate names an agent's services, so that they change with a restart."""
        self.begin()
        refusing = Deferred.fromCoroutine(self.crew.prepare(self.orders(TARGETS)))
        error = self.failureResultOf(refusing, ReloadRefused).value
        self.assertIn("cannot be switched on or off while the agent runs", str(error))
        self.end()

    def test_who_is_looked_at_again(self) -> None:
        """A lock counts in the same turn; the cluster's networking concerns nobody."""
        self.begin()
        looks: list[int] = []
        self.patch(self.crew.requests, "look", lambda: looks.append(1))
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertEqual(len(looks), 1)
        self.end()

    def test_other_authorities(self) -> None:
        """What was signed for databases is asked for anew when an authority changes."""
        self.begin()
        forgotten: list[int] = []
        opening = self.crew.requests.openings["db", "postgres"]
        self.patch(opening, "forget", lambda: forgotten.append(1))
        public = self.cluster.authorities.public()["host"]
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertEqual(forgotten, [])
        self.door.live.say(event("cert_authority", "host", public))
        self.assertEqual(forgotten, [1])
        self.end()

    def test_it_is_cut(self) -> None:
        """A second signal ends everything; a drain that waits is over."""
        self.begin()
        waiting: Deferred[None] = Deferred()
        self.patch(self.crew.tunnels, "drain", lambda: waiting)
        drained = self.crew.drain(5)
        self.assertNoResult(drained)
        self.crew.cut()
        self.assertEqual(self.successResultOf(drained), 0)

    def test_a_drain_has_a_limit(self) -> None:
        """Whoever is still served then is cut off, and counted."""
        self.begin()
        waiting: Deferred[None] = Deferred()
        self.patch(self.crew.tunnels, "drain", lambda: waiting)
        drained = self.crew.drain(5)
        served: Any = object()
        self.crew.requests.served.add(served)
        self.reactor.advance(5)
        self.assertEqual(self.successResultOf(drained), 1)

    def test_its_badge(self) -> None:
        """The certificate that it has, and the authorities that the cluster names now."""
        self.begin()
        self.cluster.rotate("host", "init")
        self.door.live.say(
            snapshot(cluster=self.cluster.name, authorities=self.cluster.authorities.public())
        )
        badge = self.crew._badge()
        self.assertEqual((badge.cluster, len(badge.cas)), (self.cluster.name, 2))
        self.end()
