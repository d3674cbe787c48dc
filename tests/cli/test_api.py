"""Tests for `cli.api`: whom it believes. The wire itself is in tests/integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import Authority
from tlsgate.cli.api import AUTH, JOIN, WEB, Address, Way, check_gateway, context_of, pinned
from tlsgate.cli.api import roots_in as read_roots
from tlsgate.cli.certfile import read_certificate
from tlsgate.core.claims import Claims
from tlsgate.errors import BadAsk, Untrusted

GATE = Address("gate.test", 443)
AUTH_WAY = Way(GATE, AUTH, cluster="example")


class WayTests(SynchronousTestCase):
    """Tests for `Address` and `Way`."""

    def test_names(self) -> None:
        """The certificate door has the API's own name; addresses have none."""
        for address, door, name in (
            *((GATE, WEB, "gate.test"), (GATE, JOIN, "gate.test"), (GATE, AUTH, "auth.gate.test")),
            *((Address("::1", 1), AUTH, None), (Address("10.0.0.1", 1), WEB, None)),
        ):
            self.assertEqual(Way(address, door).server_name, name)
        self.assertEqual((str(GATE), str(Address("::1", 1))), ("gate.test:443", "[::1]:1"))


class PinnedTests(SynchronousTestCase):
    """Tests for `pinned`."""

    def test_in_the_chain(self) -> None:
        """The certificate with the pinned key is found wherever it stands."""
        ours, other = Authority(), Authority("other")
        pins = ["sha256:" + "0" * 64, ours.pin.upper()]
        self.assertEqual(pinned([other.der, ours.der], pins, "g").der, ours.der)

    def test_not_in_the_chain(self) -> None:
        """Nobody else is believed."""
        error = self.assertRaises(Untrusted, pinned, [Authority().der], [Authority().pin], "g")
        self.assertIn("nothing was sent", str(error))
        self.assertRaises(Untrusted, pinned, [], [Authority().pin], "g")


class CheckGatewayTests(SynchronousTestCase):
    """Tests for `check_gateway`: S10, and who may be presented as a gateway."""

    def check(self, claims: Claims | None, *names: str, way: Way = AUTH_WAY) -> None:
        made = Authority().issue(claims, names=names)
        told: dict[str, Any] = {"subjectAltName": tuple(("DNS", name) for name in names)}
        check_gateway(read_certificate(made.public_bytes(Encoding.DER)), told, way)

    def host(self, role: str, cluster: str = "example") -> Claims:
        return Claims(cluster=cluster, kind="host", name="x", system_roles=(role,))

    def test_gateway_and_auth(self) -> None:
        """By the name that was dialled, the API's name, or the cluster's own for the role."""
        for role in ("gateway", "auth"):
            for name in ("gate.test", "auth.gate.test", f"gw1.{role}.example"):
                self.check(self.host(role), name)

    def test_everybody_else(self) -> None:
        """A node's, an agent's, a user's and another cluster's certificate are refused."""
        user = Claims(cluster="example", kind="user", name="alice", roles=("gateway",))
        for claims in (
            *map(self.host, ("node", "db", "app", "kube")),
            *(self.host("gateway", "leaf"), user, None),
        ):
            self.assertRaises(Untrusted, self.check, claims, "gate.test")

    def test_another_name(self) -> None:
        """One that names another host only is refused, however good it is."""
        for names in ((), ("other.test",), ("gw1.node.example",), ("gw1.gateway.leaf",)):
            self.assertRaises(Untrusted, self.check, self.host("gateway"), *names)

    def test_an_address(self) -> None:
        """Dialled by its address, a gateway's certificate need not name it; a node's is none."""
        way = Way(Address("10.0.0.1", 443), AUTH, cluster="example")
        self.check(self.host("gateway"), "gate.test", way=way)
        self.assertRaises(Untrusted, self.check, self.host("node"), "10.0.0.1", way=way)

    def test_unknown_cluster(self) -> None:
        """At a first login by pin the cluster is whatever the pinned authority signed."""
        self.check(self.host("gateway", "any"), "gate.test", way=Way(GATE, JOIN))


class ContextTests(SynchronousTestCase):
    """Tests for `context_of` and `roots_in`."""

    def test_checks(self) -> None:
        """The web certificate is checked by its name; cluster ones by `check_gateway`."""
        pem = Authority().pem
        for way, roots, name, mode in (
            *((Way(GATE), None, True, 2), (Way(GATE), pem, True, 2)),
            *((Way(GATE, AUTH), pem, False, 2), (Way(GATE, anyone=True), None, False, 0)),
        ):
            context = context_of(way, roots)
            self.assertEqual((context.check_hostname, int(context.verify_mode)), (name, mode))

    def test_nothing_to_believe(self) -> None:
        """An empty list of authorities is no list of all."""
        for roots in ("", "nonsense"):
            self.assertRaises(Untrusted, context_of, Way(GATE, AUTH), roots)

    def test_bad_certificate(self) -> None:
        """A client's file that is none is named."""
        file = Path(self.mktemp())
        way = Way(GATE, AUTH, certificate=file)
        error = self.assertRaises(BadAsk, context_of, way, Authority().pem)
        self.assertEqual(str(error), f"{file} cannot be used: No such file or directory")
        file.write_text("nothing")
        self.assertRaises(BadAsk, context_of, way, Authority().pem)

    def test_roots(self) -> None:
        """`system` is the machine's; anything else is the certificates in it."""
        file = Path(self.mktemp())
        file.write_text("system\n")
        self.assertIsNone(read_roots(file))
        pem = Authority().pem
        file.write_text(f"text before\n{pem}and after\n{pem}")
        self.assertEqual(read_roots(file), pem + pem)
