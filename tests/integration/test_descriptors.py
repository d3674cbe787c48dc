"""The real daemon when descriptors run out (R06, S48): it waits, answers, and recovers."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from pathlib import Path

from tests.integration.test_signals import EchoCase
from tests.support.child import during, program, sized, until
from tests.support.harness import Gate
from tests.support.ports import free_port

#: What the daemon may open, and how many clients come.
_ALLOWED, _CLIENTS = 256, sized(600, 1000)
_SECONDS = sized(4, 20)

_LIMITS = {
    "limits": {
        "connections": 5000,
        "unauthenticated": 5000,
        "unauthenticated_per_address": 5000,
        "handshakes_per_second_per_address": 5000,
    },
    "timeouts": {"prelude_seconds": 120, "drain_seconds": 1},
}


class ExhaustionTests(EchoCase):
    """More clients than descriptors."""

    def test_s48_waits_and_recovers(self) -> None:
        """It lives, does not spin, keeps its log short, answers operators, and serves again."""
        diag = free_port()
        gate = self.echo_gate(
            proxy=_LIMITS,
            teleport={"diag_addr": f"127.0.0.1:{diag}"},
            before=[program("prlimit", "util-linux"), f"--nofile={_ALLOWED}"],
        )
        held = self.talk(gate)
        port, pid = gate.port(), gate.pid
        crowd = [self._knock(port) for _ in range(_CLIENTS)]
        until(lambda: "accepting waits" in gate.text(), "it says that it waits")
        lines, cpu, since = len(gate.text().splitlines()), _cpu(pid), time.monotonic()
        for _ in during(_SECONDS):
            pass  # nobody asks anything: what it uses now, the silent crowd costs
        self.assertLess((_cpu(pid) - cpu) / (time.monotonic() - since), 0.05)
        for _ in during(_SECONDS):
            # The admin socket and what is open go on from the reserve.
            self.assertTrue(gate.admin("GET", "/v1/status", seconds=5)["ready"])
            self.assertEqual(self._health(diag), 200)
            self.say(held)
        took = time.monotonic() - since
        self.assertLess((len(gate.text().splitlines()) - lines) / took, 10)
        self.assertLess(len(os.listdir(f"/proc/{pid}/fd")), _ALLOWED - 40)
        for one in crowd:
            one.close()
        until(lambda: self._serves(gate), "it serves again", 1)
        self.say(held)

    def _health(self, port: int) -> int:
        """The status of /healthz."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status

    def _knock(self, port: int) -> socket.socket:
        """A client that connects and is silent; the kernel's queue takes it."""
        client = socket.create_connection(("127.0.0.1", port), 10)
        self.addCleanup(client.close)
        return client

    def _serves(self, gate: Gate) -> bool:
        try:
            self.talk(gate).close()
        except OSError:
            return False
        return True


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
