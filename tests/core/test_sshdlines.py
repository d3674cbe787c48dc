"""Tests for `tlsgate.core.sshdlines`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.sshdlines import Accepted, accepted, digest_of, message_of

#: As OpenSSH 9.2 writes it.
LINE = (
    "Accepted publickey for root from 127.0.0.1 port 47886 ssh2: "
    "ED25519-CERT SHA256:IKIPCEF6pKfm29qFtzfkkkK0qcvE5H2sZ50ZkT/rtuc ID alice (serial 42) "
    "CA ED25519 SHA256:Jz/PXrjfA4mzQ+3v3Dx73gE4KJJp2qC1vqznmuqaEL0"
)
DIGEST = "SHA256:kmYcvdi2GkPeWxB6XLjrZB8JHsy2Hm8luHMFp9GMvqk"
ALICE = Accepted(
    login="root",
    address="127.0.0.1",
    port=47886,
    key="SHA256:IKIPCEF6pKfm29qFtzfkkkK0qcvE5H2sZ50ZkT/rtuc",
    name="alice",
    serial=42,
    ca="SHA256:Jz/PXrjfA4mzQ+3v3Dx73gE4KJJp2qC1vqznmuqaEL0",
)


class AcceptedTests(SynchronousTestCase):
    """Tests for `accepted` and `message_of`."""

    def test_line(self) -> None:
        """The line of a login by certificate."""
        self.assertEqual(accepted(LINE), ALICE)

    def test_others(self) -> None:
        """Other lines, and such with a part that cannot be, are none."""
        for line in (
            "",
            "Accepted publickey for root from ::1 port 1 ssh2: ED25519 SHA256:" + "A" * 43,
            LINE.replace("Accepted", "Failed"),
            LINE + " and more",
            " " + LINE,
            LINE.replace("47886", "65536"),
            LINE.replace("serial 42", "serial 18446744073709551616"),
            LINE.replace("alice", "a" * 257),
            LINE.replace("alice", "a\x1bb"),
            LINE.replace("alice", "a" * 4096),
        ):
            self.assertIsNone(accepted(line), line[:200])

    def test_an_id_that_looks_like_the_rest(self) -> None:
        """What another authority has signed does not stand for what sshd says after it."""
        ending = LINE.partition(" ID alice")[2]
        found = accepted(LINE.replace("alice", f"bob{ending}"))
        self.assertEqual(found and found.name, f"bob{ending}")

    def test_files(self) -> None:
        """What syslog and `sshd -E` have in front is taken off."""
        for front in (
            "",
            "Nov 22 13:31:12 db1 sshd[3688]: ",
            "2026-11-22T13:31:12.123456+00:00 db1 sshd-session[1]: ",
        ):
            self.assertEqual(message_of(front + LINE), LINE)
            self.assertEqual(message_of(front + LINE + "\r"), LINE)
        for line in ("", "Nov 22 db1 sudo[1]: " + LINE, "x" * 4096, "Connection closed"):
            self.assertIsNone(message_of(line))

    def test_digest(self) -> None:
        """The digest of a key is what `ssh-keygen -l` shows."""
        line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
        self.assertEqual(digest_of(f"{line} a comment"), DIGEST)
