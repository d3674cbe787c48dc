"""Tests for `cli.sshagent`; tests/integration has OpenSSH's own agent."""

from __future__ import annotations

import base64
import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli import sshagent
from tlsgate.cli.newkey import make_key
from tlsgate.errors import BadAsk

BLOB = base64.b64encode(b"blob of a certificate").decode()
LINE = f"ecdsa-sha2-nistp256-cert-v01@openssh.com {BLOB} alice"


def string(content: bytes) -> bytes:
    """A string as SSH writes it."""
    return len(content).to_bytes(4, "big") + content


class AgentTests(SynchronousTestCase):
    """An agent whose answers lie ready."""

    def setUp(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.theirs.settimeout(5)
        ours.settimeout(5)
        self.patch(sshagent, "_open", lambda: ours)

    def answers(self, *messages: bytes) -> None:
        """What the agent says, in its order; then it hangs up."""
        self.theirs.sendall(b"".join(map(string, messages)))
        self.theirs.shutdown(socket.SHUT_WR)

    def heard(self) -> list[bytes]:
        """The messages that it got."""
        read = self.theirs.recv(65536)
        found = []
        while read:
            end = 4 + int.from_bytes(read[:4], "big")
            found.append(read[4:end])
            read = read[end:]
        return found

    def listing(self, *held: tuple[bytes, bytes]) -> bytes:
        """The agent's list of keys: blob and comment."""
        whole = b"".join(string(blob) + string(comment) for blob, comment in held)
        return b"\x0c" + len(held).to_bytes(4, "big") + whole

    def test_add(self) -> None:
        """What was there under the comment goes, then the key comes with its life."""
        self.answers(self.listing((b"old", b"mine"), (b"x", b"other")), b"\x06", b"\x06")
        sshagent.add("mine", make_key().private_pem, LINE, 3600)
        asked, removed, added = self.heard()
        self.assertEqual((asked, removed), (b"\x0b", b"\x12" + string(b"old")))
        kind = string(b"ecdsa-sha2-nistp256-cert-v01@openssh.com")
        self.assertTrue(added.startswith(b"\x19" + kind + string(b"blob of a certificate")))
        self.assertTrue(added.endswith(string(b"mine") + b"\x01" + (3600).to_bytes(4, "big")))

    def test_remove(self) -> None:
        """Only what stands under the comment goes."""
        self.answers(self.listing((b"a", b"mine"), (b"b", b"other"), (b"c", b"mine")), b"\x06", b"")
        self.assertRaises(BadAsk, sshagent.remove, "mine")  # the last answer is empty
        self.assertEqual([one[-1:] for one in self.heard()], [b"\x0b", b"a", b"c"])

    def test_remove_nothing(self) -> None:
        """An agent that is locked lists nothing."""
        self.answers(b"\x05")
        self.assertEqual(sshagent.remove("mine"), 0)

    def test_refused(self) -> None:
        """An agent that does not take it, or breaks off, is said to."""
        self.answers(self.listing(), b"\x05")
        error = self.assertRaises(BadAsk, sshagent.add, "m", make_key().private_pem, LINE, 1)
        self.assertIn("does not take the key", str(error))

    def test_nonsense(self) -> None:
        """A list that is cut short is none."""
        self.answers(b"\x0c\0\0\0\x09" + string(b"a"))
        self.assertRaises(BadAsk, sshagent.remove, "mine")


class OpenTests(SynchronousTestCase):
    """Finding it."""

    def test_none(self) -> None:
        """Without SSH_AUTH_SOCK there is none; one that has died is named."""
        self.patch(os, "environ", {})
        self.assertIn("SSH_AUTH_SOCK", str(self.assertRaises(BadAsk, sshagent.remove, "x")))
        self.patch(os, "environ", {"SSH_AUTH_SOCK": "/nonexistent/agent"})
        self.assertIn("/nonexistent", str(self.assertRaises(BadAsk, sshagent.remove, "x")))
