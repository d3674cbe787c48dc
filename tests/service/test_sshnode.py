"""Tests for `tlsgate.service.sshnode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import NAME, FakeDoor, authority, event, pem, role, snapshot
from tests.core.test_sshdlines import ALICE, LINE
from tests.service.test_sshlog import FakeReactor
from tests.support.authorities import ssh_line
from tlsgate.cluster.view import ClusterView
from tlsgate.core.sshdlines import digest_of
from tlsgate.service import sshnode
from tlsgate.service.sshnode import SshNode


def keys(*lines: str) -> dict[str, Any]:
    """An authority that trusts these."""
    return {"keys": [{"id": "1", "public_key": line} for line in lines]}


class SshNodeTests(SynchronousTestCase):
    """Tests for `SshNode`."""

    def setUp(self) -> None:
        """An agent that has heard nothing."""
        self.folder = Path(self.mktemp()) / "ssh"
        self.reactor = FakeReactor()
        self.door = FakeDoor()
        self.view = ClusterView(NAME, self.door, self.reactor, lambda: 1000.0, mode="multiplex")
        self.says: Deferred[Any] = succeed((b"", b"OpenSSH_9.2p1 Debian-2, OpenSSL 3", 0))
        self.patch(sshnode, "getProcessOutputAndValue", lambda *words, **more: self.says)
        self.line = ssh_line(ed25519.Ed25519PrivateKey.generate())
        self.node = self.make("journal")

    def make(self, log: str) -> SshNode:
        """A node with a log."""
        return SshNode(
            self.folder,
            self.view,
            lambda: {"env": "prod"},
            self.reactor,
            name="db1",
            log=log,
            now=lambda: 1000.0,
            machine_key=self.folder / "none",
        )

    def begin(self, *lines: str) -> None:
        """Hear of the cluster, and start."""
        allow = {"logins": ["root"], "node_labels": {"env": ["prod"]}}
        trusted = {"user": authority(pem(b"user")), "host": authority(pem(b"host"))}
        self.view.start()
        self.door.live.say(
            snapshot(
                authorities={**trusted, "ssh_user": keys(*lines)},
                roles=[role("access", **allow)],
                users=[{"name": "alice", "roles": ["access"], "traits": {}}],
            )
        )
        self.node.start()
        self.addCleanup(self.node.stop)

    def cas(self) -> str:
        """Whom sshd trusts."""
        return (self.folder / "user_ca.pub").read_text()

    def principals(self) -> str:
        """Who may log in as root."""
        return (self.folder / "principals" / "root").read_text()

    def test_followed(self) -> None:
        """Authorities and logins are written, and follow."""
        self.begin(self.line)
        self.assertEqual(self.cas(), f"{self.line}\n")
        self.assertEqual(self.principals(), "restrict,pty,port-forwarding alice\n")
        other = ssh_line(ed25519.Ed25519PrivateKey.generate())
        self.door.live.say(event("cert_authority", "ssh_user", keys(self.line, other)))
        self.assertEqual(self.cas(), f"{self.line}\n{other}\n")
        self.node.start()
        self.node.refresh()
        self.node.stop()
        self.node.stop()
        self.door.live.say(event("cert_authority", "ssh_user", keys(other)))
        self.assertEqual(self.cas(), f"{self.line}\n{other}\n")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_not_written(self) -> None:
        """Authorities that cannot be written are tried again."""
        self.folder.mkdir(parents=True)
        (self.folder / "user_ca.pub").mkdir()
        self.begin(self.line)
        self.assertFalse(self.node.is_following)
        (self.folder / "user_ca.pub").rmdir()
        self.reactor.advance(5.0)
        self.assertTrue(self.node.is_following)
        self.assertEqual(self.cas(), f"{self.line}\n")

    def test_not_written_and_stopped(self) -> None:
        """The same ends with the agent."""
        self.folder.mkdir(parents=True)
        (self.folder / "user_ca.pub").mkdir()
        self.begin(self.line)
        self.node.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_version(self) -> None:
        """Lines end by themselves where this OpenSSH understands it."""
        for said, ends in (
            (succeed((b"", b"OpenSSH_9.2p1", 0)), True),
            (succeed((b"", b"OpenSSH_10.0p2", 0)), True),
            (succeed((b"", b"OpenSSH_8.9p1 Ubuntu-3", 0)), False),
            (succeed((b"", b"", 127)), False),
            (fail(OSError("none")), False),
        ):
            self.says = said
            node = self.make("none")
            node.start()
            self.assertEqual(node.principals.ends, ends)
            node.stop()

    def test_key(self) -> None:
        """The key is made; it is not certified before there is a certificate."""
        self.assertTrue(self.node.public_key().startswith("ssh-ed25519 "))
        self.node.keep(None)
        self.assertFalse(self.node.is_certified)

    def test_told(self) -> None:
        """Logins in the journal go to the auth service."""
        self.begin(self.line)
        self.door.answers = [(200, {"taken": 1})]
        message = LINE.replace(ALICE.ca, digest_of(self.line))
        source: Any = self.node._source
        source._take(message, 5.0)
        self.reactor.advance(1.0)
        ((method, path, body, _, _),) = self.door.asked
        self.assertEqual((method, path, body["sshd_accepts"][0]["at"]), ("POST", PATH, 5.0))

    def test_logs(self) -> None:
        """A file may be named in the journal's place, or nothing."""
        self.assertIsNone(self.make("none")._source)
        self.assertEqual(type(self.make("/var/log/auth.log")._source).__name__, "LogFile")


PATH = "/v1/agent/events"
