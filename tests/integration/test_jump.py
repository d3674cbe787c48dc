"""The SSH jump host of a real cluster: OpenSSH, plink and ssh-audit as its clients."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.support.agent import AgentCase
from tests.support.child import program
from tests.support.cluster import Holder
from tests.support.common import common, no_bugs
from tests.support.harness import CLIENT_SECONDS, Gate
from tests.support.jump import SshFiles
from tests.support.servers import Sshd

POLICY = Path(__file__).parents[2] / "etc" / "ssh-audit-policy.txt"


class JumpCase(AgentCase):
    """A cluster whose jump host has a port of its own, too; one for all tests of a class."""

    def setUp(self) -> None:
        """Give alice what she needs."""
        super().setUp()
        self.house = common(self, type(self).begin)
        no_bugs(self, self.house)
        self.become("alice")

    def begin(self) -> Gate:
        """Start the cluster."""
        self.house = self.cluster(proxy={"listen_addr": "127.0.0.1:0"})
        self.role("dev", {"env": "dev"})
        self.add_user(self.house, "alice", ("dev",))
        return self.house

    def become(self, name: str) -> None:
        """Use the cluster as that user."""
        self.files = SshFiles(self.sign(self.house, name))
        self.files.write_config(self.house.port("ssh"))

    def role(self, name: str, labels: dict[str, str]) -> None:
        """A role that lets people log in to nodes with *labels*."""
        spec = {"allow": {"logins": ["root"], "node_labels": labels}}
        body = {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}
        self.house.admin("PUT", f"/v1/resources/role/{name}", body)

    def run_it(self, *words: Any, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a client to its end."""
        return subprocess.run(
            [str(word) for word in words],
            input=typed,
            capture_output=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the audit trail has of *name*."""
        found: list[dict[str, Any]] = self.house.admin("GET", f"/v1/audit?event={name}")["events"]
        return found


class JumpTests(JumpCase):
    """The jump host without any node."""

    def test_s39_ssh_audit(self) -> None:
        """S39: ssh-audit finds what the policy in the tree says, and nothing to complain of."""
        audit = Path(sys.executable).with_name("ssh-audit")
        where = ("-p", str(self.house.port("ssh")), "127.0.0.1")
        checked = self.run_it(audit, "-n", "-P", POLICY, *where)
        self.assertEqual(checked.returncode, 0, checked.stdout.decode())
        self.assertIn(b"Passed", checked.stdout)
        whole = self.run_it(audit, "-n", "-l", "warn", *where)
        self.assertNotIn(b"[fail]", whole.stdout)

    def test_banner_at_once(self) -> None:
        """On its own port the jump host speaks first; on the web port only after "SSH-"."""
        with self.house.connect("ssh") as client:
            self.assertTrue(client.recv(64).startswith(b"SSH-2.0-tlsgate\r\n"))
        with self.house.connect() as client:
            client.settimeout(0.5)
            self.assertRaises(TimeoutError, client.recv, 64)
            client.settimeout(CLIENT_SECONDS)
            client.sendall(b"SSH-2.0-test\r\n")
            self.assertTrue(client.recv(64).startswith(b"SSH-2.0-tlsgate\r\n"))

    def test_host_certificate(self) -> None:
        """The host certificate is checked by who trusts the cluster alone."""
        found = self.run_it(*self.files.words("-v", "-W", "db1:22", "gw.test"))
        self.assertIn(b"Server host certificate", found.stderr)
        self.assertIn(b"is offline", found.stderr.replace(b"likely ", b""))
        self.assertNotIn(b"Host key verification failed", found.stderr)

    def test_a_shell(self) -> None:
        """Nobody gets a shell, a command or files at the jump host."""
        for more in (("gw.test", "id"), ("-T", "gw.test"), ("-s", "gw.test", "sftp")):
            found = self.run_it(*self.files.words(*more))
            self.assertIn(b"request failed on channel 0", found.stderr)
            self.assertNotEqual(found.returncode, 0)

    def test_another_certificate(self) -> None:
        """A plain key, and a certificate of another authority, are refused."""
        keygen = program("ssh-keygen", "openssh-client")
        folder = self.folder()
        for name in ("ca", "key"):
            self.run_it(keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        self.files.key.write_bytes((folder / "key").read_bytes())
        self.files.cert.unlink()
        found = self.run_it(*self.files.words("-W", "db1:22", "gw.test"))
        self.assertIn(b"Permission denied (publickey)", found.stderr)
        signing = ("-s", folder / "ca", "-I", "alice", "-n", "alice", "-V", "+1h")
        self.run_it(keygen, "-q", *signing, folder / "key.pub")
        self.files.cert.write_bytes((folder / "key-cert.pub").read_bytes())
        found = self.run_it(*self.files.words("-W", "db1:22", "gw.test"))
        self.assertIn(b"Permission denied (publickey)", found.stderr)

    def test_every_key_type(self) -> None:
        """RSA, ECDSA and Ed25519 certificates log in, with every algorithm that is offered."""
        keygen = program("ssh-keygen", "openssh-client")
        for kind in (("rsa", "3072"), ("ecdsa", "256"), ("ecdsa", "384"), ("ed25519", "0")):
            files = self.keyed(keygen, *kind)
            for option in (
                "Ciphers=aes256-gcm@openssh.com",
                "Ciphers=aes128-ctr",
                "MACs=hmac-sha2-512-etm@openssh.com",
                "KexAlgorithms=curve25519-sha256",
                "RekeyLimit=16",
            ):
                found = self.run_it(*files.words("-o", option, "-W", "db1:22", "gw.test"))
                self.assertIn(b"offline", found.stderr, option)

    def keyed(self, keygen: str, kind: str, bits: str) -> SshFiles:
        """Alice with a key of that kind."""
        folder = self.folder()
        key = folder / "key"
        self.run_it(keygen, "-q", "-t", kind, "-b", bits, "-N", "", "-m", "PKCS8", "-f", key)
        pem = self.run_it(keygen, "-e", "-m", "PKCS8", "-f", key).stdout.decode()
        if kind == "ed25519":
            return self.files
        line = (folder / "key.pub").read_text()
        asked = {"user": "alice", "tls_public_key": pem, "ssh_public_key": line}
        issued = self.house.admin("POST", "/v1/sign", asked)
        made = SshFiles(Holder(name="alice", folder=folder, issued=issued), key=key.read_bytes())
        made.write_config(self.house.port("ssh"))
        return made


class NodeTests(JumpCase):
    """The jump host, and an agent behind it whose sshd takes one key."""

    sshd: ClassVar[Sshd]

    def begin(self) -> Gate:
        """A node with its sshd, and another one."""
        house = super().begin()
        sshd = type(self).sshd = self.serve(Sshd())
        where = f"127.0.0.1:{sshd.port}"
        self.agent(house, "db1", labels={"env": "dev"}, sshd_addr=where)
        self.agent(house, "prod1", labels={"env": "prod"}, sshd_addr=where)
        return house

    def node(self, *more: str, how: Sequence[str] = ()) -> list[str | Path]:
        """`ssh` to a node's sshd over the jump host."""
        jump = how or ("-o", f"ProxyCommand=ssh -F {self.files.config} -W %h:%p gw.test")
        return self.sshd.client(*jump, *more)

    def test_both_ports(self) -> None:
        """-W over the port of its own and over the web port, -J, and the subsystem."""
        config = self.files.config
        subsystem = f"ProxyCommand=ssh -F {config} -s gw.test proxy:%h:%p@gw.test"
        for port in (self.house.port("ssh"), self.house.port()):
            self.files.write_config(port)
            for how in ((), ("-o", subsystem)):
                found = self.run_it(*self.node("db1", "echo in", how=how))
                self.assertEqual(found.stdout, b"in\n", found.stderr)
            words = self.sshd.client("-F", str(config), "-J", "gw.test", "db1", "echo in")
            found = self.run_it(*words)
            self.assertEqual(found.stdout, b"in\n", found.stderr)

    def test_refused(self) -> None:
        """A node that the role lacks is refused with a sentence that the user reads."""
        found = self.run_it(*self.node("prod1", "echo in"))
        self.assertEqual(found.stdout, b"")
        self.assertIn(b"prod1", found.stderr)
        self.assertEqual(self.events("session.rejected")[-1]["target"], "node/prod1")

    def test_bulk(self) -> None:
        """64 MiB arrive whole, both ways, with new keys in between."""
        sent = os.urandom(1 << 20) * 64
        digest = hashlib.sha256(sent).hexdigest().encode()
        found = self.run_it(*self.node("db1", "sha256sum"), typed=sent)
        self.assertEqual(found.stdout.split()[:1], [digest], found.stderr)
        back = self.run_it(*self.node("db1", "cat"), typed=sent)
        self.assertEqual(hashlib.sha256(back.stdout).hexdigest().encode(), digest)
        ended = self.events("session.end")[-1]
        self.assertEqual((ended["target"], ended["identity"]), ("node/db1", "alice"))
        self.assertGreater(ended["to_client"], 64 << 20)

    def test_locked(self) -> None:
        """A lock on the user cuts the connection, whose user `tgctl connections` knows."""
        self.add_user(self.house, "eve", ("dev",))
        self.become("eve")
        running = subprocess.Popen(
            [str(word) for word in self.node("db1", "echo in; sleep 60")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(running.kill)
        assert running.stdout is not None
        self.addCleanup(running.stdout.close)
        self.assertEqual(running.stdout.readline(), b"in\n")
        rows = self.house.admin("GET", "/v1/connections")
        self.assertIn(("ssh", "eve"), [(row["listener"], row["identity"]) for row in rows])
        self.house.admin("POST", "/v1/locks", {"target": {"user": "eve"}, "message": "out"})
        self.assertNotEqual(running.wait(5), 0)
        found = self.run_it(*self.node("db1", "echo in"))
        self.assertEqual(found.stdout, b"")

    def test_plink(self) -> None:
        """PuTTY's plink goes through with its own form of key, certificate and proxy."""
        ppk = self.files.key.with_suffix(".ppk")
        made = self.run_it(program("puttygen", "putty-tools"), self.files.key, "-o", ppk)
        self.assertEqual(made.returncode, 0, made.stderr)
        shown = self.run_it(
            *("ssh-keygen", "-l", "-f"),
            self.house.folder / "data" / "gateway" / "ssh_host_ed25519_key-cert.pub",
        ).stdout.split()
        words = (
            *(program("plink", "putty-tools"), "-batch", "-ssh", "-P", self.house.port("ssh")),
            *("-i", ppk, "-cert", self.files.cert, "-hostkey", shown[1].decode()),
            *("-l", "alice", "-nc", "db1:22", "127.0.0.1"),
        )
        with subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:
            self.addCleanup(running.kill)
            assert running.stdout is not None
            self.assertIn(b"SSH-2.0-OpenSSH", running.stdout.readline())
            running.kill()

    def test_r11_half_close(self) -> None:
        """R11: after the client's EOF the target's whole answer comes back."""
        sent = os.urandom(1 << 16)
        found = self.run_it(
            *self.node("db1", "cat > /dev/null; head -c 8388608 /dev/zero"), typed=sent
        )
        self.assertEqual(len(found.stdout), 8 << 20, found.stderr)
