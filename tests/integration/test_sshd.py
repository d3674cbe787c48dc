"""The node's own sshd, dialled directly: it enforces logins, labels and locks by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import lock
from tests.support.child import program, until
from tests.support.sshdnode import Client, Node, cluster, role, rotated, user

ACCESS = role("access", "root", "nobody", forward_agent=True)


class SshdCase(SynchronousTestCase):
    """A node of a cluster with alice."""

    certifies_machine = True

    def setUp(self) -> None:
        """An sshd that `tgctl` has told of the cluster."""
        self.cluster = cluster()
        self.node = Node(self.cluster, certifies_machine=self.certifies_machine)
        self.addCleanup(self.node.stop)
        self.node.begin(user("alice", "access"), user("bob", "other"), roles=[ACCESS])
        self.alice = self.client("alice")

    def client(self, name: str, **permits: bool) -> Client:
        """Somebody with a certificate."""
        client = Client(self.node, name, **permits)
        self.addCleanup(client.end)
        return client

    def start(self) -> None:
        """Install our part, and start."""
        self.node.tgctl("install")
        self.node.start()

    def log(self) -> str:
        """All that sshd has said."""
        return self.node.log.read_text()


class EnforcedTests(SshdCase):
    """What a certificate opens is what roles, labels and locks say now."""

    def setUp(self) -> None:
        """It runs."""
        super().setUp()
        self.start()

    def refused_within_a_second(self, since: float) -> None:
        """Alice is refused, and the files were changed in time."""
        for file in self.node.ssh.files.principals.iterdir():
            self.assertNotIn(" alice\n", file.read_text())
        self.assertLess(time.monotonic() - since, 1.0)
        self.assertFalse(self.alice.gets_in())

    def test_logins(self) -> None:
        """Allowed logins get in, another one does not, nor does a user without a role here."""
        self.assertTrue(self.alice.gets_in())
        self.assertFalse(self.alice.gets_in("daemon"))
        self.assertFalse(self.client("bob").gets_in())
        self.assertFalse(self.client("carol").gets_in())
        self.alice.run("127.0.0.1", "true", login="nobody")  # has no shell
        self.assertIn("Accepted publickey for nobody from", self.log())
        self.assertNotIn("Accepted publickey for daemon", self.log())

    def test_labels(self) -> None:
        """A role that lacks the node's labels does not get in by dialling it directly."""
        self.assertTrue(self.alice.gets_in())
        since = time.monotonic()
        self.node.labels = {"env": "stage"}
        self.node.tick()
        self.refused_within_a_second(since)
        self.assertIn("Certificate does not contain an authorized principal", self.log())
        self.node.labels = {"env": "prod"}
        self.node.ssh.refresh()
        self.assertTrue(self.alice.gets_in())

    def test_changes(self) -> None:
        """A lock, a role's change, a user's change: each counts within a second."""
        told: list[tuple[str, str, Mapping[str, Any] | None, Mapping[str, Any] | None]] = [
            ("lock", "l1", lock("l1", user="alice"), None),
            ("lock", "l2", lock("l2", agent="db1"), None),
            ("lock", "l3", lock("l3", agent=f"db1.node.{self.cluster.name}"), None),
            ("role", "access", role("access", "daemon"), ACCESS),
            (
                "user",
                "alice",
                {"metadata": {"name": "alice"}, "spec": {"roles": ["other"], "traits": {}}},
                {"metadata": {"name": "alice"}, "spec": {"roles": ["access"], "traits": {}}},
            ),
        ]
        for kind, name, resource, back in told:
            since = time.monotonic()
            self.node.hear(kind, name, resource)
            if name == "access":
                self.assertFalse(self.alice.gets_in())
            else:
                self.refused_within_a_second(since)
            self.node.hear(kind, name, back)
            self.assertTrue(self.alice.gets_in(), kind)

    def test_strict(self) -> None:
        """Strict: past the staleness limit nobody gets in, and then again."""
        self.node.ssh.principals.ends = True
        preference = {"metadata": {}, "spec": {"locking_mode": "strict"}}
        self.node.hear("cluster_auth_preference", "cluster-auth-preference", preference)
        self.assertTrue(self.alice.gets_in())
        self.node.tick(self.node.view.stale_limit_seconds + 1.0)
        self.assertEqual(list(self.node.ssh.files.principals.iterdir()), [])
        self.assertFalse(self.alice.gets_in())
        self.node.hear("lock", "none", None)
        self.assertTrue(self.alice.gets_in())

    def test_strict_without_an_agent(self) -> None:
        """Strict: lines that nobody renews end by themselves."""
        self.node.ssh.principals.ends = True
        self.node.view.stale_limit_seconds = 3.0
        preference = {"metadata": {}, "spec": {"locking_mode": "strict"}}
        self.node.hear("cluster_auth_preference", "cluster-auth-preference", preference)
        self.assertTrue(self.alice.gets_in())
        until(lambda: not self.alice.gets_in(), "the end of the line")
        self.assertIn("expiry-time", (self.node.ssh.files.principals / "root").read_text())

    def forwards(self, who: Client) -> bool:
        """Whether a port is forwarded."""
        done = who.run("-W", f"127.0.0.1:{self.node.port}", "127.0.0.1")
        if not done.stdout.startswith("SSH-2.0-"):
            self.assertIn("prohibited", done.stderr)
            return False
        return True

    def has_agent(self, who: Client) -> bool:
        """Whether the agent is there on the node."""
        agent = [program("ssh-agent", "openssh-client")]
        done = who.run("-A", "127.0.0.1", "echo has=$SSH_AUTH_SOCK", before=agent)
        self.assertIn("has=", done.stdout, done.stderr)
        return done.stdout != "has=\n"

    def test_forwarding(self) -> None:
        """Ports and agents are forwarded where certificate and role both permit it."""
        self.assertEqual((self.forwards(self.alice), self.has_agent(self.alice)), (True, True))
        less = self.client("alice", port_forwarding=False, forward_agent=False)
        self.assertEqual((self.forwards(less), self.has_agent(less)), (False, False))
        changed = role("access", "root", port_forwarding=False, forward_agent=False)
        self.node.hear("role", "access", changed)
        self.assertEqual((self.forwards(self.alice), self.has_agent(self.alice)), (False, False))

    def test_rotation(self) -> None:
        """A rotation of the users' authority is followed without telling sshd."""
        self.assertTrue(self.alice.gets_in())
        for phase, old, new in (
            ("init", True, None),
            ("update_clients", True, True),
            ("update_servers", True, True),
            ("standby", False, True),
        ):
            lines = rotated(self.cluster, phase)
            keys = [{"id": str(count), "public_key": line} for count, line in enumerate(lines)]
            self.node.hear("cert_authority", "ssh_user", {"keys": keys})
            self.assertEqual(self.alice.gets_in(), old, phase)
            if new is not None:
                self.assertEqual(self.client("alice").gets_in(), new, phase)

    def test_told(self) -> None:
        """A login is told to the auth service, with the certificate's user and serial."""
        self.node.door.reply = lambda path, body: (200, {"taken": 1})
        self.assertTrue(self.alice.gets_in())
        self.node.tick(1.0)
        self.node.tick(1.0)
        ((method, path, body, _, _),) = self.node.door.asked
        self.assertEqual((method, path), ("POST", "/v1/agent/events"))
        (one,) = body["sshd_accepts"]
        self.assertEqual(
            (one["login"], one["name"], one["address"]), ("root", "alice", "127.0.0.1")
        )


