"""`python -m tests.bench.tunnel`: what one stream carries, and how long a client waits for it.

1. A gateway's and an agent's side are started as processes of their own, pinned to one core
   together; each is nothing but streams and relays on a reactor.
2. A client under TLS sends through both to a target, or is sent to; both are on other cores.
   What counts is bytes for each CPU second of gateway and agent together: what they would
   carry in a second with the core to themselves.
3. Clients come one after the other on a warm stream; the gateway tells the time from the
   request to the end that it was given.

Medians of several rounds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as _reactor

from tests.bench.figures import number, table
from tests.support.certs import pki
from tlsgate.core.offers import Asked
from tlsgate.net.ends import End, PlainEnd, SecureEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.relay import Pair, Waits
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import Slab, open_session
from tlsgate.tunnel.stream import AgentStream, GatewayStream, Request

reactor: Any = _reactor

WAITS = Waits(
    idle_seconds=None, write_stall_seconds=60.0, close_seconds=60.0, lifetime_seconds=None
)
#: What the gateway's own contexts choose first.
CIPHER = b"TLS_AES_128_GCM_SHA256"
BLOCK = bytes(1 << 20)
PATIENCE_SECONDS = 120.0


class Side:
    """What gateway and agent both stand on; answers "cpu" on its standard input."""

    def __init__(self) -> None:
        self.poller = Poller(reactor)
        self.wheel = Wheel(reactor)
        self.slab = Slab()
        self.opened: list[float] = []
        reactor.addReader(Words(self))

    def lease(self, sock: socket.socket) -> Lease:
        """Lend *sock*."""
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Lease(Owned(sock), self.poller)

    def secure(self, sock: socket.socket, context: SSL.Context, *, server: bool) -> Any:
        """Do a handshake, and wait for it."""
        sock.setblocking(True)
        connection = SSL.Connection(context, sock)
        (connection.set_accept_state if server else connection.set_connect_state)()
        connection.do_handshake()
        return connection

    def join(self, client: End, target: End) -> None:
        """Relay."""
        Pair(client, target, self.slab, WAITS, self.wheel, time.monotonic).start()

    def common(self) -> dict[str, Any]:
        """What a stream of either side gets."""
        return {
            "slab": self.slab,
            "wheel": self.wheel,
            "now": time.monotonic,
            "idle": lambda stream: None,
            "lost": lambda stream, error: reactor.stop(),
        }


class Words:
    """The bench's questions on standard input."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def fileno(self) -> int:
        """For the reactor."""
        return 0

    def doRead(self) -> None:
        """Answer one; stop when there are no more."""
        if not os.read(0, 100):
            reactor.stop()
            return
        opened, self._side.opened = self._side.opened, []
        print(json.dumps({"cpu": time.process_time(), "opened": opened}), flush=True)

    def connectionLost(self, reason: object) -> None:
        """For the reactor."""

    def logPrefix(self) -> str:
        """For the reactor."""
        return "bench"


class Doors:
    """A listening socket of the gateway's side."""

    def __init__(self, taken: Callable[[socket.socket], None]) -> None:
        self._taken = taken
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self.socket.getsockname()[1]
        reactor.addReader(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self.socket.fileno()

    def doRead(self) -> None:
        """Take one."""
        self._taken(self.socket.accept()[0])

    def connectionLost(self, reason: object) -> None:
        """For the reactor."""

    def logPrefix(self) -> str:
        """For the reactor."""
        return "bench"


def be_gateway(binding: bool, target: int) -> None:
    """Serve plain and TLS clients over the streams that come, and some without."""
    side = Side()
    streams: list[GatewayStream] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tls13_ciphersuites(CIPHER)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.use_certificate_chain_file(str(pki().file("server.pem")))
    context.use_privatekey_file(str(pki().file("server-key.pem")))

    def stream(sock: socket.socket) -> None:
        connection = side.secure(sock, context, server=True)
        session = open_session(connection, binding)
        streams.append(GatewayStream(side.lease(sock), session, **side.common()))

    def client(end: End) -> None:
        begun = time.perf_counter()
        free = next((one for one in streams if not one.busy), None)
        if free is None:
            reactor.callLater(0.0005, client, end)
            return

        def reached(target: End) -> None:
            side.opened.append(time.perf_counter() - begun)
            side.join(end, target)

        told = Asked(kind="node", name="db1", user="alice", certificate=bytes(900))
        free.ask(told, reached, lambda error, died: reactor.stop())

    def secure(sock: socket.socket) -> None:
        session = open_session(side.secure(sock, context, server=True), binding)
        client(SecureEnd(side.lease(sock), session))

    def alone(sock: socket.socket) -> None:
        session = open_session(side.secure(sock, context, server=True), binding)
        dialled = socket.create_connection(("127.0.0.1", target))
        side.join(SecureEnd(side.lease(sock), session), PlainEnd(side.lease(dialled)))

    doors = [Doors(stream), Doors(lambda sock: client(PlainEnd(side.lease(sock)))), Doors(secure)]
    doors.append(Doors(alone))
    print(json.dumps({"ports": [door.port for door in doors]}), flush=True)
    reactor.run()


def be_agent(binding: bool, gateway: int, target: int) -> None:
    """Hold one stream, and dial the target for who comes."""
    side = Side()

    def asked(told: Asked, request: Request) -> None:
        sock = socket.create_connection(("127.0.0.1", target))
        side.join(request.accept(), PlainEnd(side.lease(sock)))

    sock = socket.create_connection(("127.0.0.1", gateway))
    connection = side.secure(sock, SSL.Context(SSL.TLS_CLIENT_METHOD), server=False)
    session = open_session(connection, binding)
    AgentStream(side.lease(sock), session, asked=asked, **side.common())
    print("{}", flush=True)
    reactor.run()


def be_target() -> None:
    """Take a first byte: "u" takes a number of MiB, "d" sends it, "e" echoes."""
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"ports": [listening.getsockname()[1]]}), flush=True)
    into = bytearray(1 << 20)
    while True:
        with listening.accept()[0] as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            word = sock.recv(1)
            if word == b"e":
                sock.sendall(word)
                sock.recv(1)
            elif word == b"d":
                for _ in range(int(sock.recv(8))):
                    sock.sendall(BLOCK)
            elif word == b"u":
                left = int(sock.recv(8)) << 20
                while left and (got := sock.recv_into(into)):
                    left -= got
                sock.sendall(b"." if not left else b"!")


