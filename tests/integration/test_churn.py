"""Thousands of connections that end in every way, and nothing that stays of them (R02)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from tests.support.child import sized, until
from tests.support.echo import Echo, Target
from tests.support.harness import ROOT, Gate, GateCase, drain, receive, route
from tests.support.ports import free_port
from tests.support.watched import descriptors, enter, hang_up_hard, knock, memory_kib, opening

_WAVES = 10
_WAVE = sized(300, 2_000)

#: Clients at a time; a good part of what they do is the same process's work.
_AT_ONCE = 8

_LIMITS = {
    "unauthenticated_per_address": 1_000,
    "handshakes_per_second_per_address": 10_000,
}

#: Runs in the daemon before anything else: on SIGUSR1 it writes which objects of ours live.
_CENSUS = """
import collections, gc, json, os, signal
def count(*_):
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    kept = collections.Counter(
        f"{kind.__module__}.{kind.__name__}" for kind in kinds
        if kind.__module__.startswith(("tlsgate.net", "tlsgate.tls", "OpenSSL.SSL"))
    )
    with open(PATH + ".new", "w") as file:
        json.dump(kept, file)
    os.replace(PATH + ".new", PATH)
signal.signal(signal.SIGUSR1, count)
"""


class Breaking(Target):
    """Resets each connection after its first bytes."""

    def serve(self, connection: socket.socket) -> None:
        """Read something, and reset."""
        connection.recv(1 << 16)
        hang_up_hard(connection)


class ChurnTests(GateCase):
    """One daemon, and waves of clients."""

    def setUp(self) -> None:
        """Start the daemon, which can tell its objects."""
        folder = self.folder()
        self.census = folder / "census.json"
        (folder / "sitecustomize.py").write_text(f"PATH = {str(self.census)!r}\n{_CENSUS}")
        self.diag = free_port()
        targets = {"echo": self.serve(Echo()), "breaking": self.serve(Breaking())}
        self.churned = self.gate(
            routes=[route(name, alpn=[name], target=one.endpoint) for name, one in targets.items()],
            proxy={"limits": _LIMITS, "timeouts": {"drain_seconds": 1}},
            teleport={"diag_addr": f"127.0.0.1:{self.diag}"},
            env={"PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))},
        )
        self.port = self.churned.port()

    def test_r02_back_to_zero(self) -> None:
        """Descriptors, objects and gauges are as before, memory too, and the counters add up."""
        gate = self.churned
        pid = gate.pid
        for _ in range(2):
            self.wave(gate)
        before, memory = self.left(gate), memory_kib(pid)
        for _ in range(_WAVES - 2):
            self.wave(gate)
        self.assertEqual(self.left(gate), before)
        self.assertLess(memory_kib(pid), 1.05 * memory)
        made = _WAVES * _WAVE
        accepted = self.metric("tlsgate_accepted_connections_total")
        refused = self.metric("tlsgate_refused_connections_total")
        # What was neither refused nor carried to its end would be missing here.
        ended = len(gate.events(event="connection.end"))
        self.assertEqual((accepted, refused + ended), (made, made))
        self.assertEqual(self.metric("tlsgate_active_connections"), 0)

    def wave(self, gate: Gate) -> None:
        """`_WAVE` clients of all kinds, some at a time; all have left afterwards."""
        kinds = [self.clean, self.reset, self.silent, self.half_hello, self.whole_hello]
        kinds += [self.broken_target, self.no_certificate]
        order = [kinds[number % len(kinds)] for number in range(_WAVE)]
        random.Random(_WAVE).shuffle(order)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for future in [pool.submit(kind, at) for at, kind in enumerate(order)]:
                future.result()
        gate.child.until(lambda: not gate.admin("GET", "/v1/connections"), "all have left")

    def left(self, gate: Gate) -> tuple[int, dict[str, int]]:
        """How many descriptors are open, and which objects live."""
        self.census.unlink(missing_ok=True)
        gate.send(signal.SIGUSR1)
        until(self.census.exists, "the daemon counts its objects")
        return descriptors(gate.pid), json.loads(self.census.read_text())

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.diag, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.M))

    # -- clients of all kinds ------------------------------------------------------

    def clean(self, number: int) -> None:
        """Come, be served, end in order."""
        with enter(knock(self.port, number), "echo") as client:
            client.sendall(b"ping")
            self.assertEqual(receive(client, 4), b"ping")
            with contextlib.suppress(OSError):
                client.unwrap().close()

    def reset(self, number: int) -> None:
        """Come, be served, reset."""
        client = enter(knock(self.port, number), "echo")
        client.sendall(b"ping")
        self.assertEqual(receive(client, 4), b"ping")
        hang_up_hard(client)

    def silent(self, number: int) -> None:
        """Go without a word."""
        knock(self.port, number).close()

    def half_hello(self, number: int) -> None:
        """Go in the middle of the hello, half of them with a reset."""
        client = knock(self.port, number, opening("echo")[:150])
        if number % 2:
            hang_up_hard(client)
        client.close()

    def whole_hello(self, number: int) -> None:
        """Go in the middle of the handshake, half of them with a reset."""
        client = knock(self.port, number, opening("echo"))
        if number % 2:
            hang_up_hard(client)
        client.close()

    def broken_target(self, number: int) -> None:
        """Be served by a target that breaks."""
        client = enter(knock(self.port, number), "breaking")
        with client, contextlib.suppress(OSError):
            client.sendall(b"ping")
            drain(client)

    def no_certificate(self, number: int) -> None:
        """Come without a certificate, and be refused."""
        client = enter(knock(self.port, number), "echo", None)
        with client:
            self.assertRaises(OSError, drain, client)
