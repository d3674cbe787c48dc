"""`tgctl migration` against a daemon in use: there, back, killed in between."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

from tests.integration.test_tgctl import tgctl
from tests.support.child import until
from tests.support.harness import Gate, GateCase
from tests.support.ports import free_port

SETTLE_SECONDS = 1


class StepsTests(GateCase):
    """One gateway with an auth service, from a v1 file."""

    def begin(self, **auth: object) -> Gate:
        """A daemon with separate ports."""
        keys: dict[str, object] = {"cluster_name": "home", "settle_seconds": SETTLE_SECONDS}
        ports = {"listen_addr": "ssh", "tunnel_listen_addr": "tunnel"}
        proxy = {key: f"127.0.0.1:{free_port()}" for key in ports}
        return self.gate(version="v1", auth={**keys, **auth}, proxy=proxy)

    def again(self, gate: Gate) -> Gate:
        """Another daemon in the folder of one that is dead."""
        made = Gate(gate.folder, gate.file.read_text())
        self.addCleanup(made.stop)
        made.until_ready()
        return made

    def ask(self, gate: Gate, *words: object, code: int = 0) -> Any:
        """Run `tgctl migration`, and give its answer."""
        where = ("-c", gate.file, "--format", "json")
        done = tgctl("migration", *words, *where)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return json.loads(done.stdout) if done.stdout else done.stderr

    def routed(self, gate: Gate) -> bool:
        """What clients are told."""
        with gate.dial() as connection:
            connection.sendall(
                b"GET /webapi/ping HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
            )
            said = b""
            while more := connection.recv(65536):
                said += more
        told: bool = json.loads(said.partition(b"\r\n\r\n")[2])["proxy"]["tls_routing_enabled"]
        return told

    def states(self, gate: Gate) -> list[str]:
        """Of the seven steps."""
        done = tgctl("migration", "status", "-c", gate.file, "--format", "json")
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return [step["state"] for step in json.loads(done.stdout)["steps"]]

    def is_open(self, address: str) -> bool:
        """Whether the SSH port at *address* serves: its banner, and nothing that sends away."""
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.settimeout(5)
            return client.recv(64).startswith(b"SSH-2.0-")

    def test_there_and_back(self) -> None:
        """The mode by the API, the ports by the file; then all of it back, in the safe order."""
        gate = self.begin()
        ssh = gate.address("ssh")
        text = gate.file.read_text()
        until(lambda: self.states(gate)[1] == "go", "go")
        self.assertIn("no-go", self.ask(gate, "step", 7, code=3))
        self.assertEqual(self.ask(gate, "preflight", code=3)["close"], ["ssh", "tunnel"])
        self.assertEqual(self.ask(gate, "step", 2)["result"], "done")
        self.assertTrue(self.routed(gate))
        until(lambda: self.states(gate)[6] == "go", "go")
        self.assertTrue(self.ask(gate, "preflight", "--close", "ssh")["go"])
        # Killed between two steps: what was done stays so.
        gate.send(signal.SIGKILL)
        gate.child.wait()
        gate = self.again(gate)
        until(lambda: self.states(gate)[6] == "go", "go")
        self.assertEqual(self.ask(gate, "step", 7, code=4)["result"], "waits")
        self.assertEqual(gate.file.read_text(), text)
        closed = self.ask(gate, "step", 7, "--write")
        self.assertEqual(closed["result"], "done")
        self.assertEqual(set(self.states(gate)), {"done"})
        self.assertNotIn('"listen_addr"', gate.file.read_text())
        self.assertIn('"version": v2', gate.file.read_text())

        answers = self.ask(gate, "rollback", "--write")
        self.assertEqual([one["result"] for one in answers][:2], ["done", "done"])
        self.assertFalse(self.routed(gate))
        self.assertEqual(gate.address("ssh"), ssh)
        self.assertTrue(self.is_open(ssh))

    def test_by_the_file(self) -> None:
        """Where the file sets the mode, both steps are lines of it."""
        gate = self.begin(proxy_listener_mode="separate")
        until(lambda: self.states(gate)[1] == "go", "go")
        shown = self.ask(gate, "step", 2, code=4)
        self.assertIn("multiplex", "\n".join(shown["shown"]))
        self.assertFalse(self.routed(gate))
        self.assertEqual(self.ask(gate, "step", 2, "--write")["result"], "done")
        self.assertTrue(self.routed(gate))
        answers = self.ask(gate, "rollback", "--write")
        self.assertEqual(answers[0]["result"], "done")
        self.assertFalse(self.routed(gate))
