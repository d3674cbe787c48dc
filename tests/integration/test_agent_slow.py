"""Through a tunnel: ends of one direction (R11), and peers that take nothing (R12)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import time
from collections.abc import Callable
from functools import partial

from OpenSSL import SSL

from tests.integration.test_slow_readers import Spring, Wall
from tests.support.agent import AgentCase
from tests.support.bulk import Bulk, BulkClient, whole
from tests.support.child import sized, until
from tests.support.connects import connect, words
from tests.support.echo import Echo, Target
from tests.support.harness import CLIENT_SECONDS, Gate
from tests.support.watched import Cost

_BULK = sized(32 << 20, 64 << 20)
_LITTLE = 1_000_000
_SIZES = (262_144, 65_537)

_PAIRS = sized(60, 500)
#: What either daemon may hold for a pair (R12).
_PAIR_KIB = 256
_VISITS = 30
#: What the kernel holds on each socket of ours.
_BUFFER = 32 * 1024
_STALL_SECONDS = 3.0
_BLOCK = bytes(1 << 16)

_LIMITS = {
    "unauthenticated_per_address": 10_000,
    "handshakes_per_second_per_address": 10_000,
}


class NodeCase(AgentCase):
    """One agent with several targets, and alice."""

    def begin(self, stall_seconds: float, **targets: Target) -> None:
        """Start a cluster, an agent and its targets."""
        self.ports = {name: self.serve(one).port for name, one in targets.items()}
        timeouts = {"write_stall_seconds": stall_seconds, "drain_seconds": 1}
        self.hub = self.cluster(proxy={"limits": _LIMITS, "timeouts": timeouts})
        addresses = [f"127.0.0.1:{port}" for port in self.ports.values()]
        self.node = self.agent(self.hub, ssh={"targets": addresses}, timeouts=timeouts)
        self.add_user(self.hub, "alice")
        self.alice = self.sign(self.hub, "alice")

    def connect(self, name: str, *, buffer: int | None = None) -> ssl.SSLSocket:
        """A client of the target *name*; *buffer*: of the kernel's, either way."""
        raw = socket.socket()
        if buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        raw.settimeout(CLIENT_SECONDS)
        raw.connect(("127.0.0.1", self.web_port))
        context = self.alice.context("tlsgate-ssh")
        made = connect(raw, context, f"db1:{self.ports[name]}")
        self.addCleanup(made.close)
        return made

    def carried(self) -> list[int]:
        """Bytes of each client's connection, both ways."""
        return [
            one["to_client"] + one["to_target"]
            for one in self.hub.admin("GET", "/v1/connections")
            if one["route"] == "ssh"
        ]