class Child:
    """One of the processes above."""

    def __init__(self, cores: set[int], *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.tunnel", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.told = self.read()

    def read(self) -> Any:
        """Its next line."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE_SECONDS)[0]:
            raise SystemExit("a child is silent")
        return json.loads(self.process.stdout.readline())

    def ask(self) -> Any:
        """CPU seconds so far, and what has been opened since the last time."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"?")
        self.process.stdin.flush()
        return self.read()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)


def carry(port: int, way: bytes, mib: int) -> None:
    """Send *mib* MiB through, or have them sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    with context.wrap_socket(raw) as client:
        client.sendall(way + b"%08d" % mib)
        if way == b"u":
            for _ in range(mib):
                client.sendall(BLOCK)
            whole = client.recv(1) == b"."
        else:
            into, left = bytearray(262_144), mib << 20
            while left and (got := client.recv_into(into)):
                left -= got
            whole = not left
    if not whole:
        raise SystemExit("it was cut")


def echo(port: int) -> None:
    """One byte there and back."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as client:
        client.sendall(b"e")
        if client.recv(1) != b"e":
            raise SystemExit("no echo")


def measure(rounds: int, mib: int, opens: int, binding: bool) -> str:
    """Run all of it; the table."""
    cores = sorted(os.sched_getaffinity(0))
    ours, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    os.sched_setaffinity(0, others)
    flag = "binding" if binding else "public"
    children = [Child(others, "target")]
    try:
        target = children[0].told["ports"][0]
        children.append(Child(ours, "gateway", flag, str(target)))
        streams, plain, secure, alone = children[1].told["ports"]
        children.append(Child(ours, "agent", flag, str(streams), str(target)))
        gateway, agent = children[1:]
        lines = [("what", "median", "lowest", "highest", "unit")]
        for port, what in ((alone, "gateway alone"), (secure, "one stream")):
            for way, name in ((b"d", "to the client"), (b"u", "to the target")):
                rates = []
                for _ in range(rounds):
                    before = gateway.ask()["cpu"] + agent.ask()["cpu"]
                    carry(port, way, mib)
                    rates.append(mib / (gateway.ask()["cpu"] + agent.ask()["cpu"] - before))
                lines.append(_line(f"{what}, {name}", rates, "MiB a CPU second of both"))
        gateway.ask()
        waits, spent = [], []
        for _ in range(rounds):
            before = gateway.ask()["cpu"] + agent.ask()["cpu"]
            for _ in range(opens):
                echo(plain)
            told = gateway.ask()
            spent.append((told["cpu"] + agent.ask()["cpu"] - before) / opens * 1e3)
            waits.append(statistics.median(told["opened"]) * 1e3)
        lines.append(_line("request to end, p50", waits, "ms"))
        lines.append(_line("a client of one byte", spent, "CPU ms of both"))
    finally:
        for child in children:
            child.stop()
    return table(lines)


def _line(name: str, values: list[float], unit: str) -> tuple[str, str, str, str, str]:
    middle = statistics.median(values)
    return (name, number(middle), number(min(values)), number(max(values)), unit)


def main() -> None:
    """Be one of the children, or run the bench."""
    match sys.argv[1:]:
        case ["gateway", flag, target]:
            be_gateway(flag == "binding", int(target))
        case ["agent", flag, gateway, target]:
            be_agent(flag == "binding", int(gateway), int(target))
        case ["target"]:
            be_target()
        case _:
            parser = argparse.ArgumentParser(prog="python -m tests.bench.tunnel")
            parser.add_argument("--rounds", type=int, default=5)
            parser.add_argument("--mib", type=int, default=256, help="of one round")
            parser.add_argument("--opens", type=int, default=200, help="of one round")
            parser.add_argument("--public", action="store_true", help="without the binding")
            given = parser.parse_args()
            print(measure(given.rounds, given.mib, given.opens, not given.public))


if __name__ == "__main__":
    main()
