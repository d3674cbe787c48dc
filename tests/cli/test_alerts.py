"""Tests for `cli.alerts`: the sentence for each way in which TLS fails."""

from __future__ import annotations

import ssl

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW
from tlsgate.cli.alerts import MEANINGS, NUMBERS, alert_of, translate
from tlsgate.cli.faults import ClockWrong, GatewayRefused
from tlsgate.errors import GateError, Unreachable, Untrusted


def told(record: bytes) -> ssl.SSLError:
    """What `ssl` raises when a server answers a hello with *record*."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="gate.test")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        incoming.write(record)
    try:
        client.do_handshake()
    except ssl.SSLError as e:
        return e
    raise AssertionError("the handshake went on")


class AlertTests(SynchronousTestCase):
    """Tests for `alert_of` and `translate`."""

    def test_every_alert(self) -> None:
        """Each alert of the table is told by the library's own words for it."""
        for number in NUMBERS.values():
            error = told(bytes((21, 3, 3, 0, 2, 2, number)))
            self.assertEqual(alert_of(error), number)
            shown = translate(error, "gate.test:443")
            self.assertIsInstance(shown, GatewayRefused)
            self.assertIn(MEANINGS[number], str(shown))

    def test_the_way_out(self) -> None:
        """Those that a user can heal name the command."""
        for number in (40, 42, 45, 46, 48, 116):
            self.assertIn("`tgsh login`", MEANINGS[number])
        for number in (112, 120):
            self.assertIn("--proxy", MEANINGS[number])
        self.assertEqual(
            str(translate(told(bytes((21, 3, 3, 0, 2, 2, 116))), "gate.test:443")),
            "gate.test:443 refused the connection (TLS alert 116): it wants a certificate; log in "
            "with `tgsh login`",
        )

    def test_no_tls(self) -> None:
        """What answers in the clear is said to be no TLS."""
        error = translate(told(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "gate.test:80")
        self.assertIsInstance(error, Unreachable)
        self.assertIn("does not speak TLS", str(error))

    def test_not_verified(self) -> None:
        """A certificate's time is the clock's matter; its name --proxy's; the rest the pin's."""
        for code, kind, words in (
            (9, ClockWrong, "at 2026-01-02 03:04:05 UTC the certificate of g is not valid yet"),
            (10, ClockWrong, "is not valid any more: check the clock"),
            (62, Untrusted, "names another host"),
            (19, Untrusted, "self-signed certificate in chain; where its certificate is not"),
        ):
            error = ssl.SSLCertVerificationError(1, "x")
            error.verify_code = code
            error.verify_message = "self-signed certificate in chain"
            shown: GateError = translate(error, "g", NOW)
            self.assertIsInstance(shown, kind)
            self.assertIn(words, str(shown))
        error.verify_code = 62
        error.verify_message = "Hostname mismatch, certificate is not valid for 'wiki.g'."
        self.assertIn("another host than wiki.g;", str(translate(error, "g", NOW)))
