"""Crowds that never finish what they begin (R05, S16, S50): cheap, short, and harmless."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from typing import Any

from tests.integration.test_reload import ReloadCase
from tests.integration.test_signals import EchoCase
from tests.support.child import sized, until
from tests.support.harness import Gate, drain
from tests.support.ports import free_port
from tests.support.watched import Cost, Crowd, Regular, descriptors, enter, knock

#: The deadline of everything before the handshake's end; 5 s by default.
_PRELUDE = float(sized(3, 5))

_SILENT = sized(1_500, 6_000)
_GARBAGE = sized(300, 1_000)
_STALLED = sized(150, 500)
_HANGING_UP = 200

#: Begins as a ClientHello of 508 bytes, as many that stall do.
_HALF_HELLO = bytes.fromhex("16030101fc010001f80303") + bytes(200)

_SEVEN = b"\x16\x03\x01\x02\x00\x01\x00"

#: What a silent client may cost in the daemon (R05); Twisted's own TLS had 47.
_SILENT_KIB = 4.0

_LIMITS = {
    "connections": 20_000,
    "unauthenticated": 20_000,
    "unauthenticated_per_address": 1_000,
    "handshakes_per_second_per_address": 10_000,
}


class FloodCase(EchoCase):
    """A daemon with an echo, a good client, and a crowd."""

    def flooded(
        self, prelude_seconds: float = _PRELUDE, **proxy: Any
    ) -> tuple[Gate, Crowd, Regular]:
        """Start them; the good client has come before, so that nothing is new any more."""
        timeouts = {"prelude_seconds": prelude_seconds, "drain_seconds": 1}
        gate = self.echo_gate(proxy={"timeouts": timeouts, **proxy})
        crowd, regular = Crowd(), Regular(gate)
        self.addCleanup(crowd.close)
        for _ in range(20):
            regular.come()
        until(lambda: not gate.admin("GET", "/v1/connections"), "the good client has left")
        regular.took.clear()
        return gate, crowd, regular

    def reaped(self, gate: Gate, crowd: Crowd, regular: Regular) -> None:
        """All are sent away by their deadline and a second, while the good client is served."""
        crowd.until_gone(4 * _PRELUDE, regular.often())
        late = [event["seconds"] for event in gate.events(cause="deadline")]
        self.assertLess(max(late), _PRELUDE + 1)
        # Clients count from their own connect, and look now and then.
        self.assertLess(max(crowd.stayed), _PRELUDE + 2)


class SilenceTests(FloodCase):
    """Clients that connect and wait."""

    def test_r05_silent_clients_cost_next_to_nothing(self) -> None:
        """Each costs 4 KiB at most and no CPU, and nothing is left of them."""
        gate, crowd, regular = self.flooded(120, limits=_LIMITS)
        pid, port = gate.pid, gate.port()
        before, open_before = Cost.of(pid), descriptors(pid)
        for number in range(_SILENT):
            crowd.add(knock(port, number))
        until(lambda: descriptors(pid) >= open_before + _SILENT, "all are accepted")
        self.assertLess(before.more_kib() / _SILENT, _SILENT_KIB)
        held = Cost.of(pid)
        until(lambda: time.monotonic() > held.at + 1, "a second has passed")
        self.assertLess(held.cpu_share(), 0.05)
        regular.come()
        crowd.close()
        until(lambda: descriptors(pid) == open_before, "no descriptor is left")
        self.assertEqual(gate.admin("GET", "/v1/connections"), [])

    def test_r05_by_default_an_address_has_its_share(self) -> None:
        """A crowd from one address gets 64 places; all others are served meanwhile."""
        gate, crowd, regular = self.flooded()
        port = gate.port()
        for _ in range(300):
            with contextlib.suppress(ConnectionResetError):  # sent away before it knew
                crowd.add(knock(port, 1))
        until(lambda: crowd.look() <= 64, "the rest is sent away at once", 3)
        self.assertEqual(len(crowd), 64)
        self.reaped(gate, crowd, regular)
        self.assertLess(regular.slowest, 1.0)


class NoiseTests(FloodCase):
    """Clients that send something, and nothing that helps."""

    def test_r05_silence_garbage_and_stalled_hellos_at_once(self) -> None:
        """The good client gets in every time, and quickly; everybody else is gone in time."""
        gate, crowd, regular = self.flooded(limits=_LIMITS)
        port, pid = gate.port(), gate.pid
        open_before = descriptors(pid)
        chance = random.Random(5)
        firsts = (
            [b""] * _SILENT
            + [chance.randbytes(chance.randint(1, 600)) for _ in range(_GARBAGE)]
            + [_HALF_HELLO] * _STALLED
        )
        chance.shuffle(firsts)
        visit = regular.often()
        for number, first in enumerate(firsts):
            crowd.add(knock(port, number, first))
            if not number % 50:
                crowd.look()
                visit()
        self.reaped(gate, crowd, regular)
        self.assertEqual(len(crowd.stayed), len(firsts))
        self.assertGreater(max(crowd.stayed), _PRELUDE - 0.5)
        self.assertGreater(len(regular.took), 10)
        self.assertLess(regular.slowest, 1.0)
        until(lambda: descriptors(pid) == open_before, "no descriptor is left")

    def test_s50_seven_bytes_and_a_fin(self) -> None:
        """A hello that was cut off by its sender's end is dropped at once, and burns no CPU."""
        gate, crowd, regular = self.flooded(limits=_LIMITS)
        port, pid = gate.port(), gate.pid
        open_before = descriptors(pid)
        before = Cost.of(pid)
        for number in range(_HANGING_UP):
            client = knock(port, number, _SEVEN)
            client.shutdown(socket.SHUT_WR)
            crowd.add(client)
        crowd.until_gone(_PRELUDE - 1)
        took = time.monotonic() - before.at
        self.assertLess(before.cpu_share() * took, 1.0)
        until(lambda: descriptors(pid) == open_before, "no descriptor is left", 2)
        regular.come()
        quiet = Cost.of(pid)
        until(lambda: time.monotonic() > quiet.at + 1, "a second has passed")
        self.assertLess(quiet.cpu_share(), 0.1)

    def test_s50_health_checks_are_not_told(self) -> None:
        """Clients that say nothing and go are counted, and fill no log."""
        gate, _, regular = self.flooded(limits=_LIMITS)
        port = gate.port()
        lines = len(gate.events())
        for number in range(_HANGING_UP):
            knock(port, number).close()
        accepted = lambda: gate.admin("GET", "/v1/listeners")[0]["accepted"]  # noqa: E731
        until(lambda: accepted() >= 20 + _HANGING_UP, "all are counted")
        until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")
        self.assertEqual(len(gate.events()), lines)
        regular.come()


