"""Tests for `tgsh ssh`: the words that the system's program gets."""

from __future__ import annotations

import sys
from typing import Any

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.tgsh import call


class WrappedCase(CommandCase):
    """Commands that another program takes the place of."""

    def nodes(self, *names: str) -> None:
        """Have the cluster answer with these nodes."""
        self.cluster.answers["GET /v1/me/nodes"] = {"nodes": [{"name": one} for one in names]}

    def ran(self, *words: str) -> list[str]:
        """The words of what was run."""
        result = self.terminal.run(*words)
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return self.terminal.ran.pop()


class SshTests(WrappedCase):
    """Tests for `tgsh ssh`."""

    def test_words(self) -> None:
        """The user's options, then ours, then the node and what is left as it is."""
        words = self.ran(
            *("ssh", "-L", "8080:localhost:80", "-tt", "-A", "-o", "LogLevel=DEBUG", "-p", "2222"),
            *("-l", "root", "-N", "--cluster=example", "db1", "ls", "-l", "--", "a b"),
        )
        self.assertEqual(words[0], "ssh")
        mine = ["-L", "8080:localhost:80", "-o", "LogLevel=DEBUG", "-p", "2222", "-l", "root"]
        self.assertEqual(words[1:13], [*mine, "-N", "-t", "-t", "-A"])
        self.assertEqual(words[-6:], ["--", "db1.example", "ls", "-l", "--", "a b"])
        options = dict(word.split("=", 1) for word in words[13:-6] if word != "-o")
        home = self.terminal.home
        self.assertEqual(options.pop("HostKeyAlgorithms").count("-cert-v01@openssh.com"), 6)
        self.assertEqual(
            options,
            {
                "UserKnownHostsFile": f'"{home}/known_hosts"',
                "GlobalKnownHostsFile": "/dev/null",
                "StrictHostKeyChecking": "yes",
                "UpdateHostKeys": "no",
                "IdentityFile": f'"{home}/keys/gate.test/alice"',
                "CertificateFile": f'"{home}/keys/gate.test/alice-ssh/example-cert.pub"',
                "IdentitiesOnly": "yes",
                "ProxyCommand": f"{sys.executable} -m tlsgate.cli.tgsh.entry --home={home} proxy "
                "ssh --proxy=gate.test:443 --cluster=example %r@%h:%p",
            },
        )

    def test_names(self) -> None:
        """A short name gets the cluster's; a whole one stays."""
        for name, whole in (
            ("root@db1", "root@db1.example"),
            ("root@db1.example", "root@db1.example"),
            ("db1.gate.test", "db1.gate.test"),
            ("web.eu", "web.eu.example"),
        ):
            self.assertEqual(self.ran("ssh", name)[-1], whole)

    def test_labels(self) -> None:
        """Labels stand for the one node that has them."""
        self.nodes("db7")
        self.assertEqual(self.ran("ssh", "root@env=prod,tier=db")[-1], "root@db7.example")
        for names, words in (
            ((), "no node has the labels env=prod"),
            (("a", "b"), "2 nodes have the labels env=prod; name one of a, b"),
        ):
            self.nodes(*names)
            result = self.terminal.run("ssh", "root@env=prod")
            self.assertEqual(result.exit_code, 2)
            self.assertIn(words, result.stderr)

    def test_refused(self) -> None:
        """What would be an option, or no host, or nobody's login, runs nothing."""
        self.nodes()
        for words, said in (
            (("ssh", "root@"), "is no [LOGIN@]HOST"),
            (("ssh", "a b"), "cannot be the name of a node"),
            (("ssh", "root@-oProxyCommand=x"), "no node has the labels"),
            (("ssh", "--cluster=leaf", "db1"), "is the gateway of example, not of leaf"),
            (("-i", "me", "ssh", "db1"), "me cannot be read"),
        ):
            result = self.terminal.run(*words)
            self.assertEqual((result.exit_code, self.terminal.ran), (2, []), words)
            self.assertIn(said, result.stderr)
        self.terminal.now = NOW + 43200
        result = self.terminal.run("ssh", "db1")
        self.assertEqual((result.exit_code, self.terminal.ran), (1, []))
        self.assertIn("run `tgsh login --proxy=gate.test:443`", result.stderr)

    def test_only_in_the_agent(self) -> None:
        """Where the certificate lies in ssh-agent alone, ssh looks there."""
        (self.terminal.home / "keys/gate.test/alice-ssh/example-cert.pub").unlink()
        self.assertFalse([one for one in self.ran("ssh", "db1") if one.startswith("Identit")])

    def test_no_ssh(self) -> None:
        """A machine without OpenSSH is told so."""

        def missing(program: str, words: Any) -> None:
            raise FileNotFoundError(2, "No such file or directory")

        made = call.Call(execute=missing)
        with self.assertRaisesRegex(Exception, "ssh cannot be run: No such file .* OpenSSH"):
            made.run("ssh", [])
