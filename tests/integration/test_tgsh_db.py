"""tgsh and databases end to end: psql of two versions, straight and through local proxies."""

from __future__ import annotations

import atexit
import functools
import json
import shlex
import subprocess
import threading
from pathlib import Path

import pexpect
import psycopg

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, until
from tests.support.localhouse import LocalCase, LocalTests, at_once
from tests.support.pgserver import Database, binaries17, psql17
from tests.support.ports import free_port
from tests.support.sshcase import Person, SshCase

#: At once through one local proxy.
CONNECTIONS = 20
WHO = "select current_user || ' in ' || current_database()"
SLEEP = "select pg_sleep(60)"


class PinCase(LocalCase):
    """Where people log in by pin, on machines that have never seen the web's authority."""

    def log_in(self, person: Person) -> None:
        """Log in in a terminal."""
        SshCase.log_in(self, person)


class House:
    """A cluster, an agent beside a real server, and alice."""

    def __init__(self) -> None:
        case = self.case = PinCase()
        atexit.register(case.doCleanups)
        self.port = free_port()
        # An authority that alice's machine does not know stands at the end of the chain.
        chain = case.folder() / "web.pem"
        chain.write_text(pki().file("server.pem").read_text() + pki().file("ca.pem").read_text())
        pair = {"cert_file": str(chain), "key_file": str(pki().file("server-key.pem"))}
        where = f"127.0.0.1:{self.port}"
        case.open(proxy_more={"postgres_listen_addr": where, "https_keypairs": [pair]})
        self.client_ca = case.folder() / "db.pem"
        self.client_ca.parent.chmod(0o755)
        self.client_ca.write_text("".join(case.hub.admin("GET", "/v1/cas")["cas"]["db"]))
        self.client_ca.chmod(0o644)
        self.server = case.serve(Database(pki().keypair("target"), self.client_ca))
        tls = {"server_name": "target.test", "ca_cert_file": str(pki().file("ca.pem"))}
        here = {"protocol": "postgres", "uri": f"127.0.0.1:{self.server.port}", "tls": tls}
        self.agent = case.agent(
            case.hub,
            "db1",
            db=[
                {"name": "orders", "static_labels": {"env": "prod"}, **here},
                {"name": "secret", "static_labels": {"env": "secret"}, **here},
            ],
        )
        self.alice = case.person("alice", ["use"])
        done = case.do(
            self.alice, "tgsh", "db", "login", "orders", "--db-user=alice", "--db-name=app"
        )
        assert done.returncode == 0, done.stderr


@functools.cache
def house() -> House:
    """The one of this process."""
    return House()


