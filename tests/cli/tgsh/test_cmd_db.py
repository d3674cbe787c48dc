"""Tests for `tgsh db`, and for `narrow`, `offered` and `pgconf` behind it."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.cluster import NOW, Authority, CommandCase
from tlsgate.cli.tgsh import pgconnect
from tlsgate.cli.tgsh.pgconf import Reached
from tlsgate.errors import DaemonSaid, Fault

ORDERS = {
    "name": "orders",
    "protocol": "postgres",
    "description": "shop",
    "labels": {"env": "prod"},
    "facts": {"protocol": "postgres"},
    "db_users": ["app", "report"],
    "db_names": ["*"],
}
LEGACY = {**ORDERS, "name": "legacy", "db_users": ["app"], "db_names": ["shop"], "labels": {}}
MY = {**ORDERS, "name": "my", "protocol": "mysql"}


class DbCase(CommandCase):
    """A cluster with databases."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster.answers["GET /v1/me/databases"] = {"databases": [ORDERS, LEGACY, MY]}
        self.folder = self.terminal.home / "keys/gate.test/alice-db/example"

    def says(self, *words: str) -> str:
        """Standard output of `tgsh db *words*`, which succeeds."""
        done = self.terminal.run("db", *words)
        self.assertEqual((done.exit_code, done.stderr), (0, ""))
        return done.stdout

    def fails(self, *words: str) -> str:
        """Standard error of one that does not."""
        done = self.terminal.run("db", *words)
        self.assertNotEqual(done.exit_code, 0)
        return done.stderr

    def certificates(self) -> list[Any]:
        """The routes of every certificate that was asked for."""
        return [
            body["routes"]
            for _, ask, body in self.cluster.asked
            if ask == "POST /v1/me/certificates"
        ]


class LsTests(DbCase):
    """Tests for `ls`."""

    def test_table(self) -> None:
        """Names, protocols and labels; those with a certificate are marked."""
        self.says("login", "legacy")
        lines = self.says("ls").splitlines()
        self.assertEqual(lines[0].split(), ["Name", "Protocol", "Description", "Labels"])
        self.assertEqual(lines[1].split()[:3], [">", "legacy", "postgres"])
        self.assertIn("env=prod", lines[3])
        self.assertIn("app,report", self.says("ls", "-v"))

    def test_narrowed(self) -> None:
        """Labels and words go to the API, and labels are looked at here as well."""
        self.assertEqual(self.says("ls", "env=prod", "--format=names"), "my\norders\n")
        query = self.says("ls", "env=prod", "--search=x", "--format=json")
        self.assertEqual([one["name"] for one in json.loads(query)["databases"]], ["my", "orders"])
        self.assertIn("is no label", self.fails("ls", "prod"))

    def test_nonsense(self) -> None:
        """An answer that is none is said to be none."""
        self.cluster.answers["GET /v1/me/databases"] = {"databases": [1]}
        self.assertIn("its list of databases is none", self.fails("ls"))


