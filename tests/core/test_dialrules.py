"""Tests for `tlsgate.core.dialrules`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.dialrules import address_of, is_literal, may_mean
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import TargetDenied

OFFER = Offer(
    kind="node", name="db1", addresses=("127.0.0.1:22", "[fd00::1]:2222", "169.254.7.7:22")
)


def asked(address: str | None) -> Asked:
    """What a gateway asks for."""
    return Asked(kind="node", name="db1", user="alice", address=address)


class AddressTests(SynchronousTestCase):
    """Tests for `address_of`."""

    def test_those_of_the_offer(self) -> None:
        """The first one where none is named; another one only as it is listed."""
        for wanted, found in (
            (None, ("127.0.0.1", 22)),
            ("127.0.0.1:22", ("127.0.0.1", 22)),
            ("[fd00::1]:2222", ("fd00::1", 2222)),
            # Listed literally: the operator of the agent means it.
            ("169.254.7.7:22", ("169.254.7.7", 22)),
        ):
            self.assertEqual(address_of(asked(wanted), OFFER), found)

    def test_s41_nothing_else_is_dialled(self) -> None:
        """An address that the agent's configuration does not have is refused, whoever asks."""
        for wanted in (
            "169.254.169.254:80",
            "[::1]:22",
            "127.0.0.1:23",
            "localhost:22",
            "127.0.0.1:022",
            "",
        ):
            error = self.assertRaises(TargetDenied, address_of, asked(wanted), OFFER)
            self.assertIn("none of those in the configuration", str(error))
        nothing = Offer(kind="node", name="db1")
        self.assertRaises(TargetDenied, address_of, asked(None), nothing)


class NameTests(SynchronousTestCase):
    """Tests for `may_mean` and `is_literal`."""

    def test_s41_a_name_that_rebinds(self) -> None:
        """No name stands for this host, its cloud's metadata, or nobody in particular."""
        for found in (
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "169.254.1.1",
            "fe80::1",
            "fe80::1%eth0",
            "fd00:ec2::254",
            "168.63.129.16",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "nonsense",
        ):
            self.assertFalse(may_mean("db.internal", found), found)
        for found in ("10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"):
            self.assertTrue(may_mean("db.internal", found), found)

    def test_localhost(self) -> None:
        """This one name means this host."""
        for found in ("127.0.0.1", "::1"):
            self.assertTrue(may_mean("LocalHost.", found))

    def test_literals(self) -> None:
        """An address is no name."""
        self.assertEqual([is_literal(one) for one in ("10.0.0.1", "::1", "a")], [True, True, False])