class TgshDbTests(LocalTests):
    """What alice does."""

    def setUp(self) -> None:
        self.house = house()
        self.new = {"PATH": f"{binaries17()}:{self.house.alice.env['PATH']}"}

    def test_ls(self) -> None:
        """She sees what her roles open, and as whom."""
        shown = json.loads(self.says("tgsh", "db", "ls", "--format=json"))["databases"]
        self.assertEqual([one["name"] for one in shown], ["orders"])
        self.assertEqual(
            (shown[0]["db_users"], shown[0]["db_names"], shown[0]["logged_in"]),
            (["alice"], ["app", "postgres"], True),
        )
        self.assertIn("no database is called", self.fails("tgsh", "db", "login", "secret"))
        said = self.fails("tgsh", "db", "login", "orders", "--db-user=postgres")
        self.assertIn("postgres", said)

    def test_direct(self) -> None:
        """psql 17 goes straight to the web port, with TLS from the first byte."""
        uri = self.says("tgsh", "db", "config", "--format=uri").strip()
        self.assertEqual(self.says(psql17(), uri, "-Atc", WHO), "alice in app\n")
        said = self.fails(psql17(), f"{uri}&user=postgres", "-Atc", WHO)
        self.assertIn("FATAL", said)

    def test_own_certificate(self) -> None:
        """A login by pin has learned which web certificate is right, and every client takes it."""
        shown = json.loads(self.says("tgsh", "db", "config", "--format=json"))
        kept = Path(shown["sslrootcert"])
        self.assertEqual(kept, self.house.alice.home / ".tgsh/keys/localhost/certs.pem")
        self.assertNotIn("SSL_CERT_FILE", self.house.alice.env)
        self.assertEqual(kept.read_text(), pki().file("ca.pem").read_text())
        done = self.do("tgsh", "db", "config", "--format=uri")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_legacy(self) -> None:
        """psql 15 does with an SSLRequest at PostgreSQL's own listener, in either mode."""
        self.addCleanup(self.house.case.mode, "multiplex")
        for mode in ("separate", "multiplex"):
            self.house.case.mode(mode)
            uri = self.says("tgsh", "db", "config", "--format=uri", "--legacy").strip()
            self.assertIn(f":{self.house.port}/", uri)
            self.assertEqual(self.says("psql", uri, "-Atc", WHO), "alice in app\n")
            said = self.says("tgsh", "db", "connect", "--", "-Atc", WHO)
            self.assertEqual(said, "alice in app\n")

    def test_env(self) -> None:
        """Variables do as well."""
        line = 'eval "$(tgsh db env orders --legacy)"; psql -Atc "$0"'
        self.assertEqual(self.says("sh", "-c", line, WHO), "alice in app\n")

    def test_connect(self) -> None:
        """Both psql get there by themselves, and their exit codes are ours."""
        for env in (None, self.new):
            said = self.says("tgsh", "db", "connect", "orders", "--", "-Atc", WHO, env=env)
            self.assertEqual(said, "alice in app\n")
            words = ("tgsh", "db", "connect", "orders", "--", "-v", "ON_ERROR_STOP=1")
            done = self.do(*words, "-c", "select x", env=env)
            self.assertEqual(done.returncode, 1)
            done = self.do(*words, "-f", "/nowhere", env=env)
            self.assertEqual(done.returncode, 1)

    def test_tunnel(self) -> None:
        """Clients without a certificate: many at once, copies, and Ctrl-C in psql."""
        proxy = self.proxy("db", "orders", "--tunnel")
        words = shlex.split(proxy.ready["command"])
        self.assertEqual(self.says(*words, "-Atc", WHO), "alice in app\n")
        where = proxy.ready["uri"]

        def one(number: int) -> None:
            with psycopg.connect(where) as connection:
                found = connection.execute("select %s::int", (number,)).fetchone()
                assert found == (number,), found

        self.assertEqual(at_once(one, CONNECTIONS), [])
        sql = "copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout"
        self.assertEqual(len(self.says(*words, "-Atc", sql)), 20_000 * 1001)
        self.assertEqual((proxy.end(), proxy.said), (0, ""))

    def test_cancel(self) -> None:
        """Cancelling ends the query that it is about, and nothing else."""
        proxy = self.proxy("db", "orders", "--tunnel")
        with (
            psycopg.connect(proxy.ready["uri"]) as first,
            psycopg.connect(proxy.ready["uri"]) as second,
        ):
            wrong: list[BaseException] = []

            def sleep() -> None:
                try:
                    first.execute(SLEEP)
                except psycopg.Error as e:
                    wrong.append(e)

            sleeping = threading.Thread(target=sleep)
            sleeping.start()
            until(
                lambda: (
                    self.house.server.query(
                        "select count(*) from pg_stat_activity where query = "
                        f"'{SLEEP}' and state = 'active'"
                    ).strip()
                    == "1"
                ),
                "the query runs",
            )
            first.cancel()
            sleeping.join(PATIENCE_SECONDS)
            self.assertIsInstance(wrong[0], psycopg.errors.QueryCanceled)
            self.assertEqual(second.execute("select 1").fetchone(), (1,))

    def test_forwarded(self) -> None:
        """Without --tunnel the client does TLS, with the files that the proxy names."""
        proxy = self.proxy("db", "orders")
        words = shlex.split(proxy.ready["command"])[1:]
        self.assertEqual(self.says(psql17(), *words, "-Atc", WHO), "alice in app\n")

    def test_socket(self) -> None:
        """A UNIX socket in a folder, as libpq looks for it."""
        folder = self.house.alice.home / "run"
        folder.mkdir(exist_ok=True)
        proxy = self.proxy("db", "orders", "--tunnel", f"--socket={folder}")
        self.assertEqual(proxy.ready["socket"], str(folder / ".s.PGSQL.5432"))
        self.assertEqual(
            self.says(*shlex.split(proxy.ready["command"]), "-Atc", WHO), "alice in app\n"
        )

    def test_refused(self) -> None:
        """Another user than the certificate's is refused, in words that psql shows."""
        proxy = self.proxy("db", "orders", "--tunnel")
        port = proxy.ready["port"]
        where = f"host=127.0.0.1 port={port} user=postgres dbname=app sslmode=disable"
        said = self.fails("psql", where, "-c", "select 1")
        self.assertIn("FATAL", said)
        said = self.fails("psql", where.replace("disable", "require"), "-c", "select 1")
        self.assertIn("SSL", said)

    def test_interrupted(self) -> None:
        """Ctrl-C at psql's prompt ends the query, and neither psql nor its local proxy."""
        alice = self.house.alice
        child = pexpect.spawn(
            "tgsh",
            ["db", "connect", "orders", "--", "-X"],
            env={**alice.env, "PAGER": "cat"},
            timeout=PATIENCE_SECONDS,
            encoding="utf-8",
        )
        try:
            child.expect("app=> ")
            child.sendline("select pg_sleep(50);")
            until(
                lambda: (
                    self.house.server.query(
                        "select count(*) from pg_stat_activity where state = 'active' "
                        "and query = 'select pg_sleep(50);'"
                    ).strip()
                    == "1"
                ),
                "the query runs",
            )
            child.sendintr()
            child.expect("canceling statement due to user request")
            child.expect("app=> ")
            child.sendline("\\q")
            child.expect(pexpect.EOF)
        finally:
            child.close(force=True)
        self.assertEqual(child.exitstatus, 0)

    def test_restart(self) -> None:
        """A gateway that comes back is used again; one line says that it was away."""
        house = self.house
        proxy = self.proxy("db", "orders", "--tunnel")
        words = (*shlex.split(proxy.ready["command"]), "-Atc", WHO)
        self.says(*words)
        house.case.hub.stop()
        waiting = subprocess.Popen(
            words, env=house.alice.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        until(lambda: "trying again" in proxy.said, "the proxy has noticed")
        house.case.hub = house.case.again(house.case.hub)
        waiting.communicate(timeout=PATIENCE_SECONDS)
        house.case.until_tunnel(house.agent)
        until(lambda: self.do(*words).returncode == 0, "the database is back")
        self.assertIn("is back", proxy.said)