class LoginTests(DbCase):
    """Tests for `login` and `logout`."""

    def test_files(self) -> None:
        """Key and certificate are the owner's only; logout of the profile takes them along."""
        said = self.says("login", "orders", "--db-user=app", "--db-name=shop")
        self.assertIn("tgsh db connect orders", said)
        self.assertEqual(
            self.certificates(), [{"db": "orders", "db_user": "app", "db_name": "shop"}]
        )
        names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.folder.iterdir()}
        self.assertEqual(names, {"orders.key": 0o600, "orders-x509.pem": 0o600})
        self.terminal.run("logout")
        self.assertFalse(self.folder.exists())

    def test_kept(self) -> None:
        """A certificate for the same is not asked for twice; for something else it is."""
        for words in (("--db-user=app",), ("--db-user=app",), ("--db-user=report",)):
            self.says("login", "orders", *words)
        self.says("login", "orders", "--db-user=report", "--ttl=5")
        self.assertEqual(
            [routes["db_user"] for routes in self.certificates()], ["app", "report", "report"]
        )

    def test_renewed(self) -> None:
        """One that ends soon is replaced where the login lasts longer, and only there."""
        self.says("login", "orders", "--ttl=10")
        self.terminal.now = NOW + 400
        self.says("login", "orders")
        self.assertEqual(len(self.certificates()), 2)
        self.terminal.now = NOW + 43200 - 60
        self.says("login", "orders")
        self.assertEqual(len(self.certificates()), 2)
        self.terminal.now = NOW + 43200
        self.assertIn("tgsh login", self.fails("login", "orders"))

    def test_only_one(self) -> None:
        """Where the roles leave one user and one database, these need not be said."""
        self.says("login", "legacy")
        self.assertEqual(
            self.certificates(), [{"db": "legacy", "db_user": "app", "db_name": "shop"}]
        )

    def test_left_open(self) -> None:
        """What the certificate does not name is said with what there is to name."""
        said = self.says("login", "orders")
        self.assertIn("--db-user says which, of: app, report", said)
        self.assertIn("--db-name says which, of: *", said)
        self.assertNotIn("says which", self.says("login", "legacy"))

    def test_psql_there(self) -> None:
        """The command that login prints is for the psql of this machine."""
        for version, legacy in ((15, True), (17, False), (0, False)):
            self.patch(pgconnect, "psql_there", lambda version=version: version)
            self.assertEqual("--legacy" in self.says("login", "legacy"), legacy)

    def test_refused(self) -> None:
        """A database that is not there, one of another kind, and the cluster's own sentence."""
        self.assertIn("no database is called 'nope'", self.fails("login", "nope"))
        self.assertIn("mysql, which is not served yet", self.fails("login", "my"))
        said = DaemonSaid("access_denied", Fault.CLIENT, "no role allows db_user root")
        self.cluster.answers["POST /v1/me/certificates"] = said
        self.assertIn("no role allows", self.fails("login", "orders", "--db-user=root"))
        self.assertFalse(self.folder.exists())

    def test_another_certificate(self) -> None:
        """What comes back has to be for what was asked for."""
        self.cluster.answers["POST /v1/me/certificates"] = lambda query, body: self.cluster.issued(
            {**body, "routes": {"db": "legacy"}}, "alice"
        )
        self.assertIn("is not for db orders", self.fails("login", "orders"))

    def test_logout(self) -> None:
        """One, or all."""
        self.says("login", "orders")
        self.says("login", "legacy")
        self.assertIn("orders", self.says("logout", "orders"))
        self.assertIn("there is no certificate", self.fails("logout", "orders"))
        self.assertEqual(json.loads(self.says("logout", "--format=json"))["logged_out"], ["legacy"])
        self.assertIn("there was no certificate", self.says("logout"))

    def test_no_identity_file(self) -> None:
        """A certificate is kept with a login."""
        done = self.terminal.run("db", "login", "orders", "-i", "/nowhere")
        self.assertIn("no identity file", done.stderr)


class ConfigTests(DbCase):
    """Tests for `config` and `env`."""

    def setUp(self) -> None:
        super().setUp()
        self.says("login", "orders", "--db-user=app", "--db-name=shop")
        self.certificate = str(self.folder / "orders-x509.pem")

    def query(self, *words: str) -> tuple[Any, dict[str, list[str]]]:
        """The URI, taken apart."""
        parts = urlsplit(self.says("config", "orders", "--format=uri", *words).strip())
        return parts, parse_qs(parts.query)

    def test_uri(self) -> None:
        """Direct TLS to the web port, the gateway verified by name, the narrow certificate."""
        parts, query = self.query()
        self.assertEqual(parts.netloc, "app@gate.test:443")
        self.assertEqual(parts.path, "/shop")
        self.assertEqual(
            query,
            {
                "sslnegotiation": ["direct"],
                "sslmode": ["verify-full"],
                "sslrootcert": ["system"],
                "sslcert": [self.certificate],
                "sslkey": [str(self.folder / "orders.key")],
            },
        )

    def test_web_authority(self) -> None:
        """The authority that login has kept is named by its file."""
        file = self.terminal.home / "keys/gate.test/certs.pem"
        file.write_text(Authority("web ca").pem)
        self.assertEqual(self.query()[1]["sslrootcert"], [str(file)])

    def test_a_guess(self) -> None:
        """Where login by a pin saw no proof of the web certificate, that is said beside it."""
        file = self.terminal.home / "keys/gate.test/certs.pem"
        file.write_text((file.parent / "cas/example.pem").read_text())
        done = self.terminal.run("db", "config", "--format=uri")
        self.assertIn(str(file), done.stdout)
        self.assertIn("tgsh proxy db orders --tunnel", done.stderr)

    def test_a_leaf(self) -> None:
        """Where login saw the web certificate alone, libpq cannot take it for an authority."""
        file = self.terminal.home / "keys/gate.test/certs.pem"
        authority = Authority("web ca")
        file.write_bytes(authority.issue(None).public_bytes(Encoding.PEM))
        done = self.terminal.run("db", "config", "--format=uri")
        self.assertIn("libpq believes authorities only", done.stderr)
        file.write_text(authority.pem)
        self.says("config", "--format=uri")

    def test_legacy(self) -> None:
        """An SSLRequest goes to the listener of the moment, else to the web port."""
        parts, query = self.query("--legacy")
        self.assertEqual((parts.netloc, "sslnegotiation" in query), ("app@gate.test:443", False))
        self.assertNotEqual(query["sslrootcert"], [])
        self.cluster.ping["proxy"]["db"] = {"postgres_public_addr": "pg.test:5432"}
        self.assertEqual(self.query("--legacy")[0].netloc, "app@pg.test:5432")
        self.cluster.ping["proxy"]["db"] = {"postgres_listen_addr": "0.0.0.0:5433"}
        self.assertEqual(self.query("--legacy")[0].netloc, "app@gate.test:5433")
        self.cluster.ping["proxy"]["db"] = {"postgres_listen_addr": "192.0.2.7:5433"}
        parts, query = self.query("--legacy")
        self.assertEqual(parts.netloc, "app@gate.test:5433")
        self.assertEqual(query["hostaddr"], ["192.0.2.7"])

    def test_forms(self) -> None:
        """The only certificate needs no name; each form says the same."""
        uri = self.says("config", "--format=uri").strip()
        self.assertEqual(shlex.split(self.says("config", "--format=cmd")), ["psql", uri])
        shown = json.loads(self.says("config", "--format=json"))
        self.assertEqual((shown["uri"], shown["user"]), (uri, "app"))
        self.assertIn("sslcert", self.says("config"))
        self.says("login", "legacy")
        self.assertIn("name one of legacy, orders", self.fails("config"))
        self.assertIn("tgsh db login nope", self.fails("config", "nope"))

    def test_env(self) -> None:
        """Variables, for a shell."""
        lines = self.says("env").splitlines()
        self.assertIn("export PGHOST=gate.test", lines)
        self.assertIn("export PGSSLNEGOTIATION=direct", lines)
        self.assertEqual(json.loads(self.says("env", "--format=json"))["PGUSER"], "app")


