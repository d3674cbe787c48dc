"""What decides while there is no cluster, and what records who comes."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.rig import Rig
from tlsgate.core.access import Decision, Identity, Kind, Rule
from tlsgate.core.claims import Claims
from tlsgate.core.ledger import Row, Use
from tlsgate.core.routing import Route
from tlsgate.interfaces import IAuthorizer
from tlsgate.net.noting import ILedger
from tlsgate.service.doors import ProcessLedger, StaticRules

#: What scanners send to see what a port speaks; nmap's probes are among them.
PROBES = (
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.29\r\n\r\n",
    b"OPTIONS / RTSP/1.0\r\n\r\n",
    b"\x80\0\0\x28\x72\xfe\x1d\x13\0\0\0\0\0\0\0\2\0\1\x86\xa0",
    b"\0\x1e\0\6\1\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3",
    b"\0\0\0\xa4\xff\x53\x4d\x42\x72\0\0\0\0\x08\x01\x40",
    b"\x16\3\0\0\x69\1\0\0\x65\3\3U\x1c\xa7\xe4random1random2random3",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n",
    b"SSH-2.0-scan\r\n",
    bytes(range(256)),
)
#: Every port that a gateway can have.
PORTS = """
  listen_addr: "127.0.0.1:3023"
  tunnel_listen_addr: "127.0.0.1:3024"
  kube_listen_addr: "127.0.0.1:3026"
  mysql_listen_addr: "127.0.0.1:3036"
  postgres_listen_addr: "127.0.0.1:5432"
  mongo_listen_addr: "127.0.0.1:27017"
"""

ALICE = Identity(claims=Claims(cluster="c", kind="user", name="alice"))


class RulesTests(SynchronousTestCase):
    """Tests for `StaticRules`."""

    def test_rules(self) -> None:
        """A route's own rules decide; without any nobody may."""
        rules = StaticRules()
        verifyObject(IAuthorizer, rules)
        alice = Identity(common_names=("alice",))
        route = Route(name="r", protocol="raw", allow=(Rule(Kind.CN, "alice"),))
        self.assertEqual(rules.decide(route, alice, None), Decision(True, "rule cn: alice"))
        self.assertFalse(rules.decide(route, None, None).allowed)
        self.assertFalse(rules.decide(Route(name="r", protocol="raw"), alice, None).allowed)


@define
class FakeConnection:
    """What the ledger reads of a connection."""

    number: int
    identity: Identity | None = None
    listener: str = "ssh"
    transport_kind: str = "raw"
    peer: Any = field(factory=lambda: IPv4Address("TCP", "192.0.2.1", 4711))
    client_version: str = ""
    received: int = 0

    def carried(self) -> tuple[int, int]:
        """As a connection has it."""
        return self.received, 0


class ProbesTests(SynchronousTestCase):
    """Health checks and scanners on every port."""

    def setUp(self) -> None:
        self.rig = Rig(version="v1", extra=PORTS)
        self.addCleanup(self.rig.close)
        self.ledger = ProcessLedger()
        self.rig.gateway.ledger = self.ledger

    def rows(self) -> list[Row]:
        """What the auth service would be told once they are gone."""
        self.ledger.look()
        self.rig.advance(20)
        self.ledger.look()
        self.assertEqual(self.rig.gateway.connections(), [])
        return list(self.ledger.book.news().rows)

    def test_bytes(self) -> None:
        """Whoever sends what no client would is no user, and nobody at all."""
        listeners = sorted(self.rig.gateway.gate.entrances)
        self.assertEqual(len(listeners), 7)
        for listener in listeners:
            for probe in PROBES:
                with self.rig.connect(listener) as client:
                    client.send(probe)
                    self.rig.settle()
        self.assertEqual(self.rows(), [])

    def test_tls(self) -> None:
        """A handshake and no more is nobody, with any token and by any name."""
        for alpn in ((), (b"http/1.1",), (b"h2",)):
            for name in ("gw.test", None, "other.test"):
                client = self.rig.secure(alpn=alpn, name=name, cert=None).shake()
                client.sock.close()
                self.rig.settle()
        self.assertEqual(self.rows(), [])

    def test_health_path(self) -> None:
        """Who asks for a page without any identity is one row, of an address: no user."""
        for _ in range(3):
            client = self.rig.secure(alpn=(b"http/1.1",), cert=None).shake()
            client.write(PROBES[3].replace(b"Host: x", b"Host: gw.test"))
            self.rig.settle()
            client.sock.close()
            self.rig.settle()
        (row,) = self.rows()
        use = Use("unknown", "192.0.2.7", "web", "tls-alpn", "kube-probe/1.29")
        self.assertEqual((row.use, row.count, row.open), (use, 3, 0))


class LedgerTests(SynchronousTestCase):
    """Tests for `ProcessLedger`."""

    def setUp(self) -> None:
        self.ledger = ProcessLedger(lambda identity: identity is ALICE, lambda: 5.0)
        verifyObject(ILedger, self.ledger)

    def rows(self) -> list[tuple[Use, int, int]]:
        """What is new."""
        self.ledger.look()
        rows: tuple[Row, ...] = self.ledger.book.news().rows
        self.ledger.book.accepted()
        return [(row.use, row.count, row.open) for row in rows]

    def test_user(self) -> None:
        """A user counts from the start to the end."""
        one = FakeConnection(1, ALICE, listener="web", transport_kind="tls-alpn")
        self.ledger.opened(one)
        use = Use("user", "alice", "web", "tls-alpn")
        self.assertEqual(self.rows(), [(use, 1, 1)])
        self.ledger.closed(one)
        self.assertEqual(self.rows(), [(use, 0, 0)])

    def test_health_checks(self) -> None:
        """Who says nothing is nobody; who says something is known by its address."""
        silent, late, short = FakeConnection(1), FakeConnection(2), FakeConnection(3)
        for one in (silent, late, short):
            self.ledger.opened(one)
        self.assertEqual(self.rows(), [])
        late.received = short.received = 20
        self.ledger.closed(silent)
        self.ledger.closed(short)
        use = Use("unknown", "192.0.2.1", "ssh", "raw")
        self.assertEqual(self.rows(), [(use, 2, 1)])

    def test_known_later(self) -> None:
        """A login tells who it was all the time, and by what program."""
        one = FakeConnection(1)
        self.ledger.opened(one)
        one.client_version = "OpenSSH_9.2"
        self.ledger.known(one)
        one.identity = ALICE
        self.ledger.known(one)
        self.ledger.known(one)
        use = Use("user", "alice", "ssh", "raw", "OpenSSH_9.2")
        unknown = Use("unknown", "192.0.2.1", "ssh", "raw", "OpenSSH_9.2")
        self.assertEqual(self.rows(), [(unknown, 0, 0), (use, 1, 1)])

    def test_strangers_claims(self) -> None:
        """Another authority's certificate does not say who one of the cluster's users is."""
        mallory = Identity(common_names=("mallory",), claims=ALICE.claims)
        self.ledger.opened(FakeConnection(1, mallory, peer=UNIXAddress(None)))
        other = ProcessLedger(now=lambda: 5.0)
        other.opened(FakeConnection(1, ALICE))
        self.assertEqual(self.rows()[0][0].name, "mallory")
        self.assertEqual(other.book.news().rows[0].use.name, "unnamed")
