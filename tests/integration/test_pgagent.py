"""The agent's side of PostgreSQL with real servers of two versions, and real clients.

No gateway stands before it (`tests.support.pgfront`): a session's whole way has its own tests.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from twisted.internet import reactor, threads
from twisted.trial.unittest import TestCase

from tests.support.certs import pki
from tests.support.pgfront import Front
from tests.support.pgserver import VERSIONS, Database, binaries17, psql17
from tlsgate.config.settings import OfferSettings, TargetTls

T = TypeVar("T")

#: For one client.
SECONDS = 60.0

WHO = (
    "select current_user, current_database(), ssl, client_dn "
    "from pg_stat_ssl where pid = pg_backend_pid()"
)
PASSWORD = "hostssl app carol 127.0.0.1/32 scram-sha-256"


def text(number: int) -> str:
    """Something that shows when it is lost or changed."""
    return hashlib.sha256(b"%d" % number).hexdigest()


@functools.cache
def servers() -> dict[str, Database]:
    """One server of each version, for all tests here."""
    made = {}
    for version in VERSIONS:
        tls, ca = pki().keypair("target"), pki().file("ca.pem")
        server = Database(tls, ca, version=version, rules=(PASSWORD,)).start()
        atexit.register(server.stop)
        server.query("create role carol login password 'x'")
        made[f"pg{version}"] = server
    return made


class AgentPostgresTests(TestCase):
    """Real servers behind the agent's own parts."""

    timeout = 3 * SECONDS

    def setUp(self) -> None:
        self.servers = servers()

    def front(self, **tls: Any) -> Front:
        """The agent, with both databases."""
        named = {"server_name": "target.test", **tls}
        made = Front(
            reactor,
            {
                name: OfferSettings(
                    kind="db",
                    name=name,
                    protocol="postgres",
                    addresses=(f"127.0.0.1:{server.port}",),
                    tls=TargetTls(**named),
                )
                for name, server in self.servers.items()
            },
        )
        made.start()
        self.addCleanup(made.stop)
        return made

    async def wait(self, call: Callable[..., T], *arguments: Any) -> T:
        """What a blocking client gives, while the agent works."""
        got: T = await threads.deferToThread(call, *arguments)
        return got

    async def psql(self, front: Front, name: str, *more: str, psql: str = "psql") -> str:
        """What psql prints, on both channels."""
        where = f"host=127.0.0.1 port={front.ports[name]} sslmode=disable {more[0]}"
        done = await self.wait(
            lambda: subprocess.run(
                [psql, "-X", "-At", "-d", where, *more[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
                text=True,
                env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PGGSSENCMODE": "disable"},
            )
        )
        return done.stdout

    @staticmethod
    def connect(where: str) -> Any:
        """A session in which each statement is a transaction."""
        return psycopg.connect(where, autocommit=True)

    def uri(self, front: Front, name: str, **more: str) -> str:
        """Where libpq finds it."""
        words = {"host": "127.0.0.1", "port": front.ports[name], "sslmode": "disable"}
        words |= {"user": "alice", "dbname": "app", "gssencmode": "disable", **more}
        return " ".join(f"{key}={value}" for key, value in words.items())

    async def test_psql(self) -> None:
        """psql of both versions is somebody by a certificate, at servers of both versions."""
        front = self.front()
        for name in self.servers:
            for psql in ("psql", psql17()):
                said = await self.psql(front, name, "user=alice dbname=app", "-c", WHO, psql=psql)
                self.assertEqual(said, "alice|app|t|/CN=alice\n")
        self.assertEqual(len(front.door.asked), len(self.servers))

    async def test_refusals(self) -> None:
        """Each refusal is a sentence that psql prints."""
        front = self.front()
        for who, words in (
            ("user=postgres dbname=app", "for the user alice, not for postgres"),
            ("user=alice dbname=postgres", "for the database app, not for postgres"),
            ("user=alice dbname=app replication=database", "replication is not carried"),
        ):
            self.assertIn(words, await self.psql(front, "pg15", who, "-c", "select 1"))
        front.names = ("alice", "none")
        said = await self.psql(front, "pg17", "user=alice dbname=none", "-c", "select 1")
        self.assertIn('FATAL:  database "none" does not exist', said)
        front.names = ("nobody", "app")
        said = await self.psql(front, "pg17", "user=nobody dbname=app", "-c", "select 1")
        self.assertIn('role "nobody" does not exist', said)
        front.names = ("carol", "app")
        said = await self.psql(front, "pg15", "user=carol dbname=app", "-c", "select 1")
        self.assertIn("asks for a SCRAM password of carol", said)

    async def test_server_is_somebody_else(self) -> None:
        """A server of another name is refused before it hears anything of the client."""
        front = self.front(server_name="other.test")
        said = await self.psql(front, "pg15", "user=alice dbname=app", "-c", "select 1")
        self.assertIn("not for other.test", said)

    async def test_agent_is_somebody_else(self) -> None:
        """A server that does not trust the database authority is told of, with what to change."""
        front = self.front()
        front.door.ca = pki().other_ca
        for name in self.servers:
            said = await self.psql(front, name, "user=alice dbname=app", "-c", "select 1")
            self.assertIn("does its ssl_ca_file have the cluster's database authority?", said)
        front.door.ca = pki().ca
        said = await self.psql(front, "pg15", "user=alice dbname=app", "-c", "select 1 as one")
        self.assertEqual(said, "1\n")

    async def test_cancel(self) -> None:
        """A client cancels its own query, by old and by new protocol, and nobody else's."""
        front = self.front()

        server = self.servers["pg17"]

        def sleep(one: Any) -> None:
            with self.assertRaises(psycopg.errors.QueryCanceled):
                one.execute("select pg_sleep(50)")

        def cancel(one: Any, count: str) -> None:
            asked = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
            for _ in range(500):
                if server.query(asked).strip() == count:
                    break
            one.cancel_safe(timeout=20)

        for protocol in ("3.0", "latest"):
            where = self.uri(front, "pg17", max_protocol_version=protocol)
            ones = [await self.wait(self.connect, where) for _ in range(2)]
            sleeping = [threads.deferToThread(sleep, one) for one in ones]
            await self.wait(cancel, ones[0], "2")
            await sleeping[0]
            self.assertFalse(sleeping[1].called)
            await self.wait(cancel, ones[1], "1")
            await sleeping[1]
            for one in ones:
                await self.wait(one.close)
        self.assertEqual([event for event, _ in front.events if "deny" in event], [])

    async def test_copy_and_listen(self) -> None:
        """COPY both ways keeps every byte, prepared statements and notifications work."""
        front = self.front()
        rows = b"".join(b"%d\t%s\n" % (n, text(n).encode()) for n in range(60_000))

        def work(name: str) -> None:
            with psycopg.connect(self.uri(front, name), autocommit=True) as one:
                one.execute("create temporary table sums (n int, t text)")
                with one.cursor().copy("copy sums from stdin") as copy:
                    copy.write(rows)
                with one.cursor().copy("copy (select * from sums order by n) to stdout") as copy:
                    self.assertEqual(b"".join(copy), rows)
                for number in range(20):
                    found = one.execute(
                        "select t from sums where n = %s", (number,), prepare=True
                    ).fetchone()
                    self.assertEqual(found, (text(number),))
                one.execute("listen here")
                with psycopg.connect(self.uri(front, name), autocommit=True) as other:
                    other.execute("notify here, 'hello'")
                heard = next(iter(one.notifies(timeout=20, stop_after=1)))
                self.assertEqual(heard.payload, "hello")

        for name in self.servers:
            await self.wait(work, name)

    async def test_audit(self) -> None:
        """What clients do is told, by both parts of the protocol, without the values."""
        front = self.front()
        front.audited = True

        def work() -> None:
            with psycopg.connect(self.uri(front, "pg17"), autocommit=True) as one:
                one.execute("select 1")
                one.execute("select %s::text, %s::int", ("hush", 7), prepare=True)
                one.execute("create temporary table sums (n int)")
                with one.cursor().copy("copy sums from stdin") as copy:
                    copy.write(b"1\n" * 100_000)
                one.execute("select 2")

        await self.wait(work)
        told = [fields for event, fields in front.events if event == "db.session.query"]
        self.assertEqual(
            [(one["db_query"], one["db_query_parameters_count"]) for one in told],
            [
                ("select 1", None),
                ("select $1::text, $2::int", 2),
                ("create temporary table sums (n int)", None),
                ("copy sums from stdin", None),
                ("select 2", None),
            ],
        )
        self.assertNotIn("hush", repr(told))

    async def test_pgbench(self) -> None:
        """Many connections at once, and many one after the other."""
        front = self.front()
        pgbench = str(binaries17() / "pgbench")

        def run(*more: str) -> str:
            where = ["-h", "127.0.0.1", "-p", str(front.ports["pg17"]), "-U", "alice"]
            done = subprocess.run(
                [pgbench, *where, *more, "app"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
                text=True,
                env={"PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "HOME": "/nonexistent"},
            )
            self.assertEqual(done.returncode, 0, done.stdout)
            return done.stdout

        await self.wait(run, "-i", "-q", "-s", "1")
        said = await self.wait(run, "-S", "-c", "8", "-t", "100", "-M", "prepared")
        self.assertIn("number of failed transactions: 0", said)
        said = await self.wait(run, "-S", "-C", "-c", "4", "-t", "10")
        self.assertIn("number of failed transactions: 0", said)
        self.assertEqual(len(front.door.asked), 1)
