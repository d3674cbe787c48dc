"""The harness itself: a daemon comes up, serves, shows its log, and is ended by its pid."""

from __future__ import annotations

import ssl
import threading
import unittest

from tests.support.child import NotInTime, alive
from tests.support.echo import Echo
from tests.support.harness import GateCase, receive
from tests.support.ports import listening_ports


class HarnessTests(GateCase):
    """Tests for `Gate` and `GateCase`."""

    def test_a_route_carries_bytes_both_ways(self) -> None:
        """A client with alice's certificate reaches the echo through the token's route."""
        echo = self.serve(Echo())
        route = {"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}
        gate = self.gate(routes=[route])
        with gate.dial(alpn=["demo-echo"], cert="alice") as client:
            self.assertEqual(client.selected_alpn_protocol(), "demo-echo")
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")
        self.assertEqual(gate.event(route="echo")["identity"], "alice")

    def test_ports_are_asked_of_the_daemon(self) -> None:
        """Port 0 is found out by name, and the kernel says the same."""
        own = {"listen_addr": "127.0.0.1:0", "tunnel_listen_addr": "127.0.0.1:0"}
        gate = self.gate(version="v1", proxy=own)
        self.assertIn(gate.port("web"), listening_ports(gate.pid))
        self.assertIn(gate.port("ssh"), listening_ports(gate.pid))
        self.assertRaises(AssertionError, gate.port, "nonsense")

    def test_sigterm_ends_it_well(self) -> None:
        """`stop` is what an operator does; the exit code is 0 and nothing is left."""
        gate = self.gate()
        pid = gate.pid
        self.assertEqual(gate.stop(), 0)
        self.assertFalse(alive(pid))
        self.assertEqual(gate.bugs(), [])

    def test_a_daemon_that_does_not_start_says_why(self) -> None:
        """The failure of a test has the end of the log."""
        error = self.assertRaises(NotInTime, self.gate, text="version: v9\n")
        self.assertIn("tlsgate.yaml:1", str(error))

    def test_a_client_checks_the_gateway(self) -> None:
        """`dial` verifies chain and name, so no test passes against another server."""
        gate = self.gate()
        self.assertRaises(ssl.SSLCertVerificationError, gate.dial, trust="other-ca.pem")
        self.assertRaises(ssl.SSLCertVerificationError, gate.dial, name="elsewhere.test")

    def test_a_test_that_hangs_is_ended(self) -> None:
        """The alarm interrupts a call that would block for ever, and the test fails."""

        class Hanging(GateCase):
            limit_seconds = 1

            def test_hangs(self) -> None:
                """Waits for what never comes."""
                threading.Event().wait()

        result = unittest.TestResult()
        Hanging("test_hangs").run(result)
        ((_, text),) = result.errors + result.failures
        self.assertIn("test_hangs has not ended within 1 s", text)
