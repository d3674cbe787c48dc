"""tgsh end to end: a cluster whose mode changes while people use it, and what they are told."""

from __future__ import annotations

import json

from tests.support.sshcase import SharedSshCase


class TgshTests(SharedSshCase):
    """A cluster with both ways, a node with a real sshd, and alice."""

    def test_labels(self) -> None:
        """A node is found by its labels, and its logins are listed."""
        shown = json.loads(self.says(self.alice, "tgsh", "ls", "--format=json"))
        (node,) = shown["nodes"]
        self.assertEqual((node["name"], node["labels"]["env"]), ("db1", "prod"))
        self.assertEqual(node["logins"], ["root"])
        self.assertEqual(self.says(self.alice, "tgsh", "ls", "--format=names"), "db1\n")
        said = self.says(self.alice, "tgsh", "ssh", "root@env=prod", "echo in")
        self.assertEqual(said, "in\n")
        self.assertIn("no node has the labels", self.fails(self.alice, "tgsh", "ssh", "root@env=x"))

    def test_the_mode_changes(self) -> None:
        """The same command works before and after; the change is said once, in one line."""
        alice, words = self.alice, ("tgsh", "ssh", "root@db1", "echo in; exit 7")
        for mode, lines in (("multiplex", 0), ("separate", 1), ("separate", 0), ("multiplex", 1)):
            self.mode(mode)
            kept = alice.home / ".tgsh/keys/localhost/ping.json"
            kept.unlink(missing_ok=True)  # as if a minute had passed
            done = self.do(alice, *words)
            told = done.stderr.decode()
            self.assertEqual((done.returncode, done.stdout), (7, b"in\n"), (mode, told))
            self.assertEqual(told.count("takes SSH at"), lines, (mode, told))
            self.assertEqual(told.count("the profile is set right"), lines)

    def test_refusals(self) -> None:
        """Who may not reads why, whichever way it went."""
        mallory = self.person("mallory", ("access",))
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            (mallory.home / ".tgsh/keys/localhost/ping.json").unlink(missing_ok=True)
            for name in ("db1", "db9"):
                said = self.fails(mallory, "tgsh", "ssh", f"root@{name}", "true")
                self.assertIn(name, said)
                self.assertNotIn("Traceback", said)

    def test_silent_pipe(self) -> None:
        """`tgsh proxy ssh` alone gives sshd's banner, with the token that has pings."""
        said = self.says(self.alice, "tgsh", "proxy", "ssh", "root@db1:22")
        self.assertTrue(said.startswith("SSH-2.0-OpenSSH"))

    def test_identity_file(self) -> None:
        """An identity file does in both modes, where nobody is logged in; nothing of it is left."""
        alice = self.alice
        signed = ("auth", "sign", "--user=alice", f"--out={alice.home}/me")
        self.program_says("tgctl", *signed, f"--data-dir={self.hub.data_dir}")
        home, folder = alice.home / "nobody", alice.home / "memory"
        home.mkdir()
        folder.mkdir(mode=0o700)
        words = ("env", f"HOME={home}", f"TGSH_HOME={home}", f"XDG_RUNTIME_DIR={folder}")
        command = ("tgsh", "-i", str(alice.home / "me"), f"--proxy=localhost:{self.web_port}")
        for mode in ("multiplex", "separate"):
            self.mode(mode)
            done = self.do(alice, *words, *command, "ssh", "root@db1", "echo in; exit 7")
            self.assertEqual((done.returncode, done.stdout), (7, b"in\n"), done.stderr)
            file = home / f"copied-{mode}"
            self.says(alice, *words, *command, "scp", "root@db1:/etc/hostname", str(file))
            self.assertTrue(file.exists())
        self.assertEqual(list(folder.iterdir()), [])
