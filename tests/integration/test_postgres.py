"""PostgreSQL from real clients through gateway and agent to real servers, in both modes.

In multiplex mode clients come to the web port of two workers; in separate mode to the port of
PostgreSQL's own. It is one file, since both modes share each cluster and run the same tests.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.support.agent import AgentCase
from tests.support.certs import pki
from tests.support.child import temporary, until
from tests.support.cluster import Holder, new_key
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, GateCase, receive
from tests.support.pgserver import VERSIONS, Database, binaries17, psql17
from tests.support.ports import free_port

#: Of one run of a client.
SECONDS = 60.0
WHO = "select current_user || ' in ' || current_database()"
SLEEP = "select pg_sleep(50)"
#: Of a table that is dumped, and of a COPY.
ROWS = 20_000
HASH = "select md5(string_agg(md5(t::text), '' order by n)) from thing t"
SCHEMA = f"""
create table thing (n int primary key, t text not null, at timestamptz default '2020-01-01');
insert into thing select n, md5(n::text) from generate_series(1, {ROWS}) n;
create index thing_t on thing (t);
create view few as select n from thing where n < 10;
create function twice(n int) returns int language sql as 'select 2 * n';
"""
CANCEL = b"\x04\xd2\x16\x2e"
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"
LABELS = {"env": "prod"}
#: Of a client that has come and says nothing.
OPENING_SECONDS = 4


class House:
    """A cluster, an agent with two real servers, alice who may come in, and bob who may not."""

    def __init__(self, mode: str) -> None:
        case = self.case = AgentCase()
        atexit.register(case.doCleanups)
        proxy: dict[str, Any] = {"workers": 2}
        if mode == "separate":
            self.port = free_port()
            proxy["postgres_listen_addr"] = f"127.0.0.1:{self.port}"
        proxy["timeouts"] = {"prelude_seconds": 3, "opening_seconds": OPENING_SECONDS}
        self.gate = case.cluster(proxy=proxy)
        if mode == "multiplex":
            self.port = case.web_port
        folder = case.folder()
        folder.chmod(0o755)
        trusted = folder / "db.pem"
        trusted.write_text("".join(self.gate.admin("GET", "/v1/cas")["cas"]["db"]))
        trusted.chmod(0o644)
        self.servers = {
            f"pg{version}": case.serve(Database(pki().keypair("target"), trusted, version=version))
            for version in VERSIONS
        }
        tls = {"server_name": "target.test", "ca_cert_file": str(pki().file("ca.pem"))}
        self.role(
            "use",
            db_labels=LABELS,
            db_users=["alice", "x;y'"],
            db_names=["app", "none"],
            app_labels=LABELS,
        )
        feed = case.serve(Echo())
        self.role("other", db_labels={"env": "other"}, db_users=["*"], db_names=["*"])
        self.agent = case.agent(
            self.gate,
            "db1",
            db=[
                {
                    "name": name,
                    "protocol": "postgres",
                    "uri": f"127.0.0.1:{server.port}",
                    "tls": tls,
                    "static_labels": LABELS,
                }
                for name, server in self.servers.items()
            ],
            apps=[{"name": "feed", "uri": f"tcp://127.0.0.1:{feed.port}", "labels": LABELS}],
        )
        self.agent.child.until(
            lambda: len({one["worker"] for one in case.tunnels(self.agent)}) == 2,
            "a tunnel to each worker",
            2 * CLIENT_SECONDS,
        )
        self.alice = case.login(self.gate, case.add_user(self.gate, "alice", ["use"]))
        self.bob = case.login(self.gate, case.add_user(self.gate, "bob", ["other"]))
        self.narrow = {
            name: self.limited(self.alice, db=name, db_user="alice", db_name="app")
            for name in self.servers
        }

    def role(self, name: str, **allow: Any) -> None:
        """Write a role."""
        spec = {"kind": "role", "version": "v7", "metadata": {"name": name}}
        self.gate.admin(
            "PUT", f"/v1/resources/role/{name}?force=1", {**spec, "spec": {"allow": allow}}
        )

    def limited(self, who: Holder, **routes: str) -> Holder:
        """A certificate for one database only, as `tgsh db login` gets it."""
        private, tls, _ = new_key()
        body = {"tls_public_key": tls, "routes": routes}
        answer = self.case.ask(self.gate, who, "POST", "/v1/me/certificates", body)
        assert answer.status == 200, answer.text
        return self.case.holder(who.name, private, {"cas": who.issued["cas"], **answer.body})

    def words(self, who: Holder | None, **more: object) -> str:
        """Where libpq finds the gateway."""
        words: dict[str, object] = {
            "host": "localhost",
            "hostaddr": "127.0.0.1",
            "port": self.port,
            "sslmode": "verify-full",
            "sslrootcert": pki().file("ca.pem"),
            "user": "alice",
            "dbname": "app",
            "connect_timeout": 20,
            "gssencmode": "disable",
        }
        if who is None:
            words |= {"sslcert": "/nowhere", "sslkey": "/nowhere"}
        else:
            who.key.chmod(0o600)
            words |= {"sslcert": who.cert, "sslkey": who.key}
        return " ".join(f"{key}='{value}'" for key, value in {**words, **more}.items())


@functools.cache
def house(mode: str) -> House:
    """The one of this process for a mode."""
    return House(mode)


class PostgresCase(GateCase):
    """Tests of one mode; a subclass says which."""

    mode = ""

    def setUp(self) -> None:
        self.house = house(self.mode)

    def run_it(self, program: str | Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a client to its end."""
        return subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )

    def psql(self, who: Holder | None, sql: str = WHO, psql: str = "psql", **more: object) -> str:
        """What psql prints."""
        where = self.house.words(who, **more)
        return self.run_it(psql, "-X", "-Atc", sql, "-d", where).stdout

    def connect(self, name: str = "pg15", **more: object) -> psycopg.Connection[Any]:
        """A session, which ends with the test."""
        where = self.house.words(self.house.narrow[name], **more)
        made = psycopg.connect(where, autocommit=True)
        self.addCleanup(made.close)
        return made

    def tls(self, who: Holder | None, *alpn: str, direct: bool = True) -> ssl.SSLSocket:
        """TLS to the port, at once or after an SSLRequest."""
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        if who is not None:
            context.load_cert_chain(who.cert, who.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        sock = self.plain()
        if not direct:
            sock.sendall(SSL_REQUEST)
            self.assertEqual(receive(sock, 1), b"S")
        made = context.wrap_socket(sock, server_hostname="localhost")
        self.addCleanup(made.close)
        return made

    def plain(self) -> socket.socket:
        """A connection in the clear."""
        made = socket.create_connection(("127.0.0.1", self.house.port), CLIENT_SECONDS)
        self.addCleanup(made.close)
        return made

    def sleeping(self, session: psycopg.Connection[Any]) -> threading.Thread:
        """Have *session* sleep; the thread ends with its query, which has to be cancelled."""
        self.said: list[str] = []

        def sleep() -> None:
            try:
                session.execute(SLEEP)
            except psycopg.Error as error:
                self.said.append(str(error.sqlstate))

        thread = threading.Thread(target=sleep)
        thread.start()
        self.addCleanup(thread.join, SECONDS)
        until(lambda: self.asleep() > 0, "it sleeps", CLIENT_SECONDS)
        return thread

    def asleep(self) -> int:
        """How many sleep at the old server."""
        server = self.house.servers["pg15"]
        counted = "select count(*) from pg_stat_activity where query like '%sleep(50)%'"
        awake = " and state = 'active' and pid <> pg_backend_pid()"
        return int(server.query(counted + awake))


class PostgresTests(PostgresCase):
    """In multiplex mode; separate mode is below, with the same tests."""

    mode = "multiplex"

    def test_psql(self) -> None:
        """psql of two versions, to servers of two versions, by SSLRequest."""
        for name in self.house.servers:
            for psql in ("psql", psql17()):
                said = self.psql(self.house.narrow[name], psql=psql)
                self.assertEqual(said, "alice in app\n")

    def test_direct(self) -> None:
        """psql 17 comes with TLS from the first byte, ALPN postgresql, and a short name."""
        for name, who in self.house.narrow.items():
            said = self.psql(who, psql=psql17(), sslnegotiation="direct")
            self.assertEqual((name, said), (name, "alice in app\n"))

    def test_by_name(self) -> None:
        """The whole certificate does where the name says which database is meant."""
        house = self.house
        for psql, more in (("psql", {}), (psql17(), {"sslnegotiation": "direct"})):
            said = self.psql(
                house.alice, psql=psql, host="pg17.db.gw.test", sslrootcert=house.alice.cas, **more
            )
            self.assertEqual(said, "alice in app\n")
        said = self.psql(house.narrow["pg15"], host="pg17.db.gw.test", sslrootcert=house.alice.cas)
        self.assertIn("this login is for the database service pg15, not for pg17", said)

    def test_own_token(self) -> None:
        """Our own programs' token shows the cluster's certificate, with pings and without."""
        who = self.house.narrow["pg17"]
        body = b"user\0alice\0\0"
        packet = struct.pack(">L", 8 + len(body)) + b"\0\3\0\0" + body
        for token, frame in (
            ("tlsgate-postgres", b""),
            ("tlsgate-postgres-ping", struct.pack(">L", len(packet))),
        ):
            with who.context(token).wrap_socket(self.plain(), server_hostname="localhost") as sock:
                self.assertEqual(sock.selected_alpn_protocol(), token)
                sock.sendall(frame + packet)
                got = receive(sock, 13 if frame else 9)
                self.assertEqual(got[-9:], b"R\0\0\0\x08\0\0\0\0")

    def test_refusals(self) -> None:
        """Each is a sentence that psql prints, and that says what to do."""
        house = self.house
        one, wide = house.narrow["pg15"], house.alice
        loose = house.limited(wide, db="pg15")
        for who, more, words in (
            (None, {}, "run `tgsh db login NAME`"),
            (wide, {}, "this certificate is for no database: run `tgsh db login NAME`"),
            (one, {"user": "postgres"}, "this login is for the user alice, not for postgres"),
            (one, {"dbname": "postgres"}, "this login is for the database app, not for postgres"),
            (one, {"replication": "database"}, "replication is not carried"),
            (loose, {"user": "postgres"}, "alice may not reach database pg15"),
            (loose, {"dbname": "template1"}, "alice may not reach database pg15"),
            (loose, {"dbname": "none"}, 'database "none" does not exist'),
            (loose, {"user": "a" * 64}, "longer than 63 bytes"),
        ):
            said = self.psql(who, **more)
            self.assertIn("FATAL:  ", said)
            self.assertIn(words, said)
        said = self.psql(one, sslmode="disable")
        self.assertIn("takes PostgreSQL under TLS only; use sslmode=verify-full", said)
        with self.assertRaises(psycopg.OperationalError):
            self.connect(user="postgres")

    def test_without_the_role(self) -> None:
        """Somebody whose certificate was narrowed before the role was taken reads why."""
        house = self.house
        house.role("once", db_labels=LABELS, db_users=["alice"], db_names=["app"])
        dora = house.case.login(house.gate, house.case.add_user(house.gate, "dora", ["once"]))
        who = house.limited(dora, db="pg15")
        self.assertEqual(self.psql(who), "alice in app\n")
        house.role("once", db_labels={"env": "gone"}, db_users=["alice"], db_names=["app"])
        until(
            lambda: "dora may not reach database pg15" in self.psql(who), "refused", CLIENT_SECONDS
        )
        for psql, more in (("psql", {}), (psql17(), {"sslnegotiation": "direct"})):
            self.assertIn("dora may not reach database pg15", self.psql(who, psql=psql, **more))

    def test_psycopg(self) -> None:
        """Prepared statements, COPY both ways and notifications, at both servers."""
        rows = b"".join(b"%d\t%s\n" % (n, hashed(n)) for n in range(ROWS))
        for name in self.house.servers:
            one = self.connect(name)
            one.execute("create temporary table thing (n int, t text)")
            with one.cursor().copy("copy thing from stdin") as copy:
                copy.write(rows)
            with one.cursor().copy("copy (select * from thing order by n) to stdout") as copy:
                self.assertEqual(b"".join(copy), rows)
            for number in range(10):
                asked = "select t from thing where n = %s"
                found = one.execute(asked, (number,), prepare=True).fetchone()
                self.assertEqual(found, (hashed(number).decode(),))
            one.execute("listen here")
            self.connect(name).execute("notify here, 'hello'")
            heard = next(iter(one.notifies(timeout=20, stop_after=1)))
            self.assertEqual(heard.payload, "hello")

    def test_async(self) -> None:
        """Many sessions of one process at once, each with its own answers."""

        async def ask(number: int) -> Any:
            where = self.house.words(self.house.narrow["pg17"])
            async with await psycopg.AsyncConnection.connect(where) as one:
                return await (await one.execute("select %s::int", (number,))).fetchone()

        async def all_of_them() -> list[Any]:
            return list(await asyncio.gather(*map(ask, range(10))))

        self.assertEqual(asyncio.run(all_of_them()), [(number,) for number in range(10)])

    def test_pgbench(self) -> None:
        """Several clients, with a session each and with one for each transaction."""
        where = self.house.words(self.house.narrow["pg17"])
        pgbench = binaries17() / "pgbench"
        done = self.run_it(pgbench, "-i", "-q", "-s", "1", where)
        self.assertEqual(done.returncode, 0, done.stdout)
        for more in (("-t", "50", "-M", "prepared"), ("-C", "-t", "5")):
            done = self.run_it(pgbench, "-S", "-c", "4", *more, where)
            self.assertIn("number of failed transactions: 0", done.stdout)

    def test_dump(self) -> None:
        """A schema with its rows is the same after pg_dump and pg_restore."""
        one = self.connect("pg17")
        one.execute("drop schema public cascade; create schema public")
        one.execute(SCHEMA)
        before = one.execute(HASH).fetchone()
        where = self.house.words(self.house.narrow["pg17"])
        file = temporary("dump") / "all"
        self.addCleanup(file.unlink, missing_ok=True)
        done = self.run_it(
            binaries17() / "pg_dump", "-Fc", "-n", "public", "-f", str(file), "-d", where
        )
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        one.execute("drop schema public cascade")
        done = self.run_it(binaries17() / "pg_restore", "--no-owner", "-d", where, str(file))
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(one.execute(HASH).fetchone(), before)
        found = one.execute("select twice(21), (select count(*) from few)").fetchone()
        self.assertEqual(found, (42, 9))

    def test_cancel(self) -> None:
        """In the clear as libpq 15 does, under TLS as libpq 17 does; whichever worker it meets.

        With two workers that share a port, some of ten requests come to the other one.
        """
        session, bystander = self.connect(), self.connect()
        before = bystander.execute("select pg_backend_pid()").fetchone()
        key = session.pgconn.backend_pid
        for number in range(10):
            thread = self.sleeping(session)
            if number % 2:
                session.cancel()
            else:
                session.cancel_safe(timeout=20)
            thread.join(SECONDS)
            self.assertEqual(self.said, ["57014"])
        self.assertEqual(session.pgconn.backend_pid, key)
        self.assertEqual(bystander.execute("select pg_backend_pid()").fetchone(), before)

    def test_cancel_long(self) -> None:
        """Protocol 3.2, whose keys are longer, with psql 17's library and a server of 17."""
        for latest in ("3.0", "latest"):
            session = self.connect("pg17", max_protocol_version=latest)
            session.pgconn.send_query(SLEEP.encode())
            session.cancel_safe(timeout=20)
            result = session.pgconn.get_result()
            assert result is not None
            self.assertIn(b"canceling statement", result.error_message)

    def test_s44_cancel(self) -> None:
        """Another one's key, a wrong one, and one of a server's own cancel nothing.

        Nor does a key that is right with the certificate of somebody else.
        """
        session = self.connect()
        thread = self.sleeping(session)
        number = session.pgconn.backend_pid
        server = self.house.servers["pg15"]
        sleeper = "select pid from pg_stat_activity where query like '%sleep(50)%' limit 1"
        pid = int(server.query(sleeper))
        self.assertNotEqual(pid, number)
        for wrong in (number, number ^ 1, number ^ (1 << 21), pid, 0, 0x7FFFFFFF):
            packet = struct.pack(">L", 16) + CANCEL + struct.pack(">LL", wrong, 7)
            for sock in (
                self.plain(),
                self.tls(self.house.bob, direct=False),
                self.tls(None, "postgresql"),
            ):
                with sock:
                    sock.sendall(packet)
                    self.assertEqual(sock.recv(1), b"")
        self.assertEqual((self.said, thread.is_alive()), ([], True))
        unknown = {"cause": "unknown_cancel_key"}
        until(lambda: len(self.house.gate.events(**unknown)) >= 18, "all counted", CLIENT_SECONDS)
        session.cancel()
        thread.join(SECONDS)
        self.assertEqual(self.said, ["57014"])

    def test_s44_startup(self) -> None:
        """A second StartupMessage, names twice, and names with quotes mean nobody else."""
        who = self.house.limited(self.house.alice, db="pg15")

        def said(*pairs: str, more: bytes = b"") -> bytes:
            body = b"".join(one.encode() + b"\0" for one in pairs) + b"\0"
            packet = struct.pack(">L", 8 + len(body)) + b"\0\3\0\0" + body
            with self.tls(who, "postgresql") as sock:
                sock.sendall(packet + more)
                got = b""
                while len(got) < 5 and (some := sock.recv(4096)):
                    got += some
            return got

        twice = said("user", "alice", "user", "postgres", "database", "app")
        self.assertIn(b"C08P01\0", twice)
        quoted = said("user", "x;y'", "database", "app")
        self.assertIn(b"does not exist", quoted)
        self.assertIn(b"may not reach", said("user", "x", "database", "app"))
        body = b"user\0postgres\0database\0app\0\0"
        again = struct.pack(">L", 8 + len(body)) + b"\0\3\0\0" + body
        self.assertEqual(said("user", "alice", "database", "app", more=again)[:1], b"E")

    def test_s45_glued(self) -> None:
        """What comes with an SSLRequest in one piece is nobody's, and ends it."""
        sock = self.plain()
        sock.sendall(SSL_REQUEST + b"\0\0\0\x10")
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(sock.recv(1), b"")

    def test_s46_silence(self) -> None:
        """Whoever stops after any step is gone at the deadline, with or without a certificate."""
        seconds = time.monotonic()
        stopped = [
            self.plain(),
            *(self.plain() for _ in range(3)),
            self.tls(None, "postgresql"),
            self.tls(None, direct=False),
            self.tls(self.house.narrow["pg15"], "postgresql"),
        ]
        for sock, wire in zip(stopped[1:4], (SSL_REQUEST, GSS_REQUEST, b"\0\0"), strict=True):
            sock.sendall(wire)
        for sock in stopped:
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass
        self.assertLess(time.monotonic() - seconds, OPENING_SECONDS + 1)

    def test_tcp(self) -> None:
        """A TCP application by `tlsgate-tcp`, in pings too, for whoever a role lets in."""
        house = self.house
        who = house.limited(house.alice, app="feed")
        with who.context("tlsgate-tcp").wrap_socket(
            house.gate.connect(), server_hostname="localhost"
        ) as sock:
            sock.sendall(b"hello")
            self.assertEqual(receive(sock, 5), b"hello")
        with house.alice.context("tlsgate-tcp").wrap_socket(
            house.gate.connect(), server_hostname="localhost"
        ) as sock:
            self.assertEqual(sock.recv(1), b"")
        self.assertIsNotNone(house.gate.event(target="app/feed"))

    def test_gss(self) -> None:
        """GSSAPI is declined, and TLS is next."""
        sock = self.plain()
        sock.sendall(GSS_REQUEST)
        self.assertEqual(receive(sock, 1), b"N")
        sock.sendall(SSL_REQUEST)
        self.assertEqual(receive(sock, 1), b"S")

    def test_sessions(self) -> None:
        """Begin and end are audited, with who it was, by which way, and how much was carried."""
        self.connect("pg17").close()
        gate = self.house.gate
        until(lambda: bool(gate.events(target="db/pg17")), "an end", CLIENT_SECONDS)
        (end, *_) = gate.events(target="db/pg17")
        self.assertEqual(end["identity"], "alice")
        self.assertGreater(end["to_client"], 0)


class SeparateTests(PostgresTests):
    """The same on a port of PostgreSQL's own."""

    mode = "separate"

    def test_cancel_on_the_closed_port(self) -> None:
        """Who is there when the port closes cancels still, in the clear and under TLS."""
        session, gate = self.connect(), self.house.gate
        before = json.loads(gate.file.read_text())
        proxy = {key: one for key, one in before["proxy_service"].items() if "postgres" not in key}
        self.addCleanup(gate.reload, before)
        gate.reload({**before, "proxy_service": proxy}, force=True)
        for number in range(8):
            thread = self.sleeping(session)
            if number % 2:
                session.cancel()
            else:
                session.cancel_safe(timeout=20)
            thread.join(SECONDS)
            self.assertEqual(self.said, ["57014"])
        with self.assertRaises(psycopg.OperationalError) as refused:
            self.connect()
        self.assertIn("this port is closed", str(refused.exception))


def hashed(number: int) -> bytes:
    """Something that shows when it is lost or changed."""
    return hashlib.sha256(b"%d" % number).hexdigest().encode()
