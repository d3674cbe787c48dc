"""Tests for `tgsh ls`."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.cluster import CommandCase

NODES = [
    {
        "name": "web1",
        "hostname": "web1.internal",
        "labels": {"tier": "web", "env": "prod"},
        "addresses": ["127.0.0.1:22", "10.0.0.5:8080"],
        "logins": ["root", "alice"],
    },
    {"name": "db1", "hostname": "", "labels": {}, "addresses": [], "logins": []},
]


class LsTests(CommandCase):
    """Tests for `tgsh ls`."""

    def setUp(self) -> None:
        super().setUp()
        self.queries: list[Any] = []
        self.cluster.answers["GET /v1/me/nodes"] = self.answer

    def answer(self, query: Any, body: Any) -> Any:
        """The nodes, whatever was asked."""
        self.queries.append(query)
        return {"nodes": NODES}

    def test_text(self) -> None:
        """A line a node, by name; -v says more."""
        self.assertEqual(
            self.terminal.run("ls").stdout,
            "Node Name  Address                     Labels\n"
            "db1        -                           -\n"
            "web1       127.0.0.1:22,10.0.0.5:8080  env=prod,tier=web\n",
        )
        more = self.terminal.run("ls", "-v").stdout.splitlines()[2]
        self.assertTrue(more.endswith("  web1.internal  root,alice"))

    def test_formats(self) -> None:
        """JSON has everything, and names are a line each."""
        shown = json.loads(self.terminal.run("ls", "--format=json").stdout)
        self.assertEqual(shown, {"nodes": [NODES[1], NODES[0]]})
        self.assertIn("- name: db1", self.terminal.run("ls", "--format=yaml").stdout)
        self.assertEqual(self.terminal.run("ls", "--format=names").stdout, "db1\nweb1\n")

    def test_narrowed(self) -> None:
        """Labels and words are the cluster's to look for."""
        self.terminal.run("ls", "env=prod", "tier=web", "--search=web")
        self.terminal.run("ls")
        self.assertEqual(self.queries, [{"labels": "env=prod,tier=web", "search": "web"}, {}])

    def test_no_label(self) -> None:
        """What is no label is refused here."""
        for word in ("prod", "=x", "env=", "a=b,c=d"):
            result = self.terminal.run("ls", word)
            self.assertEqual((result.exit_code, self.queries), (2, []))
            self.assertIn("is no label: write name=value", result.stderr)

    def test_nonsense(self) -> None:
        """An answer that is none is said to be none."""
        answers: tuple[dict[str, Any], ...] = (
            *({}, {"nodes": [{}]}, {"nodes": 3}, {"nodes": ["x"]}),
        )
        for answer in answers:
            self.cluster.answers["GET /v1/me/nodes"] = answer
            result = self.terminal.run("ls")
            self.assertEqual(result.exit_code, 1)
            self.assertIn("its list of nodes is none", result.stderr)
