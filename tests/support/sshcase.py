"""A cluster with nodes whose own sshd people reach: real daemons, agents, sshd and clients.

The web address is `localhost`, so node db1 is `db1.localhost` in ssh's configuration. Everybody
logs in as root, since that is who runs the agents; what a role allows is told by its labels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
from attrs import define, field

from tests.support.agent import AgentCase
from tests.support.child import PATIENCE_SECONDS, Child, program
from tests.support.cluster import User
from tests.support.common import common, no_bugs
from tests.support.harness import ROOT, Gate
from tests.support.ports import free_port, listening

#: How long one client program may take.
CLIENT_SECONDS = 60


@define(kw_only=True)
class Node:
    """An agent, and the sshd beside it."""

    name: str
    agent: Gate
    sshd: Child
    port: int
    folder: Path


@define(kw_only=True)
class Person:
    """Somebody with a home, who has logged in there."""

    user: User
    home: Path
    env: dict[str, str] = field(repr=False)

    @property
    def config(self) -> Path:
        """What `tgsh config` has written last."""
        return self.home / ".ssh" / "config"


class SshCase(AgentCase):
    """Tests of SSH end to end."""

    def begin(self, *, version: str = "v1", mode: str = "multiplex", **keys: Any) -> None:
        """Start a cluster with every listener of its version, and a role for production."""
        self.ssh_port = self.tunnel_port = free_port()
        while self.tunnel_port == self.ssh_port:
            self.tunnel_port = free_port()
        proxy: dict[str, object] = {}
        if version == "v1":
            proxy = {
                "listen_addr": f"127.0.0.1:{self.ssh_port}",
                "tunnel_listen_addr": f"127.0.0.1:{self.tunnel_port}",
                "ssh_public_addr": f"localhost:{self.ssh_port}",
                "tunnel_public_addr": f"localhost:{self.tunnel_port}",
            }
        proxy |= dict(keys.pop("proxy_more", {}))
        auth = {"enabled": "yes", "cluster_name": "gw.test", **dict(keys.pop("auth", {}))}
        self.hub = self.cluster(version=version, proxy=proxy, auth=auth, **keys)
        self.mode(mode)
        self.put_role("prod", labels={"env": ["prod"]})

    def mode(self, mode: str) -> None:
        """Tell clients of the cluster which way to take."""
        spec = {"proxy_listener_mode": mode}
        name = "cluster-networking-config"
        body = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.hub.admin("PUT", f"/v1/resources/cluster_networking_config/{name}?force=1", body)

    def put_role(
        self,
        name: str,
        *,
        labels: Mapping[str, Any],
        logins: Sequence[str] = ("root",),
        **more: Any,
    ) -> None:
        """Make or change a role."""
        allow = {"logins": list(logins), "node_labels": dict(labels)}
        body = {
            "kind": "role",
            "version": "v7",
            "metadata": {"name": name},
            "spec": {"allow": allow, **more},
        }
        self.hub.admin("PUT", f"/v1/resources/role/{name}?force=1", body)

    def node(
        self, name: str = "db1", *, labels: Mapping[str, str] | None = None, **keys: Any
    ) -> Node:
        """Start an agent, and a real sshd that uses the files which the agent keeps."""
        port = free_port()
        labels = {"env": "prod"} if labels is None else labels
        agent = self.agent(self.hub, name, labels=labels, sshd_addr=f"127.0.0.1:{port}", **keys)
        # sshd wants folders that nobody else may write above what it trusts; /tmp is none.
        folder = Path(tempfile.mkdtemp(prefix="tlsgate-sshd-", dir="/run"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        lines = self.program_says("tgctl", "--agent-data-dir", agent.data_dir, "sshd", "print")
        config = folder / "sshd_config"
        config.write_text(
            f"{lines}\nPort {port}\nListenAddress 127.0.0.1\nAuthorizedKeysFile none\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\nPidFile none\n"
            "MaxStartups 200\nLogLevel VERBOSE\nSubsystem sftp internal-sftp\n"
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # privilege separation wants it
        command = (program("sshd", "openssh-server"), "-D", "-e", "-f", config)
        sshd = Child(command, folder / "out")
        self.addCleanup(sshd.end)
        sshd.until(lambda: listening(port), "sshd")
        return Node(name=name, agent=agent, sshd=sshd, port=port, folder=folder)

    # -- people ------------------------------------------------------------------------

    def person(self, name: str = "alice", roles: Sequence[str] = ("prod",)) -> Person:
        """Somebody who has logged in with tgsh."""
        home = self.folder()
        (home / ".ssh").mkdir(mode=0o700)
        kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START")
        env = {key: os.environ[key] for key in kept if key in os.environ}
        tools = home / "bin"
        tools.mkdir()
        for tool in ("tgsh", "tgctl"):
            module = "tlsgate.cli.tgsh.entry" if tool == "tgsh" else "tlsgate.cli.tgctl.main"
            file = tools / tool
            file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
            file.chmod(0o755)
        env |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        env["PATH"] = f"{tools}:{env['PATH']}"
        person = Person(user=self.add_user(self.hub, name, roles), home=home, env=env)
        self.log_in(person)
        return person

    def log_in(self, person: Person) -> None:
        """Log in in a terminal."""
        pin = self.hub.admin("GET", "/v1/cas")["pins"][0]
        words = ["login", f"--proxy=localhost:{self.web_port}", f"--user={person.user.name}"]
        child = pexpect.spawn(
            "tgsh",
            [*words, f"--ca-pin={pin}"],
            env=person.env,
            timeout=PATIENCE_SECONDS,
            encoding="utf-8",
        )
        try:
            child.expect("Password of .*: ")
            child.sendline(person.user.password)
            child.expect("code: ")
            child.sendline(person.user.code(time.time()))
            child.expect(pexpect.EOF)
            shown = child.before or ""
        finally:
            child.close(force=True)
        self.assertEqual(child.exitstatus, 0, shown)

    def write_config(self, person: Person) -> str:
        """Have `tgsh config` write ssh's configuration; gives the text."""
        text = self.says(person, "tgsh", "config")
        person.config.write_text(text)
        return text

    def do(
        self,
        person: Person,
        *words: object,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as *person*."""
        return subprocess.run(
            [str(word) for word in words],
            env={**person.env, **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=CLIENT_SECONDS,
            check=False,
            cwd=person.home,
        )

    def says(
        self,
        person: Person,
        *words: object,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> str:
        """What a program prints that ends well."""
        done = self.do(person, *words, stdin=stdin, env=env)
        self.assertEqual((words, done.returncode), (words, 0), done.stdout + done.stderr)
        return done.stdout.decode()

    def fails(self, person: Person, *words: object) -> str:
        """What a program complains that does not."""
        done = self.do(person, *words)
        self.assertNotEqual((words, done.returncode), (words, 0), done.stdout)
        return done.stderr.decode()

    def program_says(self, name: str, *words: object) -> str:
        """What one of ours prints, run as an operator."""
        done = subprocess.run(
            [sys.executable, "-m", f"tlsgate.cli.{name}.main", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((words, done.returncode), (words, 0), done.stderr)
        return done.stdout


class SharedSshCase(SshCase):
    """One cluster with both ways in, one node and one login of alice's for all tests of a class.

    Each test begins in multiplex mode; what others left in alice's home does not matter.
    """

    db1: Node
    alice: Person

    def setUp(self) -> None:
        super().setUp()
        made = common(self, type(self).made)
        for name in ("hub", "db1", "alice", "web_port", "ssh_port", "tunnel_port"):
            setattr(self, name, getattr(made, name))
        no_bugs(self, self.hub, self.db1.agent)
        self.mode("multiplex")
        self.forget_mode(self.alice)

    def made(self) -> SharedSshCase:
        """Start everything."""
        self.begin()
        self.db1 = self.node()
        self.alice = self.person()
        return self

    def forget_mode(self, person: Person) -> None:
        """Have tgsh ask anew which way to take, as it does each minute."""
        (person.home / ".tgsh/keys/localhost/ping.json").unlink(missing_ok=True)
