"""`python -m tests.bench.identity`: what people wait for when they log in, as a table.

1. A cluster is started, one process, and people are invited to it.
2. Everybody logs in over HTTPS, some at a time, between two runs of the bare hash with the
   same parameters in as many threads: the rates are compared, and the heart tells how long
   the reactor was held meanwhile.
3. Certificates are issued one after the other; the programs are started and timed.
4. The store gets thousands of resources, and tgctl fetches them all.

Everything is on one machine: what clients take of the cores, the daemon has not.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import queue
import shutil
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher, Type
from attrs import frozen

from tests.bench.figures import number, table
from tests.bench.house import Cluster, Keeping, Ran, code_of, run
from tests.bench.machine import cpu_seconds, facts
from tests.support.authorities import now_of
from tests.support.certs import pki
from tests.support.cluster import PASSWORD, new_key
from tlsgate.auth.opaque import pack
from tlsgate.auth.passwords import Cost
from tlsgate.core.keeping import Put
from tlsgate.store.sqlite import SqliteStore

#: Hashes that run at once, as the daemon has it.
AT_ONCE = 4
CLIENTS = 16
ROUNDS = 3  #: of logins; each waits until everybody has a code that is good
TIMED = 11  #: starts of a program
ISSUED = 200


@frozen(kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        reach: what it has to be; None: it only says something about the others.
        least: *reach* is a lower bound.
    """

    what: str
    value: float
    unit: str
    reach: float | None = None
    least: bool = False

    @property
    def verdict(self) -> str:
        """Whether *reach* is reached."""
        if self.reach is None:
            return ""
        good = self.value >= self.reach if self.least else self.value <= self.reach
        return "reached" if good else "missed"

    def row(self) -> tuple[str, str, str, str, str]:
        """What the table says."""
        bound = "" if self.reach is None else f"{'>=' if self.least else '<='} {self.reach:g}"
        return self.what, number(self.value), self.unit, bound, self.verdict


# -- logins ---------------------------------------------------------------------------------


def hasher() -> PasswordHasher:
    """The bare hash with the daemon's parameters."""
    cost = Cost()
    return PasswordHasher(cost.passes, cost.memory_kib, cost.lanes, type=Type.ID)


def bare(count: int) -> tuple[float, float]:
    """Verify so often; gives seconds, and seconds of processor time, each for one."""
    made = hasher()
    hashed = made.hash(PASSWORD)
    began, used = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda _: made.verify(hashed, PASSWORD), range(count)):
            pass
    return (time.monotonic() - began) / count, (time.process_time() - used) / count


def logins(cluster: Cluster) -> tuple[float, float]:
    """Log everybody in; gives seconds, and the daemon's processor time, each for one."""
    _, tls, ssh = new_key()
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for user in cluster.people:
        code = code_of(user)
        keys = {"tls_public_key": tls, "ssh_public_key": ssh}
        waiting.put({"user": user.name, "password": user.password, "otp": code, **keys})
    connections = [Keeping(cluster.gate) for _ in range(CLIENTS)]
    failures: list[BaseException] = []

    def work(connection: Keeping) -> None:
        try:
            while True:
                connection.ask("/v1/login", waiting.get_nowait())
        except queue.Empty:
            pass
        except (SystemExit, OSError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in connections]
    pid = cluster.gate.pid
    began, used = time.monotonic(), cpu_seconds([pid])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.monotonic() - began, cpu_seconds([pid]) - used
    for connection in connections:
        connection.close()
    if failures:
        raise SystemExit(f"bench: {len(failures)} clients failed, first: {failures[0]}")
    return seconds / len(cluster.people), cpu / len(cluster.people)


def login_figures(cluster: Cluster) -> Iterator[Figure]:
    """The rate of logins, and what the reactor was held meanwhile."""
    count = len(cluster.people)
    since = time.time()
    hashes = [bare(count)]
    done = []
    for _ in range(ROUNDS):
        done.append(logins(cluster))
        hashes.append(bare(count))
    beats = cluster.beats(since)
    pairs = [
        tuple((before[way] + after[way]) / 2 / login[way] for way in (0, 1))
        for (before, after), login in zip(itertools.pairwise(hashes), done, strict=True)
    ]
    yield Figure(what="bare hashes", value=1 / statistics.median(h[0] for h in hashes), unit="/s")
    yield Figure(what="logins", value=1 / statistics.median(d[0] for d in done), unit="/s")
    rates = [pair[0] for pair in pairs]
    yield Figure(
        what="logins to hashes, median", value=statistics.median(rates), unit="", reach=0.85,
        least=True,
    )  # fmt: skip
    yield Figure(what="logins to hashes, best round", value=max(rates), unit="")
    cpu = statistics.median(pair[1] for pair in pairs)
    yield Figure(what="the same in processor time of the daemon", value=cpu, unit="")
    held = max(beat["held"] for beat in beats) * 1000
    yield Figure(what="reactor held, longest", value=held, unit="ms", reach=50)
    wall = max(beat["wall"] for beat in beats) * 1000
    yield Figure(what="reactor late, longest (others' work too)", value=wall, unit="ms")


# -- certificates and programs ------------------------------------------------------------


