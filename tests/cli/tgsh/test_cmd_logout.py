"""Tests for `tgsh logout`: all, or exactly one."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import Terminal
from tlsgate.cli.api import AUTH
from tlsgate.errors import Unreachable


class LogoutTests(SynchronousTestCase):
    """Tests for `tgsh logout`."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.terminal = Terminal(self.home)

    def left(self) -> set[str]:
        """The files that are left, from the home down."""
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file()}

    def test_all(self) -> None:
        """Without options every key and certificate goes; the gateway is not asked."""
        self.terminal.login(proxy="a.test:443")
        self.terminal.login(proxy="b.test:443")
        self.terminal.cluster.asked.clear()
        result = self.terminal.run("logout")
        self.assertEqual(
            (result.exit_code, result.stdout), (0, "you are logged out of every cluster\n")
        )
        self.assertEqual((self.left(), self.terminal.cluster.asked), ({"known_hosts"}, []))
        self.assertEqual((self.home / "known_hosts").read_text(), "")
        self.assertEqual(self.terminal.run("logout").stdout, "nobody was logged in\n")

    def test_one(self) -> None:
        """With both options one goes, and the others stay."""
        self.terminal.login(proxy="a.test:443")
        self.terminal.login(proxy="b.test:443")
        result = self.terminal.run("logout", "--proxy=a.test", "--user=alice")
        self.assertEqual(result.stdout, "alice is logged out of a.test:443\n")
        self.assertEqual({name for name in self.left() if "a.test" in name}, set())
        self.assertEqual(self.terminal.run("status").exit_code, 0)

    def test_not_logged_in(self) -> None:
        """One that is not there is said to be so."""
        self.terminal.login()
        result = self.terminal.run("logout", "--proxy=gate.test", "--user=bob")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (1, "tgsh: bob is not logged in to gate.test: run `tgsh status`\n"),
        )

    def test_half_of_it(self) -> None:
        """One option alone is a mistake; a variable is no option."""
        self.terminal.login()
        for word in ("--proxy=gate.test", "--user=alice"):
            for words in (("logout", word), (word, "logout")):
                result = self.terminal.run(*words)
                self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertEqual(self.terminal.run("logout", env={"TGSH_PROXY": "x.test"}).exit_code, 0)

    def test_everywhere(self) -> None:
        """--everywhere ends the web sessions first; a gateway that is away stops nothing."""
        self.terminal.login()
        self.terminal.cluster.answers["POST /v1/me/logout"] = {}
        self.terminal.run("logout", "--everywhere")
        self.assertEqual(self.terminal.cluster.asked[-1][:2], (AUTH, "POST /v1/me/logout"))
        self.terminal.login()
        self.terminal.cluster.answers["POST /v1/me/logout"] = Unreachable("gate.test:443", "away")
        result = self.terminal.run("logout", "--everywhere", "--format=json")
        self.assertIn("web sessions may go on", result.stderr)
        one = {"proxy": "gate.test:443", "user": "alice", "cluster": "example"}
        self.assertEqual(json.loads(result.stdout), {"logged_out": [one]})
