"""A target that comes and goes in every bad way, and then is back (R13)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from typing import Self

from tests.support.certs import pki
from tests.support.child import sized
from tests.support.echo import Target
from tests.support.harness import Gate, GateCase, receive, route
from tests.support.ports import free_port
from tests.support.watched import close_all, descriptors, enter, hang_up_hard, knock

#: Connections in each bad state.
_EACH = sized(80, 12_000)

#: Clients that a target keeps hanging at a time: each costs the test a thread.
_HANGING = 40

_WAITS = {"close_seconds": 1.0, "dial_seconds": 1.0, "drain_seconds": 1.0}

_LIMITS = {"handshakes_per_second_per_address": 5_000}


class Fickle(Target):
    """Listens on a given port, and does there what its mood is."""

    def __init__(self, port: int, mood: str) -> None:
        super().__init__()
        self._at = port
        self._mood = mood
        self._over = threading.Event()

    def start(self) -> Self:
        """Listen."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self._at))
        self._socket.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def serve(self, connection: socket.socket) -> None:
        """Echo; or reset, at once or after a byte; or read, and never answer."""
        if self._mood == "echo":
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        elif self._mood == "hang":
            while connection.recv(1 << 16):
                pass
            self._over.wait()
        else:
            if self._mood == "byte":
                connection.sendall(b"x")
            hang_up_hard(connection)

    def stop(self) -> None:
        """Close the port and every connection."""
        self._over.set()
        super().stop()


class FlappingTests(GateCase):
    """One daemon, whose only target flaps."""

    def setUp(self) -> None:
        """Start the daemon; nobody listens at its target yet."""
        self.target_port = free_port()
        ca = pki().file("ca.pem")
        plain, under_tls = f"tcp:127.0.0.1:{self.target_port}", f"tls:127.0.0.1:{self.target_port}"
        self.flapping = self.gate(
            routes=[
                route("plain", alpn=["plain"], target=plain),
                route("tls", alpn=["tls"], target=f"{under_tls}:trustRoots={ca}"),
            ],
            proxy={"timeouts": _WAITS, "limits": _LIMITS},
        )
        self.port = self.flapping.port()
        self.until_empty(self.flapping)
        self.before = descriptors(self.flapping.pid)

    def until_empty(self, gate: Gate) -> None:
        """Wait until no connection is open."""
        gate.child.until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")

    def visit(self, number: int, alpn: str = "plain") -> bytes:
        """Say four bytes; gives what comes back, up to as many."""
        client = enter(knock(self.port, number), alpn)
        with client, contextlib.suppress(OSError):
            client.sendall(b"ping")
            return receive(client, 4)
        return b""

    def leave(self, number: int) -> socket.socket:
        """Say four bytes, and end our direction; the other one is still there."""
        client = enter(knock(self.port, number), "plain")
        client.sendall(b"ping")
        client.shutdown(socket.SHUT_WR)
        return client

    def recovers(self, count: int, *causes: str) -> None:
        """All that went wrong has its reason; then the first ten visits succeed."""
        gate = self.flapping
        self.until_empty(gate)
        gate.child.until(lambda: sum(self.causes().values()) == count, "all are told")
        self.assertLessEqual(set(self.causes()), set(causes))
        with Fickle(self.target_port, "echo"):
            self.assertEqual([self.visit(number) for number in range(10)], [b"ping"] * 10)
            self.until_empty(gate)
            gate.child.until(lambda: descriptors(gate.pid) == self.before, "nothing is left")

    def causes(self) -> Counter[str]:
        """How often connections ended for which reason."""
        return Counter(str(event["cause"]) for event in self.flapping.events() if "cause" in event)

    def test_r13_down(self) -> None:
        """While nobody listens, clients are told so at once."""
        for number in range(_EACH):
            self.assertEqual(self.visit(number), b"")
        self.recovers(_EACH, "target_refused")

    def test_r13_accepts_and_resets(self) -> None:
        """A target that resets each connection ends the client's as well."""
        with Fickle(self.target_port, "reset"):
            for number in range(_EACH):
                self.assertEqual(self.visit(number), b"")
        # Some resets come before the dialler has looked.
        self.recovers(_EACH, "target_reset", "target_refused")

    def test_r13_says_a_byte_and_resets(self) -> None:
        """A target that resets after a byte is told apart from one that ended."""
        with Fickle(self.target_port, "byte"):
            for number in range(_EACH):
                self.assertIn(self.visit(number), (b"", b"x"))
        # Some resets come before the dialler has looked.
        self.recovers(_EACH, "target_reset", "target_refused")

    def test_r13_accepts_and_hangs(self) -> None:
        """When a client has gone, a target that never answers is left after the close timer."""
        with Fickle(self.target_port, "hang"):
            for first in range(0, _EACH, _HANGING):
                left = [self.leave(first + more) for more in range(_HANGING)]
                self.until_empty(self.flapping)
                close_all(left)
        self.recovers(_EACH, "close_timer")

    def test_r13_hangs_in_its_handshake(self) -> None:
        """A TLS target that accepts and says nothing is given up after `dial_seconds`."""
        with Fickle(self.target_port, "hang"):
            for number in range(3):
                self.assertEqual(self.visit(number, "tls"), b"")
        self.recovers(3, "target_silent")
