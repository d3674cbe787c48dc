"""OpenSSH reads what tgsh writes: its configuration, its known_hosts, its agent."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.cli.cluster import CommandCase
from tests.support.child import program, temporary, until
from tests.support.harness import CLIENT_SECONDS
from tlsgate.cli import sshagent
from tlsgate.cli.newkey import make_key

SEPARATE_PROXY = {"tls_routing_enabled": False, "ssh": {"listen_addr": "0.0.0.0:3023"}}


def run(*words: object, **how: Any) -> str:
    """The output of a program that ends well."""
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
        **how,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return str(done.stdout)


class ConfigTests(CommandCase):
    """`ssh -G` on the output of `tgsh config`."""

    def setUp(self) -> None:
        super().setUp()
        self.ssh = program("ssh", "openssh-client")
        self.file = self.terminal.home.parent / f"{self.terminal.home.name}.config"

    def told(self, host: str) -> dict[str, str]:
        """What ssh would do for *host*."""
        found: dict[str, str] = {}
        for line in run(self.ssh, "-G", "-F", self.file, host).splitlines():
            name, _, value = line.partition(" ")
            found.setdefault(name, value)
        return found

    def write(self) -> None:
        """Have tgsh write the file, in place."""
        result = self.terminal.run("config", f"--file={self.file}")
        self.assertEqual(result.exit_code, 0, result.stderr)

    def test_multiplex(self) -> None:
        """Nodes by each of their names go through tgsh; the gateway and strangers do not."""
        self.write()
        home = self.terminal.home
        for host in ("root@db1.example", "root@db1.gate.test", "db1.example"):
            found = self.told(host)
            self.assertEqual(
                (found["userknownhostsfile"], found["stricthostkeychecking"]),
                (f"{home}/known_hosts", "true"),
            )
            self.assertEqual(
                (found["identityfile"], found["certificatefile"], found["identitiesonly"]),
                (
                    f"{home}/keys/gate.test/alice",
                    f"{home}/keys/gate.test/alice-ssh/example-cert.pub",
                    "yes",
                ),
            )
            self.assertRegex(
                found["proxycommand"],
                r"\A/\S+ .*proxy ssh --proxy=gate\.test:443 --cluster=example %r@%h:%p\Z",
            )
            self.assertTrue(
                all("-cert-v01@" in one for one in found["hostkeyalgorithms"].split(","))
            )
        for host in ("gate.test", "elsewhere.test"):
            self.assertNotIn("proxycommand", self.told(host))
        self.assertNotEqual(
            self.told("elsewhere.test")["userknownhostsfile"], f"{home}/known_hosts"
        )

    def test_separate(self) -> None:
        """After a change of the mode the same file jumps, and the gateway is dialled at 3023."""
        self.file.write_text("Host mine\n    User me\n")
        self.write()
        self.terminal.now += 61
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        self.write()
        found = self.told("root@db1.gate.test")
        self.assertEqual(found["proxyjump"], "alice@gate.test:3023")
        self.assertNotIn("proxycommand", found)
        gate = self.told("gate.test")
        self.assertEqual((gate["user"], gate["port"]), ("alice", "3023"))
        self.assertNotIn("proxyjump", gate)
        self.assertEqual(self.told("mine")["user"], "me")
        self.assertEqual(self.file.read_text().count("# begin tgsh config"), 1)

    def test_odd_folder(self) -> None:
        """A folder with spaces and signs of ssh's own is read as it is."""
        odd = Path(self.mktemp()).absolute() / "a b%h"
        odd.parent.mkdir()
        self.terminal.home.rename(odd)
        self.terminal.home = odd
        self.write()
        found = self.told("db1.example")
        # -G shows tokens before they are replaced.
        self.assertEqual(found["identityfile"].replace("%%", "%"), f"{odd}/keys/gate.test/alice")
        self.assertIn(f"'--home={odd}'".replace("%", "%%"), found["proxycommand"])

    def test_tgsh_ssh(self) -> None:
        """The words of `tgsh ssh` are taken by ssh as they are meant; the user's come first."""
        self.terminal.run("ssh", "-p", "2222", "-o", "StrictHostKeyChecking=no", "root@db1", "ls")
        (words,) = self.terminal.ran
        lines = run(self.ssh, "-G", "-F", "/dev/null", *words[1:]).splitlines()
        for line in (
            "user root",
            "port 2222",
            "hostname db1.example",
            "stricthostkeychecking false",
        ):
            self.assertIn(line, lines)
        self.assertIn(f"userknownhostsfile {self.terminal.home}/known_hosts", lines)

    def test_known_hosts(self) -> None:
        """The cluster's authority answers for the gateway and the nodes, at any port."""
        keygen = program("ssh-keygen", "openssh-client")
        file = self.terminal.home / "known_hosts"
        key = self.terminal.home / "hostca"
        run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", key)
        names = file.read_text().split()[1]
        kind, blob, *_ = key.with_suffix(".pub").read_text().split()
        file.write_text(f"@cert-authority {names} {kind} {blob}\n")
        for host in (
            *("gate.test", "[gate.test]:3023", "db1.gate.test", "[db1.gate.test]:2222"),
            *("db1.example", "[db1.example]:2222", "example"),
        ):
            self.assertIn("CA", run(keygen, "-F", host, "-f", file), host)
        for host in ("db1", "elsewhere.test", "xgate.test"):
            done = subprocess.run(
                [keygen, "-F", host, "-f", file], capture_output=True, timeout=9, check=False
            )
            self.assertEqual((done.returncode, done.stdout), (1, b""), host)


