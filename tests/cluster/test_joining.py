"""Tests for `tlsgate.cluster.joining`; the TLS itself is `tests.tls.test_dialing`'s."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import FakeDoor
from tests.support.authorities import Cluster
from tlsgate.cluster import joining
from tlsgate.cluster.hostfiles import HostFiles, Joined
from tlsgate.cluster.joining import Joining
from tlsgate.config.settings import Join
from tlsgate.core.claims import Claims
from tlsgate.errors import NotJoined, Unreachable
from tlsgate.tls.dialing import Expected
from tlsgate.tls.peer import load_cas
from tlsgate.tls.pins import pin_of

JOIN = Join(
    servers=("auth.example.com:3025", "[::1]:1"),
    cluster=None,
    token="the token",
    pins=("sha256:" + "ab" * 32,),
    unsafe_no_pin=False,
)


class JoiningCase(SynchronousTestCase):
    """A gateway, and an auth service in the test's hands."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.door = FakeDoor()
        self.door.reply = self.reply
        self.expected: list[Expected] = []
        self.bodies: list[Any] = []
        self.joining = self.make()

    def make(self, join: Join = JOIN, *, writes: bool = True) -> Joining:
        """The joining of a new process."""
        files = HostFiles(self.folder / "gateway")
        made = Joining(join, "gw1", files, Clock(), self.cluster.clock, writes=writes)

        def dial(token: bytes, expected: Any, pair: Any) -> Any:
            if token == b"tlsgate-join":
                self.expected.append(expected())
            return self.door

        self.patch(made, "_dial", dial)
        return made

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """What the auth service issues."""
        self.bodies.append((path, body))
        issued = self.cluster.issuer.host_certificate(
            self.cluster.host("gw1"), body["tls_public_key"]
        )
        return 200, {
            "certificate": issued.tls_pem,
            "cas": {kind: list(texts) for kind, texts in issued.cas.items()},
        }

    def enter(self, which: Joining | None = None) -> Joined:
        """Enter the cluster, now."""
        return self.successResultOf(Deferred.fromCoroutine((which or self.joining).enter()))

    def refused(self, which: Joining | None = None, kind: Any = NotJoined) -> str:
        """Why it cannot enter."""
        entering = Deferred.fromCoroutine((which or self.joining).enter())
        return str(self.failureResultOf(entering, kind).value)


