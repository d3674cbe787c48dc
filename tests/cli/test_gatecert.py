"""Tests for `cli.gatecert`: it agrees with the strict reader about who is a gateway."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, Authority
from tests.support.certs import pki
from tlsgate.cli.gatecert import CLAIMS_OID, not_a_gateway, not_after
from tlsgate.core import claims

GATEWAY = claims.Claims(cluster="example", kind="host", name="gw1", system_roles=("gateway",))
USER = claims.Claims(cluster="example", kind="user", name="gateway", roles=("gateway",))
CA = Authority()


def der(held: claims.Claims | None) -> bytes:
    """A certificate with these claims."""
    return CA.issue(held).public_bytes(Encoding.DER)


def told(*names: str) -> dict[str, object]:
    """What `getpeercert` says of a certificate with these names."""
    return {"subjectAltName": tuple(("DNS", name) for name in names)}


class NotAGatewayTests(SynchronousTestCase):
    """Tests for `not_a_gateway`."""

    def test_gateway(self) -> None:
        """A gateway of the cluster is one, by its host's name or its role's, or by address."""
        for host, names in (
            ("gate.test", ("gate.test",)),
            ("gate.test", ("gw1.gateway.example",)),
            ("", ()),
        ):
            shown = der(evolve(GATEWAY, system_roles=("node", "gateway")))
            self.assertIsNone(not_a_gateway(shown, told(*names), host, "example"))

    def test_others(self) -> None:
        """Nobody else is."""
        for held, words in (
            (None, "none of a tlsgate cluster"),
            (USER, "not one of a gateway"),
            (evolve(GATEWAY, system_roles=("node",)), "not one of a gateway"),
            (evolve(GATEWAY, cluster="other"), "it belongs to other, not to example"),
        ):
            found = not_a_gateway(der(held), told("gate.test"), "gate.test", "example")
            self.assertIn(words, found or "")

    def test_name(self) -> None:
        """A name that only looks right is another."""
        for name in ("xgate.test", "gw1.gateway.other", "gw1.node.example", "gateway.example"):
            found = not_a_gateway(der(GATEWAY), told(name), "gate.test", "example")
            self.assertEqual(found, "its certificate does not name gate.test")

    def test_foreign(self) -> None:
        """A certificate without the extension, and what is none, are nobody's."""
        for shown in (pki().file("ca.pem").read_bytes(), b"", b"\x30", der(GATEWAY)[:-9]):
            found = not_a_gateway(shown, {}, "", "example")
            self.assertEqual(found, "its certificate is none of a tlsgate cluster")

    @given(st.integers(0, len(der(GATEWAY)) - 1), st.integers(0, 255))
    def test_any_bytes(self, at: int, value: int) -> None:
        """Whatever is changed in it, a word comes back and no error."""
        changed = bytearray(der(GATEWAY))
        changed[at % len(changed)] = value
        found = not_a_gateway(bytes(changed), {}, "", "example")
        self.assertIn(type(found), (str, type(None)))

    def test_one_extension(self) -> None:
        """The extension is the one that `core.claims` knows."""
        self.assertEqual(CLAIMS_OID, claims.CLAIMS_OID)


class NotAfterTests(SynchronousTestCase):
    """Tests for `not_after`."""

    def test_end(self) -> None:
        """The end as it is written: before 2050 with two digits of the year."""
        self.assertEqual(not_after(der(GATEWAY)), (0x17, b"260102150405Z"))
        far = CA.issue(GATEWAY, end=NOW + 30 * 366 * 86400).public_bytes(Encoding.DER)
        self.assertEqual(not_after(far)[0], 0x18)
