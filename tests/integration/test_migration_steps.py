"""`tgctl migration` against a daemon in use: there, back, killed in between."""

from __future__ import annotations

import json
import signal
import socket
import time
from typing import Any

import yaml

from tests.integration.test_separate import SeparateCase
from tests.integration.test_tgctl import tgctl
from tests.support.child import during, until
from tests.support.harness import Gate, GateCase
from tests.support.ports import free_port

SETTLE_SECONDS = 1
NETWORKING = "/v1/resources/cluster_networking_config/cluster-networking-config"


class MigrationCase(GateCase):
    """Tests that ask `tgctl migration`."""

    def take(self, gate: Gate, *words: object, code: int = 0) -> Any:
        """Run `tgctl migration`, and give its answer."""
        where = ("-c", gate.file, "--format", "json")
        done = tgctl("migration", *words, *where)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return json.loads(done.stdout) if done.stdout else done.stderr


class StepsTests(MigrationCase):
    """One gateway with an auth service, from a v1 file."""

    def begin(self, **auth: object) -> Gate:
        """A daemon with separate ports."""
        keys: dict[str, object] = {"cluster_name": "home", "settle_seconds": SETTLE_SECONDS}
        ports = {"listen_addr": "ssh", "tunnel_listen_addr": "tunnel"}
        proxy: dict[str, object] = {key: f"127.0.0.1:{free_port()}" for key in ports}
        proxy["ssh_public_addr"] = ["gw.test:3023", "gw2.test:3023"]
        return self.gate(version="v1", auth={**keys, **auth}, proxy=proxy)

    def again(self, gate: Gate) -> Gate:
        """Another daemon in the folder of one that is dead."""
        made = Gate(gate.folder, gate.file.read_text())
        self.addCleanup(made.stop)
        made.until_ready()
        return made

    def routed(self, gate: Gate, document: str = "ping") -> bool:
        """What clients are told by one of the two documents."""
        with gate.dial() as connection:
            head = f"GET /webapi/{document} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
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
        self.assertIn("no-go", self.take(gate, "step", 7, code=3))
        self.assertEqual(self.take(gate, "preflight", code=3)["close"], ["ssh", "tunnel"])
        self.assertEqual(self.take(gate, "step", 2)["result"], "done")
        self.assertTrue(self.routed(gate))
        until(lambda: self.states(gate)[6] == "go", "go")
        self.assertTrue(self.take(gate, "preflight", "--close", "ssh")["go"])
        # Killed between two steps: what was done stays so.
        gate.send(signal.SIGKILL)
        gate.child.wait()
        gate = self.again(gate)
        for _ in during(SETTLE_SECONDS):
            pass  # what it had kept may be from before step 2, and be told for a moment
        until(lambda: self.states(gate)[6] == "go", "go")
        self.assertEqual(self.take(gate, "step", 7, code=4)["result"], "waits")
        self.assertEqual(gate.file.read_text(), text)
        closed = self.take(gate, "step", 7, "--write")
        self.assertEqual(closed["result"], "done")
        self.assertEqual(set(self.states(gate)), {"done"})
        self.assertNotIn('"listen_addr"', gate.file.read_text())
        self.assertNotIn("ssh_public_addr", gate.file.read_text())
        self.assertIn('"version": v2', gate.file.read_text())

        answers = self.take(gate, "rollback", "--write")
        self.assertEqual([one["result"] for one in answers][:2], ["done", "done"])
        self.assertFalse(self.routed(gate))
        self.assertEqual(gate.address("ssh"), ssh)
        self.assertTrue(self.is_open(ssh))
        before, after = yaml.safe_load(text), yaml.safe_load(gate.file.read_text())
        self.assertEqual(after["proxy_service"], before["proxy_service"])

    def test_by_the_file(self) -> None:
        """Where the file sets the mode, both steps are lines of it."""
        gate = self.begin(proxy_listener_mode="separate")
        until(lambda: self.states(gate)[1] == "go", "go")
        shown = self.take(gate, "step", 2, code=4)
        self.assertIn("multiplex", "\n".join(shown["shown"]))
        self.assertFalse(self.routed(gate))
        self.assertEqual(self.take(gate, "step", 2, "--write")["result"], "done")
        self.assertTrue(self.routed(gate))
        answers = self.take(gate, "rollback", "--write")
        self.assertEqual(answers[0]["result"], "done")
        self.assertFalse(self.routed(gate))

    def test_clients_hear_of_the_mode_within_a_second(self) -> None:
        """By the resource and by the file, there and back; who is connected stays so."""
        gate = self.begin()
        host, _, port = gate.address("ssh").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as held:
            banner = held.recv(64)
            until(lambda: self.states(gate)[1] == "go", "go")
            for mode in ("multiplex", "separate"):
                resource = gate.admin("GET", NETWORKING)
                resource["spec"]["proxy_listener_mode"] = mode
                began = time.monotonic()
                gate.admin("PUT", NETWORKING, resource)
                self.heard(gate, mode, began)
            keys = yaml.safe_load(gate.file.read_text())
            for mode in ("multiplex", "separate"):
                for _ in during(SETTLE_SECONDS):
                    pass  # clients may still act by what they were told before
                keys["auth_service"]["proxy_listener_mode"] = mode
                began = time.monotonic()
                gate.reload(keys)
                self.heard(gate, mode, began)
            held.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            self.assertTrue(banner.startswith(b"SSH-2.0-"))
            self.assertTrue(held.recv(64))  # its KEXINIT

    def heard(self, gate: Gate, mode: str, began: float) -> None:
        """Both documents say *mode*, no later than a second after *began*."""
        for document in ("ping", "find"):
            routed = mode == "multiplex"
            until(lambda: self.routed(gate, document) == routed, mode)  # noqa: B023
            self.assertLess(time.monotonic() - began, 1.0, (mode, document))


