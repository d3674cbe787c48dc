"""Tests for `cli.issued` and `cli.newkey`: answers, clocks, and files."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, Cluster
from tlsgate.cli.faults import ClockWrong
from tlsgate.cli.issued import check_clock, read_issued, write_out
from tlsgate.cli.newkey import NewKey, make_key
from tlsgate.errors import BadAsk, Unreachable


def asked(key: NewKey) -> dict[str, str]:
    """What a login sends of *key*."""
    return {"user": "alice", "tls_public_key": key.public_pem}


class IssuedTests(SynchronousTestCase):
    """Tests for `read_issued`, `check_clock` and `write_out`."""

    def setUp(self) -> None:
        self.key = make_key()
        self.answer = Cluster().issued(asked(self.key))
        self.issued = read_issued(self.answer, "g")

    def test_read(self) -> None:
        """Every part that files need; an SSH certificate may be missing."""
        self.assertEqual(
            (self.issued.user, self.issued.cluster, self.issued.roles, self.issued.not_after),
            ("alice", "example", ("access", "editor"), NOW + 43200),
        )
        without = read_issued({**self.answer, "ssh_certificate": None}, "g")
        self.assertIsNone(without.ssh_certificate)

    def test_an_ssh_line_is_one_line(self) -> None:
        """Nothing that a gateway says becomes a second line of known_hosts."""
        for line in ("a b\n@cert-authority * x", "one-word", ""):
            cas = {**self.answer["cas"], "ssh_host": [line]}
            self.assertRaises(Unreachable, read_issued, {**self.answer, "cas": cas}, "g")

    def test_clock(self) -> None:
        """A minute apart is nothing, more is a warning, too much an error."""
        for now, want in ((NOW - 60, None), (NOW + 60, None)):
            self.assertEqual(check_clock(self.issued, now), want)
        warning = check_clock(self.issued, NOW + 90)
        self.assertEqual(warning, "the clocks of this machine and the cluster are 90 s apart")
        for now, words in ((NOW - 61, "behind"), (NOW + 43200, "ahead")):
            error = self.assertRaises(ClockWrong, check_clock, self.issued, now)
            self.assertIn(words, str(error))

    def test_no_secret_is_shown(self) -> None:
        """A key's repr has nothing of it."""
        self.assertNotIn("PRIVATE", repr(self.key))

    def test_overwrite(self) -> None:
        """If one of several files is there, none is written."""
        name = Path(self.mktemp()).absolute()
        name.with_suffix(".crt").write_text("mine")
        self.assertRaises(BadAsk, write_out, self.issued, self.key, "tls", name, overwrite=False)
        self.assertFalse(name.with_suffix(".key").exists())
        files = write_out(self.issued, self.key, "tls", name, overwrite=True)
        self.assertEqual([file.suffix for file in files], [".key", ".crt", ".cas"])

    def test_dots_in_names(self) -> None:
        """A name with a dot keeps it: its endings are added, not put in the place of others."""
        name = Path(self.mktemp()).absolute() / "a.b"
        files = write_out(self.issued, self.key, "tls", name, overwrite=False)
        self.assertEqual([file.name for file in files], ["a.b.key", "a.b.crt", "a.b.cas"])

    def test_without_an_ssh_certificate(self) -> None:
        """Where the cluster gave none, an openssh identity is refused and not written empty."""
        issued = evolve(self.issued, ssh_certificate=None)
        name = Path(self.mktemp())
        self.assertRaises(BadAsk, write_out, issued, self.key, "openssh", name, overwrite=False)
        self.assertFalse(name.exists())
