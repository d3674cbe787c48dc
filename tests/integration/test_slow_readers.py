"""Peers that take nothing of what is sent to them (R12, S49): bounded, alone, and cut off."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.child import sized, until
from tests.support.echo import Echo, Target
from tests.support.harness import Gate, GateCase, receive, route
from tests.support.watched import Cost, Regular, descriptors, enter, knock

_PAIRS = sized(200, 1_000)

#: What the daemon may hold for a pair (R12).
_PAIR_KIB = 256

#: What the kernel holds on each socket of ours; the daemon's own it chooses itself.
_BUFFER = 32 * 1024

#: Visits of a good client, before and meanwhile.
_VISITS = 30

_BLOCK = bytes(1 << 16)


class Spring(Target):
    """Sends without end, and reads nothing."""

    def serve(self, connection: socket.socket) -> None:
        """Send until the connection breaks."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        while True:
            connection.sendall(_BLOCK)


class Wall(Target):
    """Takes connections, and reads nothing from them."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        """Hold it until the test is over."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.over.wait()

    def stop(self) -> None:
        """Let all go."""
        self.over.set()
        super().stop()


class Talker(Target):
    """Sends without end, and reads all that comes."""

    def serve(self, connection: socket.socket) -> None:
        """Send until the connection breaks, and read beside it."""
        threading.Thread(target=self._read, args=(connection,), daemon=True).start()
        while True:
            connection.sendall(_BLOCK)

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                pass


class SlowCase(GateCase):
    """One daemon with an echo, a spring, a wall and a talker."""

    def slow_gate(self, stall_seconds: float) -> Gate:
        """Start them."""
        self.wall = Wall()
        targets = {"echo": Echo(), "spring": Spring(), "wall": self.wall, "talk": Talker()}
        routes = [
            route(name, alpn=[name], target=self.serve(target).endpoint)
            for name, target in targets.items()
        ]
        timeouts = {"write_stall_seconds": stall_seconds, "drain_seconds": 1}
        gate = self.gate(routes=routes, proxy={"timeouts": timeouts})
        for _ in range(5):
            Regular(gate).come()
        until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")
        return gate

    def dial(self, port: int, number: int, name: str) -> ssl.SSLSocket:
        """Client *number* of a crowd, small in the kernel."""
        client = enter(knock(port, number, receive_bytes=_BUFFER), name)
        self.addCleanup(client.close)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        client.setblocking(False)
        return client

    def carried(self, gate: Gate, name: str) -> list[int]:
        """Bytes read for each connection of a route, both ways."""
        return [
            one["to_client"] + one["to_target"]
            for one in gate.admin("GET", "/v1/connections")
            if one["route"] == name
        ]

    def until_still(self, gate: Gate, name: str, push: Callable[[], object] = int) -> int:
        """Wait until no pair of a route has moved a byte for half a second; give the sum."""
        last, since = -1, time.monotonic()

        def still() -> bool:
            nonlocal last, since
            push()
            now = sum(self.carried(gate, name))
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() > since + 0.5

        gate.child.until(still, "the fast side stops", 60)
        return last


class BoundedTests(SlowCase):
    """What slow peers may cost."""

    def check(self, name: str, fill: Callable[[ssl.SSLSocket], Any]) -> None:
        """Make `_PAIRS` slow pairs; look at memory, CPU and a good client."""
        gate = self.slow_gate(3600)
        pid, port = gate.pid, gate.port()
        quiet = Regular(gate)
        for _ in range(_VISITS):
            quiet.come()
        until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")
        before, open_before = Cost.of(pid), descriptors(pid)
        crowd = [self.dial(port, number, name) for number in range(_PAIRS)]
        self.until_still(gate, name, lambda: [fill(one) for one in crowd])
        self.assertEqual(len(self.carried(gate, name)), _PAIRS)
        self.assertLess(before.more_kib() / _PAIRS, _PAIR_KIB)
        held, busy = Cost.of(pid), Regular(gate)
        for _ in range(_VISITS):
            busy.come()
        # Waiting for them costs nothing that the good client would notice.
        self.assertLess(busy.usual, 1.5 * quiet.usual + 0.02)
        self.assertLess(busy.slowest, 1.0)
        self.assertLess(held.more_kib(), 1024)
        idle = Cost.of(pid)
        until(lambda: time.monotonic() > idle.at + 1, "a second has passed")
        self.assertLess(idle.cpu_share(), 0.05)
        for one in crowd:
            one.close()
        self.wall.over.set()
        until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")
        until(lambda: descriptors(pid) == open_before, "no descriptor is left")

    def test_r12_clients_that_never_read(self) -> None:
        """Targets that send without end stop within a buffer; nobody else notices."""
        self.check("spring", _nothing)

    def test_r12_targets_that_never_read(self) -> None:
        """Clients that send without end stop within a buffer; nobody else notices."""
        self.check("wall", _push)


class CutOffTests(SlowCase):
    """How slow peers end."""

    def test_r12_the_write_stall_timer_ends_them(self) -> None:
        """Clients and targets that take nothing for `write_stall_seconds` are cut off."""
        gate = self.slow_gate(3.0)
        pid, port = gate.pid, gate.port()
        open_before = descriptors(pid)
        # One that reads a little now and then stays.
        slow = self.dial(port, 0, "spring")
        numbers = range(1, 11)
        for number in numbers:
            self.dial(port, number, "spring")
        pushing = [self.dial(port, number, "wall") for number in numbers]
        ends = lambda: gate.events(event="connection.end", cause="write_stall")  # noqa: E731

        def twenty() -> bool:
            _sip(slow)
            for one in pushing:
                with contextlib.suppress(OSError):  # cut off
                    _push(one)
            return len(ends()) == 20

        gate.child.until(twenty, "all are cut off")
        self.assertEqual({end["route"] for end in ends()}, {"spring", "wall"})
        for end in ends():
            self.assertGreaterEqual(end["seconds"], 3.0)
            # Before, the kernel's buffers fill.
            self.assertLess(end["seconds"], 15.0)
        self.assertEqual(len(self.carried(gate, "spring")), 1)
        self.assertTrue(_sip(slow))
        slow.close()
        until(lambda: descriptors(pid) == open_before, "no descriptor is left")

    def test_r12_one_direction_does_not_excuse_the_other(self) -> None:
        """A client that goes on sending is cut off all the same when it takes nothing."""
        gate = self.slow_gate(2.0)
        with gate.dial(alpn=["echo"], cert="alice") as healthy:
            talker = self.dial(gate.port(), 1, "talk")

            def over() -> bool:
                healthy.sendall(b"!")
                self.assertEqual(receive(healthy, 1), b"!")
                try:
                    talker.send(b"!")
                except ssl.SSLWantWriteError:
                    pass
                except OSError:
                    return True
                return False

            gate.child.until(over, "it is cut off", 15)
        self.assertEqual(gate.event(route="talk")["cause"], "write_stall")


def _nothing(client: ssl.SSLSocket) -> None:
    """Leave it alone."""


def _push(client: ssl.SSLSocket) -> None:
    """Send until the socket takes no more."""
    try:
        while client.send(_BLOCK):
            pass
    except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
        pass


def _sip(client: ssl.SSLSocket) -> int:
    """Take a little; gives how much."""
    try:
        return len(client.recv(4096))
    except ssl.SSLWantReadError:
        return 0
