"""Tests for `tgsh proxy` as click has it; `dialssh` does it."""

from __future__ import annotations

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh import cmd_proxy, dialssh


class ProxyTests(CommandCase):
    """Tests for `tgsh proxy ssh`."""

    def test_same(self) -> None:
        """It runs the same as the short way, and ends with its exit code."""
        asked: list[dialssh.Asked] = []

        def run(one: dialssh.Asked) -> int:
            asked.append(one)
            return 7

        self.patch(dialssh, "run", run)
        words = ("proxy", "ssh", "--cluster=example", "root@db1:22", "--proxy=gate.test:443")
        self.assertEqual(self.terminal.run(*words).exit_code, 7)
        short = dialssh.read_words([f"--home={self.terminal.home}", *words])
        assert short is not None
        self.assertEqual(vars(asked[0]), vars(short))
        self.assertEqual(list(cmd_proxy.command.commands), ["ssh", "db", "app"])

    def test_identity(self) -> None:
        """An identity file is refused."""
        result = self.terminal.run("-i", "me", "proxy", "ssh", "db1")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("takes a login", result.stderr)

    def test_identity_file(self) -> None:
        """A local proxy renews a certificate of a login's, which an identity file is not."""
        for words in (("db", "orders"), ("app", "wiki")):
            done = self.terminal.run("proxy", *words, "-i", "/nowhere")
            self.assertIn("no identity file", done.stderr)

    def test_socket(self) -> None:
        """TLS over a UNIX socket is no client's."""
        done = self.terminal.run("proxy", "db", "orders", "--socket=/tmp")
        self.assertIn("--socket goes with --tunnel", done.stderr)
