"""Tests for `tgsh.secrets`: typed, or from a file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.secrets import Secrets
from tlsgate.errors import BadAsk


class SecretsTests(SynchronousTestCase):
    """Tests for `Secrets`."""

    def test_typed(self) -> None:
        """A new password is typed twice, everything else once."""
        typed = ["a", "b", "b"]
        asked: list[str] = []

        def ask(question: str) -> str:
            asked.append(question)
            return typed.pop(0)

        secrets = Secrets(Call(ask_secret=ask), None)
        self.assertEqual((secrets.next("Old"), secrets.new("New")), ("a", "b"))
        self.assertEqual(asked, ["Old", "New", "New, again"])

    def test_file(self) -> None:
        """Lines in their order; a new password stands there once."""
        file = Path(self.mktemp())
        file.write_text("a\r\nb\n\n")
        secrets = Secrets(Call(), file)
        self.assertEqual((secrets.next("Old"), secrets.new("New")), ("a", "b"))
        self.assertRaises(BadAsk, secrets.next, "Code")

    def test_bad_files(self) -> None:
        """None, one that is no text and one that is too long are refused."""
        file = Path(self.mktemp())
        self.assertRaises(BadAsk, Secrets, Call(), file)
        for content in (b"\xff", b"a" * 8193):
            file.write_bytes(content)
            self.assertRaises(BadAsk, Secrets, Call(), file)