class TwoGatewaysTests(SeparateCase, MigrationCase):
    """An auth service alone, and two gateways whose files say different things."""

    def gateway(self, auth: Gate, name: str, *ports: str) -> Gate:
        """A gateway with these separate ports."""
        proxy = {key: f"127.0.0.1:{free_port()}" for key in ports}
        keys: dict[str, object] = {"public_addr": [f"{name}.test:443"], **proxy}
        return self.joins(self.token(auth), self.pin(auth), name=name, proxy=keys)

    def reports(self, auth: Gate) -> dict[str, Any]:
        """What each gateway has said last."""
        items = auth.admin("GET", "/v1/gateways/reports")["items"]
        return {one["gateway"]: one for one in items}

    def mode(self, gate: Gate) -> str:
        """What a gateway tells its clients."""
        return str(gate.admin("GET", "/v1/status")["cluster"]["mode"])

    def test_one_lags_behind(self) -> None:
        """Nobody is told of ports that one of the gateways has not; nor closes one what is told."""
        auth = self.auth(settle_seconds=SETTLE_SECONDS)
        one = self.gateway(auth, "gw1", "listen_addr", "tunnel_listen_addr")
        other = self.gateway(auth, "gw2")
        until(lambda: {"gw1", "gw2"} <= set(self.reports(auth)), "both have reported")

        (answer,) = self.take(auth, "rollback", code=4)
        self.assertEqual([file["host"] for file in answer["files"]], ["gw2"])
        self.assertIn("on the host of gw2", answer["shown"][0])
        setting = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "spec": {"proxy_listener_mode": "separate"},
        }
        path = "/v1/resources/networking/networking"
        refused = auth.admin("PUT", path, setting, status=409)
        self.assertIn("gateway gw2 has the ssh port not open", refused["error"]["message"])
        self.assertEqual([self.mode(gate) for gate in (one, other)], ["multiplex"] * 2)

        text = json.loads(other.file.read_text())
        text["proxy_service"]["listen_addr"] = f"127.0.0.1:{free_port()}"
        # Each gateway holds its own ports by what its own file says.
        text["auth_service"]["settle_seconds"] = SETTLE_SECONDS
        other.reload(text)
        until(lambda: len(self.reports(auth)["gw2"]["listeners"]) == 2, "gw2 has reported")
        answers = self.take(auth, "rollback", "--wait", "10s")
        self.assertEqual([one["result"] for one in answers], ["done", "nothing"])
        self.assertEqual([self.mode(gate) for gate in (one, other)], ["separate"] * 2)

        del text["proxy_service"]["listen_addr"]
        refused = other.reload(text, status=409)
        self.assertIn("the port ssh would close", refused["error"]["message"])
        self.assertEqual(self.take(auth, "step", 2)["result"], "done")
        self.assertEqual([self.mode(gate) for gate in (one, other)], ["multiplex"] * 2)

        def closed() -> bool:
            return tgctl("reload", "-c", other.file).returncode == 0

        until(closed, "the port may close when clients have settled")
        until(lambda: "ssh" not in self.open_at(auth, "gw2"), "gw2 has reported")
        answer = self.take(auth, "step", 7, code=4)
        self.assertEqual([file["host"] for file in answer["files"]], ["gw1"])

    def open_at(self, auth: Gate, name: str) -> list[str]:
        """The listeners that serve at a gateway."""
        ports = self.reports(auth)[name]["listeners"]
        return [port["name"] for port in ports if port["state"] == "open"]
