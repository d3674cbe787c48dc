"""Tests for `tgsh apps`, and for `appconf` behind it."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh.appconf import App
from tlsgate.cli.tgsh.localplans import names_of, socket_of
from tlsgate.cli.tgsh.localrun import Address

WIKI = {
    "name": "wiki",
    "protocol": "http",
    "description": "",
    "labels": {"env": "prod"},
    "public_addr": "",
    "host": "wiki.gate.test",
}
BOARD = {**WIKI, "name": "board", "public_addr": "board.test", "host": None}
FEED = {**WIKI, "name": "feed", "protocol": "tcp", "host": None}


class AppsTests(CommandCase):
    """Tests for every verb."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster.answers["GET /v1/me/apps"] = {"apps": [WIKI, BOARD, FEED]}
        self.folder = self.terminal.home / "keys/gate.test/alice-app/example"

    def says(self, *words: str) -> str:
        """Standard output of `tgsh apps *words*`, which succeeds."""
        done = self.terminal.run("apps", *words)
        self.assertEqual((done.exit_code, done.stderr), (0, ""))
        return done.stdout

    def fails(self, *words: str) -> str:
        """Standard error of one that does not."""
        done = self.terminal.run("apps", *words)
        self.assertNotEqual(done.exit_code, 0)
        return done.stderr

    def test_ls(self) -> None:
        """Names, protocols, labels; those with a certificate are marked."""
        self.says("login", "wiki")
        self.assertEqual(self.says("ls", "--format=names"), "board\nfeed\nwiki\n")
        self.assertIn("> wiki", self.says("ls"))
        self.assertIn("board.test", self.says("ls", "-v"))
        shown: list[dict[str, Any]] = json.loads(self.says("ls", "--format=json"))["apps"]
        self.assertEqual([one["logged_in"] for one in shown], [False, False, True])
        uris = [one["uri"] for one in shown]
        self.assertEqual(uris[::2], ["https://board.test", "https://wiki.gate.test"])
        self.assertIn("tgsh proxy app feed", self.says("ls"))
        self.cluster.answers["GET /v1/me/apps"] = {"apps": [{**FEED, "name": "a_b"}]}
        self.assertIn("a_b", self.says("ls"))
        self.cluster.answers["GET /v1/me/apps"] = {"apps": []}
        self.assertEqual(self.says("ls"), "no application that your roles open\n")

    def test_login(self) -> None:
        """A certificate for the one application; how to go on."""
        said = self.says("login", "wiki")
        self.assertIn("https://wiki.gate.test", said)
        self.assertIn("curl $(tgsh apps config wiki --format=curl)", said)
        ((_, _, body),) = [one for one in self.cluster.asked if "certificates" in one[1]]
        self.assertEqual(body["routes"], {"app": "wiki"})
        self.assertNotIn("curl", self.says("login", "feed", "--ttl=5"))
        self.assertIn("no application is called 'nope'", self.fails("login", "nope"))
        self.assertIn("`tgsh apps ls`", self.fails("login", "nope"))

    def test_config(self) -> None:
        """Each form names the same files."""
        self.says("login", "wiki")
        certificate, key = self.folder / "wiki-x509.pem", self.folder / "wiki.key"
        self.assertEqual(
            self.says("config", "--format=curl"),
            f"--cert {certificate} --key {key} https://wiki.gate.test/\n",
        )
        (self.terminal.home / "keys/gate.test/certs.pem").write_text(self.cluster.ca.pem)
        self.assertIn("--cacert", self.says("config", "wiki", "--format=curl"))
        self.assertEqual(self.says("config", "--format=uri"), "https://wiki.gate.test\n")
        self.assertEqual(self.says("config", "--format=cert"), f"{certificate}\n")
        self.assertEqual(self.says("config", "--format=key"), f"{key}\n")
        self.assertIn("certs.pem", self.says("config", "--format=ca"))
        self.assertEqual(json.loads(self.says("config", "--format=json"))["name"], "wiki")
        self.assertIn(str(key), self.says("config"))

    def test_below_localhost(self) -> None:
        """Where no certificate can help, that is said before curl says something else."""
        for one, warns in (
            ({**WIKI, "host": "wiki.localhost"}, True),
            ({**FEED, "name": "wiki", "host": "wiki.localhost"}, False),
            ({**WIKI, "host": "wiki"}, False),
            (WIKI, False),
        ):
            self.cluster.answers["GET /v1/me/apps"] = {"apps": [one]}
            for words in (("login", "wiki"), ("config", "wiki"), ("config", "--format=uri")):
                done = self.terminal.run("apps", *words)
                self.assertEqual(done.exit_code, 0)
                self.assertEqual("a certificate for *.localhost" in done.stderr, warns, one)
            self.assertEqual(self.terminal.run("apps", "config", "--format=ca").stderr, "")

    def test_addresses(self) -> None:
        """An address of its own, or a name below the gateway's; the scheme is its protocol's."""
        for name, uri in (("board", "https://board.test"), ("feed", "tcp://feed.gate.test")):
            self.says("login", name)
            self.assertEqual(self.says("config", name, "--format=uri"), f"{uri}\n")
        self.cluster.answers["GET /v1/me/apps"] = {"apps": [{**FEED, "name": "a b"}]}
        self.assertIn("is no name of a host", self.fails("login", "a b"))

    def test_logout(self) -> None:
        """One, or all."""
        self.says("login", "wiki")
        self.says("login", "feed")
        self.says("logout", "wiki")
        self.assertIn("there is no certificate", self.fails("logout", "wiki"))
        self.assertIn("feed", self.says("logout"))
        self.assertIn("tgsh apps login NAME", self.fails("config"))


class NamesTests(CommandCase):
    """What a local proxy of an application may be called."""

    def test_names(self) -> None:
        """The loopback address and its name, at the port; a socket has one name."""
        app = App("wiki", "http", "wiki.gate.test", 3080)
        found = names_of(app, Address(8080))
        self.assertEqual(found.own, {b"127.0.0.1:8080", b"localhost:8080"})
        self.assertEqual((found.shown, found.app), (b"127.0.0.1:8080", b"wiki.gate.test:3080"))
        self.assertEqual(names_of(app, Address(80)).shown, b"127.0.0.1")
        self.assertEqual(names_of(app, Address(0, self.terminal.home)).own, {b"localhost"})

    def test_socket_of(self) -> None:
        """In a folder psql looks for a name of its own."""
        home = self.terminal.home
        self.assertEqual(socket_of(home, 0), home / ".s.PGSQL.5432")
        self.assertEqual(socket_of(home, 5433), home / ".s.PGSQL.5433")
        self.assertEqual(socket_of(home / "x", 5433), home / "x")
