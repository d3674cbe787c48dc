"""Tests for `tlsgate.protocols.jump.algorithms`."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.jump.algorithms import EXCHANGES, offer

POLICY = Path(__file__).parents[3] / "etc" / "ssh-audit-policy.txt"
#: CVE-2023-48795 needs one of these; the others are old.
WEAK = (b"cbc", b"chacha20", b"sha1", b"md5", b"dss", b"nistp", b"group", b"rc4", b"3des")


class OfferTests(SynchronousTestCase):
    """Tests for what is offered."""

    def test_s39_nothing_weak(self) -> None:
        """No algorithm is offered that Terrapin, or an older attack, needs."""
        for certified in (False, True):
            found = offer(exchanges=EXCHANGES, certified=certified)
            names = (*found.exchanges, *found.host_keys, *found.ciphers, *found.macs)
            self.assertEqual([one for one in names if any(word in one for word in WEAK)], [])

    def test_policy(self) -> None:
        """The policy of ssh-audit in the tree says what is offered, in that order."""
        found = offer(exchanges=EXCHANGES, certified=True)
        said = {}
        for line in POLICY.read_text().splitlines():
            key, equals, value = line.partition(" = ")
            if equals and not line.startswith("#"):
                said[key] = value.split(", ")
        markers = ["ext-info-s", "kex-strict-s-v00@openssh.com"]
        self.assertEqual(
            (said["key exchanges"], said["ciphers"], said["macs"], said["host keys"]),
            (
                [*(one.decode() for one in found.exchanges), *markers],
                [one.decode() for one in found.ciphers],
                [one.decode() for one in found.macs],
                [one.decode() for one in found.host_keys],
            ),
        )
