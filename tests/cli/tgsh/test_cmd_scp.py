"""Tests for `tgsh scp`: the words that the system's program gets."""

from __future__ import annotations

from tests.cli.tgsh.test_cmd_ssh import WrappedCase


class ScpTests(WrappedCase):
    """Tests for `tgsh scp`."""

    def test_paths(self) -> None:
        """Remote paths get the node's whole name; local ones stay, colons and all."""
        self.nodes("db7")
        words = self.ran(
            *("scp", "-r", "-P", "2222", "dir", "./a:b", "/c:d", "root@db1:/tmp/x:y"),
            *("env=prod:z", ":odd"),
        )
        self.assertEqual(words[:4], ["scp", "-P", "2222", "-r"])
        self.assertEqual(
            words[words.index("--") + 1 :],
            ["dir", "./a:b", "/c:d", "root@db1.example:/tmp/x:y", "db7.example:z", ":odd"],
        )

    def test_one_path(self) -> None:
        """Without a target nothing is run."""
        result = self.terminal.run("scp", "x")
        self.assertEqual((result.exit_code, self.terminal.ran), (2, []))
