"""`python -m tests.bench.apps`: HTTP applications through gateway and agent, and what it costs.

1. A cluster and an agent share one core; nginx and the clients are on the other one.
2. Requests on connections that are kept alive, one after another on one connection, and one
   big download go through both, through two HAProxys (TLS ends at the first), and straight.
3. WebSockets are opened through both and held; each echoes in turn, then all at once.
4. Medians of the rounds; by processor time of what stands between, too.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from attrs import define, field

from tests.bench.identity import Figure
from tests.bench.machine import cores
from tests.bench.twice import QUIET, Twice, cpu_seconds, median, put, run, say
from tests.support.certs import pki
from tests.support.cluster import Holder
from tests.support.servers import Nginx
from tests.support.webapps import Shower

#: Connections that are kept alive, and WebSockets.
CLIENTS = 16
SOCKETS = 500
DOWNLOAD_BYTES = 1 << 30
_NAME = "files.gw.test"
_GET = f"GET /small HTTP/1.1\r\nHost: {_NAME}\r\n\r\n".encode()
_BIG = f"GET /big HTTP/1.1\r\nHost: {_NAME}\r\nConnection: close\r\n\r\n".encode()
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: shower.gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@define
class Way:
    """One way to the application, and what each round has told of it."""

    name: str
    dial: Callable[[], socket.socket]
    pids: tuple[int, ...]
    told: dict[str, list[float]] = field(factory=dict)

    def tell(self, what: str, value: float) -> None:
        """Keep a value."""
        self.told.setdefault(what, []).append(value)


class House(Twice):
    """The cluster, the agent, both applications and ann."""

    def open(self) -> None:
        """Start all of it."""
        self.open_hub()
        files = self.folder()
        files.chmod(0o755)
        (files / "small").write_bytes(b"x" * 1024)
        with (files / "big").open("wb") as big:
            big.truncate(DOWNLOAD_BYTES)
        for file in files.iterdir():
            file.chmod(0o644)
        self.nginx = self.serve(
            Nginx(f"root {files}; keepalive_requests 10000000; access_log off;")
        )
        self.shower = Shower()
        self.shower.start()
        self.addCleanup(self.shower.stop)
        uris = {"files": self.nginx.port, "shower": self.shower.port}
        agent = self.agent(
            self.hub,
            "apps1",
            teleport=QUIET,
            apps=[{"name": name, "uri": f"http://127.0.0.1:{uris[name]}"} for name in uris],
        )
        put(agent.child.pid, cores()[0])
        self.pids = (self.hub.child.pid, agent.child.pid)
        self.add_user(self.hub, "ann", ["access"])
        self.context = client_context(self.sign(self.hub, "ann"))

    def ways(self) -> tuple[Way, Way, Way]:
        """Gateway and agent, two HAProxys, and straight."""
        both = pki().file("server.pem").read_bytes() + pki().file("server-key.pem").read_bytes()
        shown = self.folder() / "both.pem"
        shown.write_bytes(both)
        door, pids = self.hops(self.nginx.port, outer=f"ssl crt {shown} alpn http/1.1")
        anyone = client_context(None)
        return (
            Way("gateway and agent", lambda: self.dial(_NAME), self.pids),
            Way("HAProxy twice", lambda: secure(door, _NAME, anyone), pids),
            Way("straight", lambda: plain(self.nginx.port), ()),
        )

    def dial(self, name: str) -> ssl.SSLSocket:
        """A connection of ann's."""
        return secure(self.web_port, name, self.context)


def client_context(who: Holder | None) -> ssl.SSLContext:
    """HTTP/1.1, by anybody or by the holder of a certificate; the load verifies nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    if who is not None:
        context.load_cert_chain(who.cert, who.key)
    return context


def plain(port: int) -> socket.socket:
    """A connection in the clear."""
    made = socket.create_connection(("127.0.0.1", port), 30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def secure(port: int, name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection under TLS."""
    return context.wrap_socket(plain(port), server_hostname=name)


def whole(connection: socket.socket) -> None:
    """Read the answer to one `_GET`."""
    answer = bytearray()
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + 1024:
        some = connection.recv(65536)
        if not some or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
            raise SystemExit(f"bench: {bytes(answer)!r}")
        answer += some


