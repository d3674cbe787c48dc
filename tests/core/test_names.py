"""Tests for `tlsgate.core.names`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.names import normal
from tlsgate.errors import BadName

#: Every spelling and what it becomes.
SAME: list[tuple[str | bytes, str]] = [
    ("gw.example.com", "gw.example.com"),
    (b"gw.example.com", "gw.example.com"),
    ("GW.Example.COM", "gw.example.com"),
    ("gw.example.com.", "gw.example.com"),
    ("localhost", "localhost"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("_acme-challenge.x", "_acme-challenge.x"),
    ("a_b.example", "a_b.example"),
    ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
    ("1.example.com", "1.example.com"),
    ("1.2.3.4.example", "1.2.3.4.example"),
    ("a" * 63 + ".example", "a" * 63 + ".example"),
    (".".join(["a" * 63] * 3 + ["b" * 63]), ".".join(["a" * 63] * 3 + ["b" * 63])),
]

#: What no certificate or route may carry, and a word of the reason.
REFUSED: list[tuple[str | bytes, str]] = [
    ("", "labels"),
    (".", "labels"),
    ("..", "labels"),
    ("gw.example.com..", "labels"),
    (".example.com", "labels"),
    ("a..b", "labels"),
    ("-a.example", "labels"),
    ("a-.example", "labels"),
    ("a" * 64 + ".example", "labels"),
    ("a." * 127 + "ab", "longer"),
    ("*.example.com", "labels"),
    ("gw.example.com\0", "labels"),
    ("gw.example.com\0.evil.org", "labels"),
    ("gw%00.example.com", "labels"),
    ("gw.example.com\n", "labels"),
    ("gw example.com", "labels"),
    ("gw.example.com:443", "labels"),
    ("user@gw", "labels"),
    ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example", "ASCII"),
    ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example".encode(), "ASCII"),
    ("\N{KELVIN SIGN}ube.example", "ASCII"),
    ("gw\N{IDEOGRAPHIC FULL STOP}example", "ASCII"),
    (b"\xff\xfe", "ASCII"),
    ("127.0.0.1", "address"),
    ("127.0.0.1.", "address"),
    ("127.1", "address"),
    ("2130706433", "address"),
    ("0x7f.1", "address"),
    ("gw.0x7F", "address"),
    ("::1", "labels"),
    ("[::1]", "labels"),
]

_LABELS = st.from_regex(r"[a-z]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)


class NormalTests(SynchronousTestCase):
    """Tests for `normal`."""

    def test_one_spelling(self) -> None:
        """Each spelling of a name becomes the one that tables are indexed by."""
        self.assertEqual([normal(name) for name, _ in SAME], [want for _, want in SAME])

    def test_refused(self) -> None:
        """What is no host name is refused with its reason, as text and as bytes."""
        for name, reason in REFUSED:
            with self.subTest(name=name):
                error = self.assertRaises(BadName, normal, name)
                self.assertIn(reason, error.why)
                self.assertTrue(str(error).isprintable())
                if isinstance(name, str):
                    self.assertRaises(BadName, normal, name.encode())

    def test_long_name_is_cut_in_the_error(self) -> None:
        """An error quotes no more than the beginning of what a peer sent."""
        error = self.assertRaises(BadName, normal, b"\x1b" * 100_000)
        self.assertLess(len(str(error)), 400)

    def test_s04_names_compare_in_one_spelling(self) -> None:
        """S04: case and a trailing dot never make another name; the result is stable."""

        @given(_NAMES, st.randoms(use_true_random=False), st.booleans())
        def check(name: str, random: object, dot: bool) -> None:
            spelled = "".join(
                letter.upper() if random.random() < 0.5 else letter  # type: ignore[attr-defined]
                for letter in name
            )
            wanted = normal(name)
            self.assertEqual(wanted, name)
            self.assertEqual(normal(spelled + "." * dot), wanted)
            self.assertEqual(normal(spelled.encode() + b"." * dot), wanted)
            self.assertEqual(normal(wanted), wanted)

        check()

    def test_s04_any_bytes_are_normal_or_refused(self) -> None:
        """S04: of any bytes only LDH text comes out, and what comes out stays itself."""

        @given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
        def check(name: bytes) -> None:
            try:
                text = normal(name)
            except BadName:
                return
            self.assertRegex(text, r"\A[a-z0-9_.-]{1,255}\Z")
            self.assertEqual(normal(text), text)
            self.assertIn(name.lower(), (text.encode(), text.encode() + b"."))

        check()
