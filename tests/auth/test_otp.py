"""Tests for `tlsgate.auth.otp`."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pyotp
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.otp import base32, code_at, match, new_otp_secret, otpauth, step_at

#: RFC 6238 appendix B, SHA-1; the last six of its eight digits.
SECRET = b"12345678901234567890"
VECTORS = ((59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (20000000000, "353130"))


class OtpTests(SynchronousTestCase):
    """One-time codes."""

    def test_the_codes_of_the_standard(self) -> None:
        """RFC 6238's vectors come out."""
        self.assertEqual([(at, code_at(SECRET, step_at(at))) for at, _ in VECTORS], list(VECTORS))

    def test_an_authenticator_reads_the_uri(self) -> None:
        """The picture carries the secret, the cluster and the user, whatever their letters."""
        secret = new_otp_secret()
        uri = otpauth(secret, "al+ice@x", "example.com")
        parsed = urlsplit(uri)
        query = parse_qs(parsed.query)
        self.assertEqual((parsed.scheme, parsed.netloc), ("otpauth", "totp"))
        self.assertEqual(query["secret"], [base32(secret)])
        self.assertEqual(query["issuer"], ["example.com"])
        read = pyotp.parse_uri(uri)
        assert isinstance(read, pyotp.TOTP)
        self.assertEqual(read.name, "al+ice@x")
        self.assertEqual(read.at(1), code_at(secret, 0))

    def test_a_secret_has_160_bits(self) -> None:
        """What people type is base32 without padding."""
        secret = new_otp_secret()
        self.assertEqual(len(secret), 20)
        self.assertEqual(base64.b32decode(base32(secret)), secret)

    def test_one_step_of_skew_and_no_more(self) -> None:
        """A code is good in its own step and in the ones beside it."""
        step = step_at(1_800_000_015)
        for off, want in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
            found = match(SECRET, code_at(SECRET, step + off), 1_800_000_015, used=-1)
            self.assertEqual(found, want, off)

    def test_a_step_that_was_used_is_over(self) -> None:
        """Neither the same code nor an older one is good again."""
        step = step_at(1_800_000_015)
        for used, want in ((step - 2, step - 1), (step - 1, None), (step, None)):
            self.assertEqual(
                match(SECRET, code_at(SECRET, step - 1), 1_800_000_015, used=used), want
            )

    def test_a_code_may_be_typed_with_its_gap(self) -> None:
        """Apps show 123 456."""
        code = code_at(SECRET, 2)
        self.assertEqual(match(SECRET, f" {code[:3]} {code[3:]} ", 61, used=-1), 2)

    def test_what_is_no_code_matches_nothing(self) -> None:
        """Wrong lengths, other digits of Unicode, and texts without end."""
        code = code_at(SECRET, 2)
        arabic = "".join(chr(0x660 + int(digit)) for digit in code)
        for typed in (
            "",
            " ",
            code[:5],
            code + "0",
            arabic,
            "\ud800",
            code + " " * 99,
            "x" * 10**6,
        ):
            self.assertEqual(match(SECRET, typed, 61, used=-1), None, typed[:20])

    def test_the_first_minute_of_time(self) -> None:
        """A clock that stands at the epoch breaks nothing."""
        self.assertEqual(match(SECRET, code_at(SECRET, 0), 0.0, used=-1), 0)

    @given(st.text(), st.floats(0, 4e9), st.integers(-1, 1 << 32))
    def test_any_text_is_answered(self, typed: str, now: float, used: int) -> None:
        """Nothing that is typed raises, and nothing used comes back."""
        found = match(SECRET, typed, now, used)
        self.assertTrue(found is None or found > used)