class HalfCloseTests(NodeCase):
    """R11 over the tunnel: one direction ends long before the other."""

    def exchange(self, name: str, up: int, *, after_target: bool = False) -> str:
        """Exchange volumes with a target; gives what came of it."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate_chain_file(str(self.alice.cert))
        context.use_privatekey_file(str(self.alice.key))
        context.load_verify_locations(str(self.alice.cas))
        context.set_verify(SSL.VERIFY_PEER)
        raw = socket.create_connection(("127.0.0.1", self.web_port), CLIENT_SECONDS)
        client = BulkClient(raw, alpn="tlsgate-ssh", context=context)
        self.addCleanup(client.close)
        head = client.ask(words(f"db1:{self.ports[name]}"), b"\r\n\r\n")
        self.assertIn(b" 200 ", head)
        return str(client.exchange(up, _SIZES, after_target=after_target))

    def test_r11_through_a_tunnel(self) -> None:
        """A client, or a target, that has said all still gets everything; streams go on."""
        answers = Bulk(_BULK, _SIZES, after_client=True)
        greets = Bulk(_LITTLE, _SIZES)
        silent = Bulk(0, (1,), after_client=True)
        self.begin(60.0, answers=answers, greets=greets, silent=silent)
        for turn in range(2):
            self.assertEqual(self.exchange("answers", _LITTLE), whole(_BULK))
            down = self.exchange("greets", _BULK, after_target=True)
            self.assertEqual(down, whole(_LITTLE))
            self.assertEqual(self.exchange("silent", 0), whole(0))
            for target, count in ((answers, _LITTLE), (greets, _BULK), (silent, 0)):
                seen = target.seen[turn]
                until(partial(getattr, seen, "ended"), "the target sees the end")
                self.assertEqual(str(seen), whole(count))
        until(lambda: not self.carried(), "all have ended")


class SlowTests(NodeCase):
    """R12 over the tunnel: who takes nothing costs a bound, costs nobody else, and is cut."""

    def visit(self) -> float:
        """A good client: connect, have a byte echoed; gives the seconds."""
        began = time.monotonic()
        with self.connect("echo") as client:
            client.sendall(b"!")
            self.assertEqual(client.recv(1), b"!")
        return time.monotonic() - began

    def check(self, name: str, push: Callable[[ssl.SSLSocket], object]) -> None:
        """Make slow pairs; look at both daemons, and at a good client."""
        wall = Wall()
        self.begin(3600.0, echo=Echo(), spring=Spring(), wall=wall)
        daemons: dict[str, Gate] = {"gateway": self.hub, "agent": self.node}
        quiet = sorted(self.visit() for _ in range(_VISITS))
        before = {word: Cost.of(one.pid) for word, one in daemons.items()}
        crowd = [self.connect(name, buffer=_BUFFER) for _ in range(_PAIRS)]
        for one in crowd:
            one.setblocking(False)
        self.until_still(lambda: [push(one) for one in crowd])
        self.assertEqual(len(self.carried()), _PAIRS)
        grown = {word: cost.more_kib() / _PAIRS for word, cost in before.items()}
        busy = sorted(self.visit() for _ in range(_VISITS))
        told = (
            f"{_PAIRS} of {name}: "
            + ", ".join(f"{word} {kib:.0f} KiB a pair" for word, kib in grown.items())
            + f"; a visit takes {statistics.median(busy) * 1000:.1f} ms, without them "
            f"{statistics.median(quiet) * 1000:.1f} ms"
        )
        print(told)
        self.assertLess(max(grown.values()), _PAIR_KIB, told)
        self.assertLess(statistics.median(busy), 1.5 * statistics.median(quiet) + 0.02, told)
        self.assertLess(busy[-1], 1.0, told)
        for one in crowd:
            one.close()
        wall.over.set()
        until(lambda: not self.carried(), "all have left")

    def until_still(self, push: Callable[[], object]) -> None:
        """Wait until no pair has moved a byte for half a second."""
        last, since = -1, time.monotonic()

        def still() -> bool:
            nonlocal last, since
            push()
            now = sum(self.carried())
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() > since + 0.5

        until(still, "the fast side stops", 60)

    def test_r12_clients_that_never_read(self) -> None:
        """Targets that send without end stop within buffers; nobody else notices."""
        self.check("spring", lambda client: None)

    def test_r12_targets_that_never_read(self) -> None:
        """Clients that send without end stop within buffers; nobody else notices."""
        self.check("wall", _push)

    def test_r12_they_are_cut_off(self) -> None:
        """After `write_stall_seconds` either kind has gone, from agent and gateway."""
        self.begin(_STALL_SECONDS, echo=Echo(), spring=Spring(), wall=Wall())
        crowd = [self.connect("spring", buffer=_BUFFER) for _ in range(5)]
        pushing = [self.connect("wall", buffer=_BUFFER) for _ in range(5)]
        for one in pushing:
            one.setblocking(False)
        count = len(crowd) + len(pushing)

        def ends() -> list[object]:
            found = self.hub.events(event="connection.end", route="ssh")
            return [one["cause"] for one in found if one["cause"] != "client_ended"]

        def cut() -> bool:
            for one in pushing:
                with contextlib.suppress(OSError):
                    _push(one)
            return len(ends()) == count

        self.hub.child.until(cut, "all are cut off", 30)
        # Whichever daemon's timer was first; the other one hears of the reset.
        self.assertLessEqual(set(ends()), {"write_stall", "target_reset"})
        self.assertIn("write_stall", ends())
        # It learns of a client's end while it writes, or by its own timer.
        until(lambda: not self.node.admin("GET", "/v1/connections"), "the agent, too", 15)
        self.visit()


def _push(client: ssl.SSLSocket) -> None:
    """Send until the socket takes no more."""
    with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
        while client.send(_BLOCK):
            pass
