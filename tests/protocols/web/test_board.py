"""Tests for `tlsgate.protocols.web.board`: what somebody may reach, as links and commands."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.test_invite import words
from tests.protocols.web.test_page import Reader
from tlsgate.protocols.web.board import SHOWN, Board, Target, body

SAID: dict[str, Any] = {
    "apps": [
        {"name": "grafana", "labels": {"env": "prod"}, "facts": {"description": "Dashboards"}},
        {"name": "wiki", "labels": {}, "facts": {"public_addr": "wiki.example.net"}},
        {"name": "feed", "facts": {"protocol": "tcp"}},
    ],
    "databases": [
        {
            "name": "orders",
            "labels": {"env": "prod"},
            "facts": {"protocol": "postgres", "description": "Orders of the shop"},
            "db_users": ["*", "app", "reader"],
            "db_names": ["shop"],
        },
        {"name": "bare", "db_users": ["*"], "db_names": []},
    ],
    "nodes": [
        {"name": "db1", "labels": {"env": "prod"}, "logins": ["root", "alice", "*"]},
        {"name": "db2", "logins": ["root"]},
        {"name": "db3"},
    ],
}


def origin(name: str, public_addr: str) -> str | None:
    """Where an application is."""
    return f"https://{public_addr or name + '.gate.example.com'}"


def shown(said: dict[str, Any]) -> str:
    """The page's part."""
    return body(Board.read(said), "alice", origin)


class BoardTests(SynchronousTestCase):
    """Tests for `body`."""

    def test_applications(self) -> None:
        """Each opens by a click, but those that no browser speaks to."""
        page = shown(SAID)
        links = re.findall(r'<a class="tile" href="([^"]*)"', page)
        self.assertEqual(links, ["https://grafana.gate.example.com/", "https://wiki.example.net/"])
        self.assertIn("tgsh proxy app feed", words(page.encode()))
        nowhere = body(Board(apps=[Target(name="x")]), "alice", lambda name, addr: None)
        self.assertNotIn("<a ", nowhere)
        self.assertIn("tgsh proxy app x", nowhere)

    def test_databases(self) -> None:
        """Each has the command that connects, with a user and a database that are allowed."""
        text = words(shown(SAID).encode())
        for wanted in (
            "orders PostgreSQL env=prod Orders of the shop",
            "tgsh db connect orders --db-user=app --db-name=shop",
            "tgsh proxy db orders --db-user=app --db-name=shop --tunnel",
            "tgsh db login orders --db-user=app --db-name=shop",
            "tgsh db config orders --format=uri",
            "Users: * app reader",
            "tgsh db connect bare --db-user=USER --db-name=NAME",
        ):
            self.assertIn(wanted, text)

    def test_nodes(self) -> None:
        """One's own name comes first as a login, then whatever there is."""
        text = words(shown(SAID).encode())
        for wanted in (
            "tgsh ssh alice@db1",
            "Also as: root",
            "tgsh ssh root@db2",
            "tgsh ssh db3",
        ):
            self.assertIn(wanted, text)

    def test_found_by(self) -> None:
        """What is typed is looked for in names, labels, kinds and descriptions."""
        (one,) = Board.read({"databases": SAID["databases"][:1]}).databases
        self.assertEqual(one.words, "orders postgres orders of the shop env=prod")
        self.assertIn('data-words="orders postgres orders of the shop env=prod"', shown(SAID))

    def test_none(self) -> None:
        """Who may reach nothing reads that, and finds no field to look for it."""
        page = shown({})
        self.assertIn("Nothing is open to you here yet", page)
        self.assertNotIn("<input", page)

    def test_some(self) -> None:
        """A kind of which there is nothing is not there."""
        page = shown({"nodes": SAID["nodes"]})
        self.assertNotIn("Databases", page)
        self.assertNotIn("Applications", page)

    def test_many(self) -> None:
        """A page has so many of a kind, and says how to see the others."""
        page = shown({"nodes": [{"name": f"n{number}"} for number in range(SHOWN + 7)]})
        self.assertEqual(page.count("<li"), SHOWN)
        self.assertIn("And 7 more: tgsh ls", words(page.encode()))
        labels = {f"k{number}": "v" for number in range(20)}
        self.assertIn("+8", words(shown({"apps": [{"name": "a", "labels": labels}]}).encode()))

    def test_markup(self) -> None:
        """Whatever an agent's file says is text, and one word of a command line."""
        odd = "\"><script>x</script>'; rm -rf /"
        page = shown(
            {
                "apps": [{"name": odd, "labels": {odd: odd}, "facts": {"description": odd}}],
                "databases": [{"name": odd, "db_users": [odd], "facts": {"protocol": odd}}],
                "nodes": [{"name": odd, "logins": [odd]}],
            }
        )
        self.assertNotIn("<script>", page)
        reader = Reader(f"<html><head></head><body>{page}</body></html>")
        self.assertEqual(reader.open, [])
        self.assertEqual([one for one in reader.attributes if one[1].startswith("on")], [])
        self.assertIn('data-text="tgsh ssh &#x27;&quot;&gt;&lt;script&gt;', page)