class EnterTests(JoiningCase):
    """Tests for `enter`."""

    def test_a_first_start(self) -> None:
        """The token is shown to who has the pin, and never again."""
        joined = self.enter()
        self.assertEqual((joined.name, joined.cluster), ("gw1", self.cluster.name))
        ((path, body),) = self.bodies
        self.assertEqual(
            (path, body["token"], body["type"], body["name"]),
            ("/v1/join", "the token", "gateway", "gw1"),
        )
        self.assertEqual(self.expected, [Expected(cluster=None, pins=JOIN.pins)])
        self.enter()
        self.enter(self.make(evolve(JOIN, token=None, pins=()), writes=False))
        self.assertEqual(len(self.bodies), 1)

    def test_the_same_key_again(self) -> None:
        """A join whose answer was lost is asked again with the same key."""
        self.door.answers = [Unreachable("x", "lost")]
        self.refused(kind=Unreachable)
        key = (self.folder / "gateway" / "host.key").read_bytes()
        self.enter(self.make())
        self.assertEqual((self.folder / "gateway" / "host.key").read_bytes(), key)

    def test_files(self) -> None:
        """Token and pin may stand in files; a pin's may hold the authority itself."""
        (self.folder / "token").write_text("from a file\n")
        cas = self.cluster.authorities.cas()["host"]
        (self.folder / "ca").write_text("".join(cas))
        named = evolve(JOIN, token=str(self.folder / "token"), pins=(str(self.folder / "ca"),))
        self.enter(self.make(named))
        self.assertEqual(self.bodies[0][1]["token"], "from a file")
        self.assertEqual(self.expected[0].pins, tuple(map(pin_of, load_cas(cas))))

    def test_what_is_missing(self) -> None:
        """Each thing that an operator has to do is said, and nothing is asked meanwhile."""
        (self.folder / "empty").write_text("\n")
        (self.folder / "odd").write_text("sha256:12")
        for change, said in (
            ({"token": None}, "teleport.auth_token is missing"),
            ({"pins": ()}, "teleport.ca_pin is missing"),
            ({"token": str(self.folder / "none")}, "No such file"),
            ({"token": str(self.folder / "empty")}, "is empty"),
            ({"pins": (str(self.folder / "odd"),)}, "teleport.ca_pin: "),
        ):
            self.assertIn(said, self.refused(self.make(evolve(JOIN, **change))))
        self.assertIn("no other process", self.refused(self.make(writes=False)))
        self.assertEqual(self.bodies, [])
        self.enter(self.make(evolve(JOIN, pins=(), unsafe_no_pin=True)))
        self.assertTrue(self.expected[-1].anyone)

    def test_refusals(self) -> None:
        """What the auth service refuses is told with what heals it, and without the token."""
        for answer, kind, said in (
            ((401, {"error": {"message": "bad join token"}}), NotJoined, "tgctl tokens add"),
            ((409, {"error": {"message": "gw1 exists"}}), NotJoined, "teleport.nodename"),
            ((400, {"error": {"message": "odd"}}), NotJoined, "odd"),
            ((503, {"error": {"message": "soon"}}), Unreachable, "soon"),
            ((403, "?"), NotJoined, "cannot be read"),
            ((200, {}), Unreachable, "cannot be read"),
        ):
            self.door.answers = [answer]
            text = self.refused(kind=kind)
            self.assertIn(said, text)
            self.assertNotIn("the token", text)

    def test_another_cluster(self) -> None:
        """Where the file names the cluster no other one is joined, nor stayed in."""
        wrong = evolve(JOIN, cluster="other.example")
        self.assertIn("cluster_name says other.example", self.refused(self.make(wrong)))
        self.assertEqual(self.expected[0].cluster, "other.example")
        self.assertIn("cluster_name says other.example", self.refused(self.make(wrong)))
        self.assertEqual(len(self.bodies), 1)

    def test_a_certificate_that_has_ended(self) -> None:
        """After that it joins anew, by a new token."""
        self.enter()
        self.cluster.now += 2 * 366 * 86400
        self.assertIn("has ended", self.refused(self.make(evolve(JOIN, token=None))))
        self.enter()
        self.assertEqual(len(self.bodies), 2)


class AgentTests(JoiningCase):
    """Tests for agents, which join by the same steps under another role."""

    def agent(self, name: str = "db1", roles: Sequence[str] = ("node",), **more: Any) -> Joining:
        """The joining of an agent."""
        files = HostFiles(self.folder / "agent", *roles)
        made = Joining(evolve(JOIN, **more), name, files, Clock(), self.cluster.clock)
        self.patch(made, "_dial", lambda *_: self.door)
        return made

    def issue(self, path: str, body: Any) -> tuple[int, Any]:
        """What the auth service issues to a node."""
        self.bodies.append((path, body))
        roles = (body["type"], *body.get("also", ()))
        claims = Claims(cluster=self.cluster.name, kind="host", name="db1", system_roles=roles)
        issued = self.cluster.issuer.host_certificate(claims, body["tls_public_key"])
        cas = {kind: list(texts) for kind, texts in issued.cas.items()}
        return 200, {"certificate": issued.tls_pem, "cas": cas}

    def test_an_agent_joins(self) -> None:
        """The token is for its role; afterwards no token is needed, nor another name taken."""
        self.door.reply = self.issue
        joined = self.enter(self.agent())
        self.assertEqual((joined.name, joined.cluster), ("db1", self.cluster.name))
        self.assertEqual((self.bodies[0][1]["type"], self.bodies[0][1]["name"]), ("node", "db1"))
        self.enter(self.agent(token=None, pins=()))
        self.assertIn("it has joined as db1", self.refused(self.agent("db2")))
        self.assertEqual(len(self.bodies), 1)
        self.assertIn("--type=node", self.refused_without_token())

    def test_several_roles(self) -> None:
        """One join for all; an agent that gets a service more needs a token for it."""
        self.door.reply = self.issue
        self.assertEqual(self.enter(self.agent()).roles, ("node",))
        self.assertNotIn("also", self.bodies[0][1])
        self.assertEqual(
            self.refused(self.agent(roles=("node", "db", "app"), token=None)),
            "this host cannot join its cluster: its certificate is not for db and app; make one "
            "with `tgctl tokens add --type=node,db,app`, for teleport.auth_token",
        )
        joined = self.enter(self.agent(roles=("node", "db", "app")))
        self.assertEqual(joined.roles, ("node", "db", "app"))
        said = self.bodies[1][1]
        self.assertEqual((said["type"], said["also"]), ("node", ["db", "app"]))
        self.assertEqual(said["tls_public_key"], self.bodies[0][1]["tls_public_key"])
        self.enter(self.agent(roles=("db",), token=None))
        self.assertEqual(len(self.bodies), 2)

    def refused_without_token(self) -> str:
        """What is said where there is none."""
        files = HostFiles(self.folder / "other", "node")
        none = evolve(JOIN, token=None)
        return self.refused(Joining(none, "db1", files, Clock(), self.cluster.clock))

    def test_a_certificate_of_another_role(self) -> None:
        """A gateway's certificate is none of a node."""
        self.assertIn("not the certificate of a node", self.refused(self.agent()))