class AgentTests(CommandCase):
    """OpenSSH's own agent."""

    def setUp(self) -> None:
        super().setUp()
        folder = temporary("agent")
        self.socket = folder / "socket"
        words = [program("ssh-agent", "openssh-client"), "-D", "-a", str(self.socket)]
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL)

        def end() -> None:
            child.terminate()
            child.wait()

        self.addCleanup(end)
        until(self.listens, "the agent listens")
        self.environment = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        self.patch(os, "environ", self.environment)
        self.cluster.answers["POST /v1/login"] = self.login

    def listens(self) -> bool:
        """Whether the agent answers."""
        with socket.socket(socket.AF_UNIX) as dialled:
            return dialled.connect_ex(str(self.socket)) == 0

    def login(self, query: Any, body: Any) -> dict[str, Any]:
        """Sign the key of the login with ssh-keygen, as a cluster would."""
        keygen = program("ssh-keygen", "openssh-client")
        folder = temporary("signed")
        run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / "ca")
        (folder / "key.pub").write_text(body["ssh_public_key"] + "\n")
        run(keygen, "-q", "-s", folder / "ca", "-I", "alice", "-n", "alice", folder / "key.pub")
        line = (folder / "key-cert.pub").read_text().strip()
        return {**self.cluster.issued(body), "ssh_certificate": line}

    def listed(self) -> str:
        """What the agent has."""
        done = subprocess.run(
            [program("ssh-add", "openssh-client"), "-L"],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        return done.stdout

    def log_in(self, *words: str) -> Any:
        """`tgsh login` with the agent in its environment."""
        self.terminal.types = [self.cluster.password, "123456"]
        return self.terminal.run(
            *("login", "--proxy=gate.test:443", "--user=alice", "--ttl=60", *words),
            env={"SSH_AUTH_SOCK": str(self.socket)},
        )

    def test_login_and_logout(self) -> None:
        """A login gives the certificate once, however often; a logout takes it away."""
        comment = "tgsh:gate.test:example:alice"
        for _ in range(2):
            result = self.log_in()
            self.assertEqual((result.exit_code, result.stderr), (0, ""))
            (line,) = self.listed().splitlines()
            self.assertTrue(line.startswith("ecdsa-sha2-nistp256-cert-v01@openssh.com "))
            self.assertTrue(line.endswith(f" {comment}"))
        self.terminal.run("logout", env={"SSH_AUTH_SOCK": str(self.socket)})
        self.assertNotIn(comment, self.listed())

    def test_choices(self) -> None:
        """no adds nothing, only leaves no certificate in a file, yes needs an agent."""
        file = self.terminal.home / "keys/gate.test/alice-ssh/example-cert.pub"
        self.log_in("--add-keys-to-agent=no")
        self.assertNotIn("tgsh:", self.listed())
        self.assertTrue(file.exists())
        self.assertEqual(self.log_in("-k", "only").exit_code, 0)
        self.assertIn("tgsh:", self.listed())
        self.assertFalse(file.exists())
        self.patch(sshagent, "running", lambda: None)
        self.assertEqual(self.log_in("-k", "auto").exit_code, 0)
        result = self.log_in("-k", "yes")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("no ssh-agent runs here", result.stderr)

    def test_it_signs(self) -> None:
        """What the agent holds is the key of the login: it signs with it."""
        self.log_in()
        keygen = program("ssh-keygen", "openssh-client")
        public = self.terminal.home / "keys/gate.test/alice.pub"
        word = self.terminal.home / "word"
        word.write_text("hello")
        certificate = self.terminal.home / "keys/gate.test/alice-ssh/example-cert.pub"
        run(keygen, "-Y", "sign", "-n", "file", "-f", certificate, word, env=self.environment)
        self.assertTrue(public.exists())
        self.assertIn("BEGIN SSH SIGNATURE", word.with_name("word.sig").read_text())

    def test_life(self) -> None:
        """The agent forgets it when the certificate ends."""
        private, asked = _pair()
        line = self.login(None, {**asked, "user": "alice"})["ssh_certificate"]
        sshagent.add("short", private, line, 1)
        until(lambda: "short" not in self.listed(), "the agent forgets the key")


def _pair() -> tuple[bytes, dict[str, Any]]:
    key = make_key()
    return key.private_pem, {"tls_public_key": key.public_pem, "ssh_public_key": key.ssh_public}
