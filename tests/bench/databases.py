"""`python -m tests.bench.databases`: PostgreSQL through gateway and agent, and what it costs.

1. A cluster and an agent share one core; a real server and its clients are on the other one.
2. `pgbench -S` with 8 clients, one `SELECT 1` after another, and COPY to the client go through
   both, through two HAProxys (TCP, TLS from end to end), and straight, in turns.
3. Right behind the first of these `pgbench -S` runs once more with each query recorded, by a
   user whose role says so.
4. Medians of the rounds; by processor time of what stands between, too.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from attrs import define, field

from tests.bench.identity import Figure
from tests.bench.machine import cores, pinned
from tests.bench.twice import QUIET, Twice, cpu_seconds, median, put, run, say
from tests.support.certs import pki
from tests.support.cluster import Holder, new_key
from tests.support.pgserver import Database

CLIENTS = 8
_TPS = re.compile(r"tps = ([0-9.]+)")
_COUNT = re.compile(r"actually processed: ([0-9]+)")
#: 1 GiB of rows of a thousand bytes and their ends.
_COPY_ROWS = (1 << 30) // 1001
_COPY = f"copy (select repeat('x', 1000) from generate_series(1, {_COPY_ROWS})) to stdout"
#: What `pgbench -S` reads; `pgbench -i` wants the rights of an owner.
_TABLES = (
    "create table pgbench_branches(bid int primary key, bbalance int, filler char(88))",
    "create table pgbench_accounts(aid int primary key, bid int, abalance int, filler char(84))",
    "insert into pgbench_branches values (1, 0, '')",
    "insert into pgbench_accounts select n, 1, 0, '' from generate_series(1, 100000) n",
)
#: For the ways without a gateway: TLS, and nobody asks for a certificate.
_RULE = "hostssl app alice 127.0.0.1/32 trust"


@define
class Way:
    """One way to the server, and what each round has told of it."""

    name: str
    words: Mapping[str, object]
    pids: tuple[int, ...]
    told: dict[str, list[float]] = field(factory=dict)

    @property
    def where(self) -> str:
        """For libpq."""
        return " ".join(f"{key}='{value}'" for key, value in self.words.items())

    def tell(self, what: str, value: float) -> None:
        """Keep a value."""
        self.told.setdefault(what, []).append(value)


class House(Twice):
    """The cluster, the agent, two servers and alice."""

    def open(self) -> None:
        """Start all of it."""
        self.open_hub()
        folder = self.folder()
        folder.chmod(0o755)
        trusted = folder / "db.pem"
        trusted.write_text("".join(self.hub.admin("GET", "/v1/cas")["cas"]["db"]))
        trusted.chmod(0o644)
        tls = pki().keypair("target")
        self.strict = self._serve(Database(tls, trusted))
        self.open_one = self._serve(Database(tls, None, rules=(_RULE,)))
        allow = {"db_labels": {"*": "*"}, "db_users": ["alice"], "db_names": ["app"]}
        self.role("use", **allow)
        options = {"audit_queries": True}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "recorded"}}
        role["spec"] = {"allow": allow, "options": options}
        self.hub.admin("PUT", "/v1/resources/role/recorded", role)
        agent = self.agent(
            self.hub,
            "db1",
            teleport=QUIET,
            db=[
                {
                    "name": "orders",
                    "protocol": "postgres",
                    "uri": f"127.0.0.1:{self.strict.port}",
                    "tls": {
                        "server_name": "target.test",
                        "ca_cert_file": str(pki().file("ca.pem")),
                    },
                }
            ],
        )
        put(agent.child.pid, cores()[0])
        self.pids = (self.hub.child.pid, agent.child.pid)
        self.holders = [
            self._narrow(self.login(self.hub, self.add_user(self.hub, name, [role])))
            for name, role in (("alice", "use"), ("carol", "recorded"))
        ]

    def _serve(self, server: Database) -> Database:
        server.start()
        self.addCleanup(server.stop)
        for statement in _TABLES:
            sql = f"set role alice; {statement}"
            words = ["psql", "-X", "-q", "-d", self._local(server), "-c", sql]
            subprocess.run(words, check=True, timeout=60)
        return server

    def _local(self, server: Database) -> str:
        return f"host={server.folder} port={server.port} user=postgres dbname=app"

    def _narrow(self, who: Holder) -> Holder:
        private, tls, _ = new_key()
        routes = {"db": "orders", "db_user": "alice", "db_name": "app"}
        body = {"tls_public_key": tls, "routes": routes}
        answer = self.ask(self.hub, who, "POST", "/v1/me/certificates", body)
        assert answer.status == 200, answer.text
        made = self.holder(who.name, private, {"cas": who.issued["cas"], **answer.body})
        made.key.chmod(0o600)
        return made

    def ways(self) -> tuple[Way, Way, Way, Way]:
        """Gateway and agent, two HAProxys, straight, and the first with queries recorded."""
        common = {
            "hostaddr": "127.0.0.1",
            "user": "alice",
            "dbname": "app",
            "gssencmode": "disable",
        }
        alice, carol = (
            {
                "host": "localhost",
                "port": self.web_port,
                "sslmode": "verify-full",
                "sslrootcert": pki().file("ca.pem"),
                "sslcert": one.cert,
                "sslkey": one.key,
            }
            for one in self.holders
        )
        plain = {"host": "target.test", "sslmode": "require"}
        door, pids = self.hops(self.open_one.port)
        return (
            Way("gateway and agent", {**common, **alice}, self.pids),
            Way("HAProxy twice", {**common, **plain, "port": door}, pids),
            Way("straight", {**common, **plain, "port": self.open_one.port}, ()),
            Way("queries recorded", {**common, **carol}, self.pids),
        )


def bench(way: Way, seconds: float) -> None:
    """`pgbench -S`: transactions a second, and a second of what stands between."""
    words = ["pgbench", "-n", "-S", "-M", "simple", "-c", str(CLIENTS), "-T", str(round(seconds))]
    before = cpu_seconds(way.pids)
    done = subprocess.run(
        [*pinned(cores()[1], 0), *words, way.where],
        capture_output=True, text=True, timeout=seconds + 60, check=False,
    )  # fmt: skip
    found, count = _TPS.search(done.stdout), _COUNT.search(done.stdout)
    if done.returncode or found is None or count is None:
        raise SystemExit(f"bench: pgbench, {way.name}: {done.stdout} {done.stderr}")
    used = cpu_seconds(way.pids) - before
    way.tell("tps", float(found[1]))
    if used:
        # Its rate leaves out the time that connecting took, and its time does not.
        way.tell("tps cpu", int(count[1]) / used)


def ask(way: Way, count: int) -> None:
    """One `SELECT 1` after another on one connection, then COPY to the client."""
    began = time.monotonic()
    with psycopg.connect(way.where, autocommit=True) as session:
        way.tell("connect", (time.monotonic() - began) * 1e3)
        took = []
        for _ in range(count):
            began = time.perf_counter()
            session.execute("select 1").fetchone()
            took.append(time.perf_counter() - began)
        way.tell("select", median(took) * 1e6)
        before, began, size = cpu_seconds(way.pids), time.monotonic(), 0
        with session.cursor().copy(_COPY) as rows:
            for row in rows:
                size += len(row)
        mib = size / (1 << 20)
        way.tell("copy", mib / (time.monotonic() - began))
        if used := cpu_seconds(way.pids) - before:
            way.tell("copy cpu", mib / used)


def figures(ways: Sequence[Way]) -> Iterator[Figure]:
    """Medians, and ratios to two HAProxys in the same rounds."""
    both, twice, straight, recorded = ways
    for what, title, unit in (
        ("tps", f"pgbench -S, {CLIENTS} clients", "/s"),
        ("tps cpu", f"pgbench -S, {CLIENTS} clients", "a CPU second"),
        ("connect", "a connection", "ms"),
        ("select", "SELECT 1, p50", "us"),
        ("copy", "COPY to the client", "MiB/s"),
        ("copy cpu", "COPY to the client", "MiB a CPU second"),
    ):
        for way in ways:
            if what in way.told:
                yield Figure(what=f"{title}, {way.name}", value=median(way.told[what]), unit=unit)
        pairs = zip(both.told[what], twice.told[what], strict=True)
        value = median(a / b for a, b in pairs)
        reach = 0.8 if what == "tps" else None
        yield Figure(
            what="  both to HAProxy twice", value=value, unit="", reach=reach, least=True
        )  # fmt: skip
        if what in recorded.told:
            pairs = zip(recorded.told[what], both.told[what], strict=True)
            value = median(a / b for a, b in pairs)
            reach = 0.75 if what == "tps" else None
            yield Figure(
                what="  recorded to not", value=value, unit="", reach=reach, least=True
            )  # fmt: skip
    added = median(both.told["select"]) - median(straight.told["select"])
    yield Figure(what="SELECT 1: what both add", value=added, unit="us", reach=350)
    copied = median(both.told["copy"])
    yield Figure(what="COPY through both", value=copied, unit="MiB/s", reach=300, least=True)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All of it."""
    house = House()
    with contextlib.ExitStack() as stack:
        stack.callback(house.doCleanups)
        house.open()
        ways = house.ways()
        both, twice, straight, recorded = ways
        for number in range(given.rounds):
            for way in (both, recorded, twice, straight):
                bench(way, given.seconds)
                if way is not recorded:
                    ask(way, 500)
            say(f"round {number + 1} of {given.rounds}")
        yield from figures(ways)


def main(arguments: Sequence[str]) -> int:
    """Give 0 when all is reached."""
    return run("tests.bench.databases", __doc__, arguments, measure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