class RefusingTests(FloodCase, ReloadCase):
    """A crowd on ports that a reload has closed: they only say where to go."""

    def test_r05_a_crowd_on_closed_ports(self) -> None:
        """Each is told, or gone in time, and costs next to nothing; others notice nothing."""
        ports = {"listen_addr": free_port(), "kube_listen_addr": free_port()}
        keys: dict[str, Any] = {key: f"127.0.0.1:{port}" for key, port in ports.items()}
        gate, crowd, regular = self.flooded(limits=_LIMITS, **keys)
        timeouts = {"prelude_seconds": _PRELUDE, "drain_seconds": 1}
        gate.reload(self.text(gate, proxy={"timeouts": timeouts, "limits": _LIMITS}))
        ssh, kube = ports.values()
        open_before, before = descriptors(gate.pid), Cost.of(gate.pid)
        chance = random.Random(7)
        visit = regular.often()
        firsts = [b""] * 400 + [_HALF_HELLO] * 100 + [chance.randbytes(400) for _ in range(100)]
        # They neither ask nor read, as far as the kernel lets them.
        plain = [knock(port, at, one) for at, one in enumerate(firsts) for port in (ssh, kube)]
        for one in plain:
            self.addCleanup(one.close)
        visit()
        # A request that never ends: a byte of it now and then.
        slow = [enter(knock(kube, number), "http/1.1", None) for number in range(60)]
        for number, client in enumerate(slow):
            client.sendall(b"GET /"[: number % 6])
        self.assertLess(before.more_kib() / (len(plain) + len(slow)), 4 * _SILENT_KIB)
        for held in (*plain, *slow):
            crowd.add(held)

        def dribble() -> None:
            visit()
            for client in slow:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")

        crowd.until_gone(4 * _PRELUDE, dribble)
        # Once for the handshake, once for the request, and as long as it may linger.
        self.assertLess(max(crowd.stayed), 2 * _PRELUDE + 4)
        self.assertLess(regular.slowest, 1.0)
        until(lambda: descriptors(gate.pid) == open_before, "no descriptor is left")
        self.assertLess(before.more_kib(), 8192)
        with socket.create_connection(("127.0.0.1", ssh), 10) as late:
            late.sendall(b"SSH-2.0-x\r\n")
            self.assertIn(b"this port is closed", drain(late))