def rate(way: Way, seconds: float) -> None:
    """Requests on connections that are kept alive, each one's answer before its next."""
    connections = [way.dial() for _ in range(CLIENTS)]
    counts = [0] * CLIENTS
    over = time.monotonic() + seconds

    def ask(number: int) -> None:
        while time.monotonic() < over:
            connections[number].sendall(_GET)
            whole(connections[number])
            counts[number] += 1

    for connection in connections:
        connection.sendall(_GET)
        whole(connection)
    before = cpu_seconds(way.pids)
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = cpu_seconds(way.pids) - before
    way.tell("rate", sum(counts) / seconds)
    if used:
        way.tell("rate cpu", sum(counts) / used)
    for connection in connections:
        connection.close()


def one(way: Way, count: int) -> None:
    """Requests one after another on one connection."""
    took = []
    with way.dial() as connection:
        for _ in range(count):
            began = time.perf_counter()
            connection.sendall(_GET)
            whole(connection)
            took.append(time.perf_counter() - began)
    way.tell("one", median(took) * 1e3)


def download(way: Way) -> None:
    """One big file."""
    buffer, got = memoryview(bytearray(1 << 20)), 0
    before, began = cpu_seconds(way.pids), time.monotonic()
    with way.dial() as connection:
        connection.sendall(_BIG)
        while count := connection.recv_into(buffer):
            got += count
    if got < DOWNLOAD_BYTES:
        raise SystemExit(f"bench: {way.name}: {got} bytes came")
    mib = got / (1 << 20)
    way.tell("download", mib / (time.monotonic() - began))
    if used := cpu_seconds(way.pids) - before:
        way.tell("download cpu", mib / used)


def sockets(house: House) -> Iterator[Figure]:
    """Open WebSockets, hold all of them, and have each echo."""
    held: list[ssl.SSLSocket] = []
    took = []
    began = time.monotonic()
    try:
        for _ in range(SOCKETS):
            connection = house.dial("shower.gw.test")
            held.append(connection)
            connection.sendall(_UPGRADE)
            head = b""
            while not head.endswith(b"\r\n\r\nhello"):  # the target says that by itself
                some = connection.recv(4096)
                head += some
                if not some or not head.startswith(b"HTTP/1.1 101"[: len(head)]):
                    raise SystemExit(f"bench: {head!r}")
        opened = SOCKETS / (time.monotonic() - began)
        for connection in held:
            began = time.perf_counter()
            connection.sendall(b"ping")
            echoed(connection)
            took.append(time.perf_counter() - began)
        began = time.monotonic()
        for connection in held:
            connection.sendall(b"ping")
        for connection in held:
            echoed(connection)
        at_once = time.monotonic() - began
    finally:
        for connection in held:
            connection.close()
    yield Figure(what=f"{SOCKETS} WebSockets, opened", value=opened, unit="/s")
    value = median(took) * 1e3
    yield Figure(what="  one echoes, p50", value=value, unit="ms")
    yield Figure(what="  all echo at once", value=at_once * 1e3, unit="ms")


def echoed(connection: socket.socket) -> None:
    """Read what was sent."""
    if connection.recv(4) != b"ping":
        raise SystemExit("bench: a WebSocket does not echo")


def figures(ways: Sequence[Way]) -> Iterator[Figure]:
    """Medians, and ratios to two HAProxys in the same rounds."""
    both, twice, straight = ways
    for what, title, unit, bound in (
        ("rate", f"requests, {CLIENTS} connections", "/s", None),
        ("rate cpu", f"requests, {CLIENTS} connections", "a CPU second", 2500.0),
        ("one", "a request on one connection, p50", "ms", None),
        ("download", "download", "MiB/s", 300.0),
        ("download cpu", "download", "MiB a CPU second", None),
    ):
        for way in ways:
            if what in way.told:
                reach = bound if way is both else None
                yield Figure(
                    what=f"{title}, {way.name}", value=median(way.told[what]), unit=unit,
                    reach=reach, least=True,
                )  # fmt: skip
        pairs = zip(both.told[what], twice.told[what], strict=True)
        yield Figure(what="  both to HAProxy twice", value=median(a / b for a, b in pairs), unit="")
    added = median(both.told["one"]) - median(straight.told["one"])
    yield Figure(what="a request: what both add", value=added, unit="ms", reach=1.5)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All of it."""
    house = House()
    with contextlib.ExitStack() as stack:
        stack.callback(house.doCleanups)
        house.open()
        ways = house.ways()
        for number in range(given.rounds):
            for way in ways:
                rate(way, given.seconds)
                one(way, 500)
                download(way)
            say(f"round {number + 1} of {given.rounds}")
        yield from figures(ways)
        say("WebSockets")
        yield from sockets(house)


def main(arguments: Sequence[str]) -> int:
    """Give 0 when all is reached."""
    return run("tests.bench.apps", __doc__, arguments, measure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