class RenewTests(JoiningCase):
    """Tests for `renew`, and for whom the door expects."""

    def renew(self, which: Joining, *, at_once: bool = False) -> float:
        """Renew, now."""
        renewing = which.renew(self.door, at_once=at_once)
        return self.successResultOf(Deferred.fromCoroutine(renewing))

    def test_when_it_is_due(self) -> None:
        """At two thirds of its life, when another key signs, or other authorities are named."""
        due = self.enter().renew_at
        cas = self.cluster.authorities.cas()["host"]
        self.joining.authorities = lambda: cas
        self.assertEqual(self.renew(self.joining), due)
        self.assertEqual(len(self.bodies), 1)
        self.cluster.now = due + 1
        later = self.renew(self.joining)
        self.assertGreater(later, due)
        self.renew(self.joining, at_once=True)
        self.assertEqual([path for path, _ in self.bodies[1:]], ["/v1/me/certificates"] * 2)
        self.cluster.rotate("host", "init")
        cas = self.cluster.authorities.cas()["host"]
        self.renew(self.joining)
        self.renew(self.joining)
        self.assertEqual(len(self.bodies), 4)
        reader = self.make(writes=False)
        reader.authorities = lambda: cas
        self.renew(reader, at_once=True)
        self.assertEqual(len(self.bodies), 4)

    def test_refused(self) -> None:
        """What is not renewed is told."""
        self.enter()
        self.door.answers = [(403, {"error": {"message": "locked"}})]
        renewing = Deferred.fromCoroutine(self.joining.renew(self.door, at_once=True))
        self.assertIn("locked", str(self.failureResultOf(renewing, Unreachable).value))

    def test_whom_the_door_expects(self) -> None:
        """The authorities that the cluster names, or those that were kept."""
        joined = self.enter()
        self.assertEqual(self.joining._expected(), Expected(cluster=joined.cluster, cas=joined.cas))
        self.cluster.rotate("host", "init")
        cas = self.cluster.authorities.cas()["host"]
        self.joining.authorities = lambda: cas
        self.assertEqual(len(self.joining._expected().cas), 2)
        self.assertIs(self.joining._pair(), joined.pair)


class DialTests(SynchronousTestCase):
    """Where it dials."""

    def test_target(self) -> None:
        """The first server takes what passes through."""
        clock = Clock()
        files = HostFiles(Path(self.mktemp()))
        for server, target in (
            ("auth.example.com:3025", "tcp:auth.example.com:3025"),
            ("[::1]:1", r"tcp:\:\:1:1"),
        ):
            made = Joining(evolve(JOIN, servers=(server,)), "gw1", files, clock, lambda: 0.0)
            self.assertEqual(made.target, target)

    def test_names_and_addresses(self) -> None:
        """An address is no name for a hello."""
        for host, address in (("::1", True), ("10.0.0.1", True), ("a.example", False)):
            self.assertEqual(joining._is_address(host), address)