class ReachedTests(CommandCase):
    """What libpq is told."""

    def test_signs(self) -> None:
        """Signs of URIs and of libpq's words mean nothing in names."""
        one = Reached("::1", 1, "a@b/c", "x y?", {"sslcert": "/a b/c'd"})
        self.assertEqual(one.uri, "postgresql://a%40b%2Fc@[::1]:1/x%20y%3F?sslcert=/a%20b/c%27d")
        self.assertEqual(one.words, r"host=::1 port=1 user=a@b/c dbname='x y?' sslcert='/a b/c\'d'")

    def test_socket(self) -> None:
        """A folder is a setting, not a host of the URI; what is not known is left out."""
        one = Reached("/tmp/x", 5432, "", "", {})
        self.assertEqual(one.uri, "postgresql:///?host=/tmp/x&port=5432")


class ConnectTests(DbCase):
    """Tests for `connect`: which way psql takes."""

    def run_psql(self, version: str, code: int = 0) -> tuple[int, list[str]]:
        """Have a psql that says *version* connect; gives the exit code and its words."""
        bin_folder = Path(self.mktemp()).absolute()
        bin_folder.mkdir()
        psql = bin_folder / "psql"
        psql.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "psql (PostgreSQL) {version}" && exit\n'
            f'printf "%s\\n" "$@" > {bin_folder}/words\nexit {code}\n'
        )
        psql.chmod(0o755)
        self.patch(pgconnect, "web_is_believed", lambda place: True)
        done = self.terminal.run(
            "db", "connect", "orders", "--", "-c", "SELECT 1", env={"PATH": f"{bin_folder}:/bin"}
        )
        self.last = done
        return done.exit_code, (bin_folder / "words").read_text().splitlines()

    def test_straight(self) -> None:
        """psql 17 does TLS itself; its exit code is ours."""
        self.says("login", "orders", "--db-user=app")
        code, words = self.run_psql("17.2 (Debian)", 3)
        self.assertEqual(code, 3)
        self.assertIn("sslnegotiation=direct", words[1])
        self.assertEqual(words[2:], ["-c", "SELECT 1"])

    def test_no_connection(self) -> None:
        """Where psql got none, what it had to guess is said, with what roles open."""
        self.says("login", "orders", "--db-user=app")
        self.run_psql("17.2", 2)
        said = self.last.stderr
        self.assertIn("tgsh: without --db-name psql guesses; you may: *", said)
        self.assertNotIn("--db-user", said)

    def test_without_a_name(self) -> None:
        """psql's options are no name, where that was left out."""
        self.says("login", "orders")
        done = self.terminal.run("db", "connect", "--", "-l", env={"PATH": "/nowhere"})
        self.assertIn("psql is not there", done.stderr)

    def test_no_login(self) -> None:
        """Without a certificate one is asked for."""
        self.assertEqual(self.run_psql("18beta1")[0], 0)
        self.assertEqual(self.certificates(), [{"db": "orders"}])

    def test_no_psql(self) -> None:
        """Somebody without psql is told of the other way."""
        self.says("login", "orders")
        done = self.terminal.run("db", "connect", env={"PATH": "/nowhere"})
        self.assertIn("tgsh proxy db", done.stderr)