class InstallTests(SshdCase):
    """`tgctl sshd` against the real program."""

    def test_running(self) -> None:
        """What runs is told, and takes certificates at once; then no longer."""
        self.node.start()
        machine = (self.node.folder / "machine_key.pub").read_text().split()[:2]
        self.alice.hosts.write_text(f"db1.node.{self.cluster.name} {' '.join(machine)}\n")
        self.assertFalse(self.alice.gets_in())
        assert self.node.sshd is not None
        self.assertIn(f"process {self.node.sshd.pid}", self.node.tgctl("install"))
        until(lambda: self.log().count("Server listening on") == 2, "the new configuration")
        self.assertTrue(self.alice.gets_in(), "by the machine's own key, as before")
        self.alice.know(self.cluster.authorities.cas()["ssh_host"])
        self.assertTrue(self.alice.gets_in(), "by the host certificate")
        self.assertIn("nothing to do", self.node.tgctl("install"))
        self.assertEqual(self.log().count("Server listening on"), 2)
        self.node.tgctl("uninstall")
        until(lambda: self.log().count("Server listening on") == 3, "the old configuration")
        self.alice.hosts.write_text(f"db1.node.{self.cluster.name} {' '.join(machine)}\n")
        self.assertFalse(self.alice.gets_in())

    def test_known_before(self) -> None:
        """Who knows the machine's key, and no authority, meets that key as before."""
        self.start()
        machine = (self.node.folder / "machine_key.pub").read_text().split()[:2]
        self.alice.hosts.write_text(f"db1.node.{self.cluster.name} {' '.join(machine)}\n")
        self.assertTrue(self.alice.gets_in())

    def test_closed_folder(self) -> None:
        """Files that sshd may not read itself are read for it."""
        self.node.data.chmod(0o700)
        self.assertIn("AuthorizedPrincipalsCommand /", self.node.tgctl("print"))
        self.start()
        self.assertTrue(self.alice.gets_in())
        self.assertFalse(self.alice.gets_in("daemon"))
        self.alice.run("127.0.0.1", "true", login="nobody")
        self.assertIn("Accepted publickey for nobody from", self.log())

    def test_broken_rest(self) -> None:
        """Where sshd would not start with the whole, nothing is left and nobody is told."""
        before = self.node.config.read_text()
        self.node.config.write_text(before + "NoSuchWord yes\n")
        with self.assertRaises(AssertionError) as caught:
            self.node.tgctl("install")
        self.assertIn("NoSuchWord", str(caught.exception))
        self.assertEqual(list((self.node.folder / "sshd_config.d").iterdir()), [])

    def test_not_included(self) -> None:
        """Where sshd does not read the folder, the file does not stay."""
        lines = self.node.config.read_text().splitlines()
        self.node.config.write_text("\n".join(lines[1:]) + "\n")
        with self.assertRaises(AssertionError) as caught:
            self.node.tgctl("install")
        self.assertIn("Include", str(caught.exception))
        self.assertEqual(list((self.node.folder / "sshd_config.d").iterdir()), [])


class OwnKeyTests(InstallTests):
    """The same on a machine without an Ed25519 key, where the agent makes one."""

    certifies_machine = False

    def test_keys_named(self) -> None:
        """The machine's key and the agent's are both named."""
        printed = self.node.tgctl("print")
        self.assertEqual(printed.count("\nHostKey "), 2)
