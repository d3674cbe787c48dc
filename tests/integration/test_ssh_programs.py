"""OpenSSH's own programs, rsync, ansible and plink, end to end through agents, in both modes."""

from __future__ import annotations

import filecmp
import hashlib
import os
import pwd
import re
import sys
from pathlib import Path

from tests.support.child import program
from tests.support.sshcase import Person, SharedSshCase

#: Both ways through the tunnel, so that every buffer on the way is filled many times.
BULK_BYTES = 64 << 20


class SshProgramsTests(SharedSshCase):
    """One cluster whose legacy listeners are open, a node, and alice."""

    def test_tgsh(self) -> None:
        """ls, ssh and scp; the exit code is the command's."""
        alice = self.alice
        self.assertIn("db1", self.says(alice, "tgsh", "ls"))
        self.assertIn('"db1"', self.says(alice, "tgsh", "ls", "env=prod", "-v", "--format=json"))
        self.assertNotIn("db1", self.says(alice, "tgsh", "ls", "env=test"))
        self.assertEqual(self.says(alice, "tgsh", "ssh", "root@db1", "echo", "in"), "in\n")
        self.assertEqual(self.do(alice, "tgsh", "ssh", "root@db1", "exit 7").returncode, 7)
        self._copies(alice, "tgsh", "scp", "-r")
        code = "import os; print(os.environ['SSH_CONNECTION'].split()[0])"
        self.assertIn(
            "127.0.0.1", self.says(alice, "tgsh", "ssh", "root@db1", f'python3 -c "{code}"')
        )

    def _copies(self, person: Person, *words: str, host: str = "root@db1", ends: str = "") -> None:
        """Copy a tree there and back; *ends* follows the name of a source."""
        source = person.home / "tree"
        (source / "deep").mkdir(parents=True, exist_ok=True)
        (source / "deep" / "file").write_bytes(os.urandom(300_000))
        there, back = self.folder() / "there", self.folder() / "back"
        self.says(person, *words, f"{source}{ends}", f"{host}:{there}")
        self.says(person, *words, f"{host}:{there}{ends}", str(back))
        for copy in (there, back):
            self.assertTrue(filecmp.cmp(source / "deep" / "file", copy / "deep" / "file", False))

    def test_openssh(self) -> None:
        """ssh, scp, sftp and rsync by what `tgsh config` writes, in either mode."""
        alice, host = self.alice, "db1.localhost"
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            text = self.write_config(alice)
            self.assertEqual("proxy ssh" in text, mode == "multiplex", text)
            # ssh asks the user database for the home, and not HOME.
            by = ("-F", str(alice.config))
            self.assertEqual(self.says(alice, "ssh", *by, f"root@{host}", "echo in"), "in\n")
            self._copies(alice, "scp", *by, "-q", "-r", host=f"root@{host}")
            self._copies(
                alice, "rsync", "-a", "-e", f"ssh {' '.join(by)}", host=f"root@{host}", ends="/"
            )
            listed = self.says(
                alice, "sftp", *by, "-q", "-b", "-", f"root@{host}", stdin=b"ls /etc/hosts\n"
            )
            self.assertIn("/etc/hosts", listed)

    def test_both_modes_at_once(self) -> None:
        """The text of either mode works while the other one is told."""
        alice, texts = self.alice, {}
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            texts[mode] = alice.home / mode
            text = self.says(alice, "tgsh", "config")
            self.assertEqual("proxy ssh" in text, mode == "multiplex", text)
            texts[mode].write_text(text)
        for told in ("multiplex", "separate"):
            self.mode(told)
            for written, file in texts.items():
                said = self.says(alice, "ssh", "-F", file, "root@db1.localhost", "echo in")
                self.assertEqual((told, written, said), (told, written, "in\n"))

    def test_plain_openssh_by_the_jump_host(self) -> None:
        """`ssh -J alice@gateway:3023`, with the key in ssh-agent and nothing of ours."""
        alice = self.alice
        files = self._files(alice)
        hosts = alice.home / ".tgsh" / "known_hosts"
        started = self.says(alice, "ssh-agent", "-s")
        env = dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
        try:
            self.says(alice, "ssh-add", "-q", files["key"], env=env)
            jump = f"alice@localhost:{self.ssh_port}"
            # ssh gives -o of the command line to nobody but itself, so the jump has a file.
            config = alice.home / "plain"
            config.write_text(f"Host *\n  UserKnownHostsFile {hosts}\n  BatchMode yes\n")
            done = self.do(
                alice, "ssh", "-F", config, "-J", jump, "root@db1.localhost", "echo in", env=env
            )
            self.assertEqual((done.returncode, done.stdout), (0, b"in\n"), done.stderr)
            # The shared port knows SSH by its first bytes.
            jump = f"alice@localhost:{self.web_port}"
            done = self.do(
                alice, "ssh", "-F", config, "-J", jump, "root@db1.localhost", "echo in", env=env
            )
            self.assertEqual((done.returncode, done.stdout), (0, b"in\n"), done.stderr)
        finally:
            self.do(alice, "ssh-agent", "-k", env=env)

    def test_literal_known_hosts(self) -> None:
        """The same with no file but known_hosts: authorities, or the keys that ssh-keyscan saw.

        ssh looks for it in the home of /etc/passwd, so each gets a ~/.ssh of its own there.
        """
        alice = self.alice
        files = self._files(alice)
        folder = alice.home / "dot-ssh"
        folder.mkdir(mode=0o700)
        node = (self.db1.agent.data_dir / "agent/ssh/host_key.pub").read_text()
        seen = self.says(alice, "ssh-keyscan", "-t", "ed25519", "-p", self.ssh_port, "localhost")
        lines = {
            "authorities": (alice.home / ".tgsh/known_hosts").read_text(),
            "keys": f"{seen}db1.localhost {node}",
            "others": f"[localhost]:{self.ssh_port} {node}db1.localhost {node}",
        }
        started = self.says(alice, "ssh-agent", "-s")
        env = dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
        dot_ssh = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh"
        dot_ssh.mkdir(mode=0o700, exist_ok=True)
        mounted = f'mount --bind "{folder}" "{dot_ssh}" && exec "$@"'
        alone = (program("unshare", "util-linux"), "-m", "sh", "-c", mounted, "sh")
        jump = f"alice@localhost:{self.ssh_port}"
        words = ("ssh", "-o", "BatchMode=yes", "-J", jump, "root@db1.localhost", "echo in")
        try:
            self.says(alice, "ssh-add", "-q", files["key"], env=env)
            for name, text in lines.items():
                (folder / "known_hosts").write_text(text)
                done = self.do(alice, *alone, *words, env=env)
                wanted = (255, b"") if name == "others" else (0, b"in\n")
                self.assertEqual((done.returncode, done.stdout), wanted, (name, done.stderr))
        finally:
            self.do(alice, "ssh-agent", "-k", env=env)

    def _files(self, person: Person) -> dict[str, Path]:
        """Where key and certificate of a login are."""
        keys = person.home / ".tgsh" / "keys" / "localhost"
        name = person.user.name
        found = {"key": keys / name, "cert": keys / f"{name}-ssh" / "gw.test-cert.pub"}
        beside = keys / f"{name}-cert.pub"
        if not beside.exists():  # ssh-add takes the certificate that lies beside the key
            beside.write_bytes(found["cert"].read_bytes())
        return found

    def test_plink(self) -> None:
        """PuTTY's plink, with its own key format, through `tgsh proxy ssh` and the jump host."""
        alice = self.alice
        files = self._files(alice)
        converted = alice.home / "alice.ppk"
        key = alice.home / "key.openssh"
        key.write_bytes(files["key"].read_bytes())
        key.chmod(0o600)
        self.says(alice, "ssh-keygen", "-p", "-q", "-N", "", "-P", "", "-f", key)
        program("puttygen", "putty-tools")
        self.says(alice, "puttygen", key, "-O", "private", "-o", converted)
        # plink knows no certified hosts on the command line: the host key's own print.
        node = self.says(
            alice, "ssh-keygen", "-l", "-f", self.db1.agent.data_dir / "agent/ssh/host_key.pub"
        )
        common = ("-batch", "-i", converted, "-cert", files["cert"])
        said = self.says(
            alice,
            *("plink", *common, "-hostkey", node.split()[1]),
            *("-proxycmd", "tgsh proxy ssh root@%host:%port", "root@db1.localhost", "echo in"),
        )
        self.assertEqual(said, "in\n")
        gate_key = self.hub.data_dir / "gateway" / "ssh_host_ed25519_key-cert.pub"
        jump = self.says(alice, "ssh-keygen", "-l", "-f", gate_key).split()[1]
        through = (
            f"plink -batch -i {converted} -cert {files['cert']} -hostkey {jump} "
            f"-P {self.ssh_port} -nc %host:%port alice@localhost"
        )
        said = self.says(
            alice,
            *("plink", *common, "-hostkey", node.split()[1]),
            *("-proxycmd", through, "root@db1.localhost", "echo in"),
        )
        self.assertEqual(said, "in\n")

    def test_ansible(self) -> None:
        """ansible's ping module, by ssh's configuration."""
        alice = self.alice
        self.write_config(alice)
        inventory = alice.home / "hosts"
        inventory.write_text(
            f"db1.localhost ansible_user=root ansible_python_interpreter={sys.executable}\n"
        )
        ansible = Path(sys.executable).with_name("ansible")
        said = self.says(
            alice,
            *(ansible, "-i", inventory, "all", "-m", "ping"),
            env={
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_SSH_ARGS": f"-F {alice.config}",
            },
        )
        self.assertIn('"ping": "pong"', said)

    def test_bulk(self) -> None:
        """64 MiB each way arrive as they were sent, by either way in."""
        alice = self.alice
        block = os.urandom(1 << 20)
        bulk = block * (BULK_BYTES >> 20)
        wanted = hashlib.sha256(bulk).hexdigest()
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            self.write_config(alice)
            node = ("ssh", "-F", alice.config, "root@db1.localhost")
            up = self.says(alice, *node, "sha256sum", stdin=bulk)
            self.assertEqual(up.split()[0], wanted)
            down = self.do(alice, *node, "cat", stdin=bulk)
            self.assertEqual(hashlib.sha256(down.stdout).hexdigest(), wanted, down.stderr)

    def test_port_forwarding(self) -> None:
        """-L reaches what the node reaches, where the role lets ports be forwarded."""
        alice = self.alice
        for one in (alice, bob := self._shut()):
            self.write_config(one)
            self.assertEqual(self.says(one, "tgsh", "ssh", "root@db1", "echo in"), "in\n")
        where = ("-W", f"127.0.0.1:{self.db1.port}", "root@db1.localhost")
        done = self.do(alice, "ssh", "-F", alice.config, *where, stdin=b"SSH-2.0-x\r\n")
        self.assertTrue(done.stdout.startswith(b"SSH-2.0-OpenSSH"), done.stderr)
        done = self.do(bob, "ssh", "-F", bob.config, *where, stdin=b"SSH-2.0-x\r\n")
        self.assertEqual(done.stdout, b"", done.stderr)
        self.assertIn(b"administratively prohibited", done.stderr)

    def test_agent_forwarding(self) -> None:
        """The agent goes along where the role says so, and else it stays at home."""
        self.put_role("along", labels={"env": ["prod"]}, options={"forward_agent": True})
        seen = {}
        for one in (self.person("carol", ("along",)), self.alice):
            started = self.says(one, "ssh-agent", "-s")
            env = dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
            try:
                words = ("tgsh", "ssh", "-A", "root@db1", 'echo "agent=$SSH_AUTH_SOCK"')
                seen[one.user.name] = self.says(one, *words, env=env).strip() != "agent="
            finally:
                self.do(one, "ssh-agent", "-k", env=env)
        self.assertEqual(seen, {"carol": True, "alice": False})

    def _shut(self) -> Person:
        """Somebody whose role forwards no ports."""
        self.put_role("shut", labels={"env": ["prod"]}, options={"port_forwarding": False})
        return self.person("bert", ("shut",))

    def test_a_role_too_few(self) -> None:
        """Who lacks the role reads a sentence, whichever way they come, and is audited."""
        self.put_role("test", labels={"env": ["test"]})
        bob = self.person("bob", ("test",))
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            self.write_config(bob)
            complaint = self.fails(bob, "ssh", "-F", bob.config, "root@db1.localhost", "true")
            self.assertIn("bob", complaint)
            self.assertIn("db1", complaint)
        self.assertNotIn("db1", self.says(bob, "tgsh", "ls"))
