"""Tests for `tlsgate.tls.pins`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tlsgate.errors import BadAsk
from tlsgate.tls.authority import Authority
from tlsgate.tls.pins import fingerprint, normal_pin, pin_matches, pin_of


class PinTests(SynchronousTestCase):
    """Tests for pins."""

    def test_matches(self) -> None:
        """One of several is enough; another authority has another pin, in any spelling."""
        ours, other = pki().ca.certificate, pki().other_ca.certificate
        self.assertTrue(pin_matches((pin_of(other), pin_of(ours).upper()), ours))
        self.assertFalse(pin_matches((pin_of(other),), ours))
        self.assertFalse(pin_matches((), ours))

    def test_is_of_the_key(self) -> None:
        """A certificate that is renewed with its key keeps its pin, not its fingerprint."""
        again = Authority.create("test ca")
        self.assertNotEqual(pin_of(again.certificate), pin_of(pki().ca.certificate))
        self.assertEqual(len(fingerprint(again.certificate)), 64)

    def test_what_is_no_pin(self) -> None:
        """A pin that was cut short must not be compared, and never match."""
        pin = pin_of(pki().ca.certificate)
        self.assertEqual(normal_pin(f" {pin}\n"), pin)
        for bad in ("", "sha256:", pin[:-1], pin + "0", pin[7:], "sha1:" + pin[7:], pin + "\n0"):
            with self.assertRaises(BadAsk):
                pin_matches((bad,), pki().ca.certificate)