def issue_figures(cluster: Cluster) -> Iterator[Figure]:
    """How long a certificate takes, asked for over a connection that is there."""
    private, tls, ssh = new_key()
    asked = {"user": "user0", "ttl_seconds": None, "tls_public_key": tls, "ssh_public_key": ssh}
    issued = cluster.gate.admin("POST", "/v1/sign", asked)
    pair = cluster.folder / "alice.pem"
    pair.write_text(private.decode() + issued["certificate"])
    context = ssl.create_default_context(cadata="".join(issued["cas"]["host"]))
    context.load_cert_chain(pair)
    context.set_alpn_protocols(["tlsgate-auth"])
    connection = Keeping(cluster.gate, context)
    times = []
    for _ in range(ISSUED):
        began = time.monotonic()
        connection.ask("/v1/me/certificates", {"tls_public_key": tls, "ssh_public_key": ssh})
        times.append((time.monotonic() - began) * 1000)
    connection.close()
    value = statistics.median(times)
    yield Figure(what="certificates issued, p50", value=value, unit="ms", reach=10)
    yield Figure(what="the same, p99", value=sorted(times)[int(ISSUED * 0.99)], unit="ms")


def cpu_figure(runs: Sequence[Ran]) -> Figure:
    """What a program takes of a core: on a busy machine all that can be said of it."""
    value = statistics.median(one.cpu_seconds for one in runs) * 1000
    return Figure(what="its processor time", value=value, unit="ms")


def program_figures(cluster: Cluster) -> Iterator[Figure]:
    """tgsh, from its start to its end."""
    home = cluster.folder / "home"
    proxy = f"--proxy=127.0.0.1:{cluster.gate.port()}"
    pin = cluster.gate.admin("GET", "/v1/cas")["pins"][0]
    made = hasher()
    hashed = made.hash(PASSWORD)
    hashes: list[float] = []
    took: list[Ran] = []
    for user in cluster.people[:TIMED]:
        began = time.monotonic()
        made.verify(hashed, PASSWORD)
        hashes.append(time.monotonic() - began)
        shutil.rmtree(home, ignore_errors=True)
        typed = f"{user.password}\n{code_of(user)}\n"
        words = ("login", proxy, f"--user={user.name}", f"--ca-pin={pin}", "--password-file=-")
        took.append(run(home, "tgsh", *words, typed=typed))
    hashing = statistics.median(hashes)
    value = (statistics.median(one.seconds for one in took) - hashing) * 1000
    yield Figure(what="tgsh login without its hash", value=value, unit="ms", reach=600)
    yield cpu_figure(took)
    took = [run(home, "tgsh", "status") for _ in range(TIMED)]
    value = statistics.median(one.seconds for one in took) * 1000
    yield Figure(what="tgsh status", value=value, unit="ms", reach=250)
    yield cpu_figure(took)
    version = [run(home, "tgsh", "version", "--client").seconds for _ in range(3)]
    yield Figure(what="tgsh version --client", value=min(version) * 1000, unit="ms")


# -- many resources -----------------------------------------------------------------------


def fill(cluster: Cluster, count: int) -> None:
    """Put users into the store while the daemon does not run."""
    store = SqliteStore(cluster.folder / "data" / "store")
    try:
        for begin in range(0, count, 100):
            changes = []
            for place in range(begin, min(begin + 100, count)):
                spec = {"roles": ["access"], "traits": {"logins": [f"login{place}", "root"]}}
                metadata = {"name": f"bulk{place:06}", "labels": {"team": f"team{place % 40}"}}
                user = {"kind": "user", "version": "v2", "metadata": metadata, "spec": spec}
                changes.append(Put(f"users/bulk{place:06}", pack(user)))
            now_of(store.commit(changes))
    finally:
        store.stop()


def list_figures(cluster: Cluster, count: int) -> Iterator[Figure]:
    """tgctl, with all of them in each format."""
    where = f"--data-dir={cluster.folder / 'data'}"
    home = cluster.folder / "home"
    for form, words in (
        ("", ()),
        (" --format=json", ("--format=json",)),
        (" --format=text", ("--format=text",)),
    ):
        since = time.time()
        runs = [run(home, "tgctl", "get", "users", *words, where) for _ in range(3)]
        name = f"tgctl get{form} of {count} resources"
        # The reach is for 10,000; fewer take less.
        seconds = statistics.median(one.seconds for one in runs)
        yield Figure(what=name, value=seconds, unit="s", reach=2)
        rss = max(one.rss_mib for one in runs)
        yield Figure(what="its memory", value=rss, unit="MiB", reach=100)
    held = max(beat["held"] for beat in cluster.beats(since)) * 1000
    yield Figure(what="reactor held by the last one, longest", value=held, unit="ms")


def main(arguments: Sequence[str]) -> int:
    """Give 0 when all is reached, 1 when something is missed."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench.identity", description=__doc__.split("\n")[0]
    )
    made.add_argument("--people", type=int, default=100, help="who log in, three times each")
    made.add_argument("--resources", type=int, default=10_000, help="that tgctl gets")
    given = made.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tlsgate-bench-"))
    cluster = Cluster(folder)
    found: list[Figure] = []

    def take(figures: Callable[[], Iterator[Figure]], what: str) -> None:
        print(f"bench: {what}", file=sys.stderr, flush=True)
        found.extend(figures())

    told = {name: fact for name, fact in facts().items() if name in SHOWN}
    try:
        pki().file("ca.pem")
        cluster.start()
        print(f"bench: {given.people} people are invited", file=sys.stderr, flush=True)
        cluster.invite(given.people)
        take(lambda: login_figures(cluster), "logins")
        take(lambda: issue_figures(cluster), "certificates")
        take(lambda: program_figures(cluster), "programs")
        cluster.stop()
        fill(cluster, given.resources)
        cluster.start()
        take(lambda: list_figures(cluster, given.resources), "resources")
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, fact in told.items():
        print(f"{name:12}{fact}")
    head = ("figure", "value", "unit", "reach", "verdict")
    print("\n" + table([head, *(one.row() for one in found)]))
    return 1 if any(one.verdict == "missed" for one in found) else 0


#: What of the machine belongs to these figures.
SHOWN = ("machine", "kernel", "busy", "tlsgate", "Python", "Twisted", "pyOpenSSL")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
