"""A node with a real sshd of its own that trusts a cluster, and a client of that cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.task import Clock

from tests.cluster.states import FakeDoor, authority, event, pem, snapshot
from tests.support.authorities import Cluster, p256, spki, ssh_line
from tests.support.child import Child, program
from tests.support.commandline import run as tgctl
from tests.support.ports import free_port, listening
from tlsgate.auth.issue import ssh_extensions
from tlsgate.cluster.view import ClusterView
from tlsgate.service.principals import TICK_SECONDS
from tlsgate.service.sshnode import SshNode

_SECONDS = 60


def role(name: str, *logins: str, labels: Any = None, **options: Any) -> dict[str, Any]:
    """A role that allows *logins* where *labels* fit; env=prod where none are given."""
    allow = {"logins": list(logins), "node_labels": labels or {"env": ["prod"]}}
    spec = {"allow": allow, "options": options}
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}


def user(name: str, *roles: str) -> dict[str, Any]:
    """A user in a snapshot."""
    return {"name": name, "roles": list(roles), "traits": {}}


class Node:
    """An agent's files and an sshd that reads them; root's, as a node's are.

    sshd wants folders that nobody else may write above the files, and /tmp is none.

    Args:
        parent: where its folder is made.
        certifies_machine: whether the machine has an Ed25519 key that is certified.

    Attributes:
        data: the agent's data directory.
        config: of sshd; without anything of ours until `tgctl("install")`.
    """

    def __init__(
        self, cluster: Cluster, parent: Path = Path("/run"), *, certifies_machine: bool = True
    ) -> None:
        self.cluster = cluster
        self.machine_kind = "ed25519" if certifies_machine else "rsa"
        self.folder = Path(tempfile.mkdtemp(prefix="tlsgate-node-", dir=parent))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        (self.data / "agent").mkdir(parents=True)
        self.labels = {"env": "prod"}
        self.clock = Clock()
        self.clock.advance(time.time())
        self.door = FakeDoor()
        self.view = ClusterView(
            cluster.name, self.door, self.clock, self.clock.seconds, mode="multiplex"
        )
        self.log = self.folder / "log"
        self.log.touch()
        self.ssh = SshNode(
            self.data / "agent" / "ssh",
            self.view,
            lambda: self.labels,
            self.clock,
            name="db1",
            log=str(self.log),
            now=self.clock.seconds,
            machine_key=self.folder / f"{'machine_key' if certifies_machine else 'none'}.pub",
        )
        self.port = free_port()
        self.pid_file = self.folder / "pid"
        self.config = self._configured()
        issued = cluster.issuer.host_certificate(
            cluster.host("db1", "node"), spki(p256()), ssh_public_key=self.ssh.public_key()
        )
        self.ssh.keep(issued.ssh)
        self.sshd: Child | None = None

    def _configured(self) -> Path:
        (self.folder / "sshd_config.d").mkdir()
        keygen = program("ssh-keygen", "openssh-client")
        key = self.folder / "machine_key"
        subprocess.run([keygen, "-q", "-N", "", "-t", self.machine_kind, "-f", key], check=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"""\
Include {self.folder}/sshd_config.d/*.conf
Port {self.port}
ListenAddress 127.0.0.1
HostKey {key}
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes yes
MaxStartups 100
PidFile {self.pid_file}
LogLevel VERBOSE
"""
        )
        return config

    def begin(self, *users: Mapping[str, Any], roles: Sequence[Any], **more: Any) -> None:
        """Hear of the cluster for the first time."""
        self.view.start()
        keys = [{"id": "1", "public_key": line} for line in self.authorities()]
        trusted = {"user": authority(pem(b"user")), "host": authority(pem(b"host"))}
        trusted["ssh_user"] = {"keys": keys}
        said = snapshot(
            cluster=self.cluster.name,
            authorities=trusted,
            users=list(users),
            roles=list(roles),
            **more,
        )
        self.door.live.say(said)
        self.ssh.start()

    def authorities(self) -> Sequence[str]:
        """Whom the cluster trusts for users' OpenSSH certificates."""
        return self.cluster.authorities.cas()["ssh_user"]

    def hear(self, kind: str, name: str, resource: Any) -> None:
        """Hear of a change."""
        self.door.live.say(event(kind, name, resource))

    def tick(self, seconds: float = TICK_SECONDS) -> None:
        """Let time pass for the agent."""
        self.clock.advance(seconds)

    def tgctl(self, *words: str) -> str:
        """What `tgctl sshd` says."""
        verb, *rest = words
        config = ("--sshd-config", str(self.config))
        done = tgctl("--agent-data-dir", str(self.data), "sshd", verb, *config, *rest)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start sshd."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # privilege separation wants it
        words = ("-D", "-f", self.config, "-E", self.log)
        self.sshd = Child((program("sshd", "openssh-server"), *words), self.folder / "out")
        self.sshd.until(lambda: listening(self.port), "sshd")

    def stop(self) -> None:
        """End everything."""
        self.ssh.stop()
        self.view.stop()
        if self.sshd is not None:
            self.sshd.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Client:
    """`ssh` with a certificate of the cluster, and nothing of the caller's own."""

    def __init__(self, node: Node, name: str = "alice", **permits: bool) -> None:
        self.node = node
        self.folder = Path(tempfile.mkdtemp(prefix="tlsgate-client-"))
        key = p256()
        permitted = {"port_forwarding": True, "forward_agent": True, **permits}
        issued = node.cluster.issuer.user_certificates(
            node.cluster.user(name),
            spki(key),
            ssh_line(key),
            extensions=ssh_extensions(**permitted),
        )
        assert issued.ssh is not None
        self.key = self.folder / "key"
        self.key.touch(0o600)
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        (self.folder / "key-cert.pub").write_text(issued.ssh + "\n")
        self.hosts = self.folder / "known_hosts"
        self.know(node.cluster.authorities.cas()["ssh_host"])

    def know(self, authorities: Sequence[str]) -> None:
        """Trust hosts that these say are them."""
        self.hosts.write_text("".join(f"@cert-authority * {line}\n" for line in authorities))

    def words(self, *more: str, login: str = "root") -> list[str | Path]:
        """The command."""
        options: dict[str, str | Path] = {
            "UserKnownHostsFile": self.hosts,
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlias": f"db1.node.{self.node.cluster.name}",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "ExitOnForwardFailure": "yes",
        }
        written = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        where: list[str | Path] = ["-p", str(self.node.port), "-l", login, "-i", self.key]
        return [program("ssh", "openssh-client"), "-F", "none", *written, *where, *more]

    def run(
        self, *more: str, login: str = "root", before: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run it; *before* stands in front."""
        return subprocess.run(
            [*before, *self.words(*more, login=login)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"]},
        )

    def gets_in(self, login: str = "root") -> bool:
        """Whether a command runs; fails where it is for another reason than a refusal."""
        done = self.run("127.0.0.1", "echo in", login=login)
        if done.stdout == "in\n":
            return True
        assert "Permission denied" in done.stderr, done.stderr
        return False

    def end(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def cluster() -> Cluster:
    """A cluster whose certificates are good now."""
    return Cluster(now=time.time())


def rotated(cluster: Cluster, phase: str) -> Sequence[str]:
    """Take a step in the rotation of users' OpenSSH authority; give whom is trusted then."""
    cluster.rotate("ssh_user", phase, 0.0)
    return cluster.authorities.cas()["ssh_user"]
