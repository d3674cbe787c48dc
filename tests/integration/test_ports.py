"""Which ports are open, as the kernel says: one in v2, one a protocol in v1, and no others."""

from __future__ import annotations

import socket
from typing import Any

from tests.support.child import program
from tests.support.echo import Echo
from tests.support.harness import (
    CLIENT_SECONDS,
    Gate,
    GateCase,
    drain,
    receive,
    secure,
)
from tests.support.ports import listening_ports

#: The separate ports of v1, each on a port of its own.
_OWN = "127.0.0.1:0"
_V1 = {"listen_addr": _OWN, "tunnel_listen_addr": _OWN}
_MORE = {
    "kube": "kube_listen_addr",
    "mysql": "mysql_listen_addr",
    "postgres": "postgres_listen_addr",
    "mongo": "mongo_listen_addr",
}


class PortsTests(GateCase):
    """Listeners of a daemon that has just started."""

    def ports(self, gate: Gate) -> dict[str, int]:
        """The port of each listener by name, once the kernel has confirmed that these are all."""
        listeners = gate.admin("GET", "/v1/listeners")
        found = {one["name"]: int(one["address"].rpartition(":")[2]) for one in listeners}
        self.assertEqual(listening_ports(gate.pid), sorted(found.values()))
        return found

    def test_v2_opens_one_port(self) -> None:
        """Without another key there is the web port and nothing else."""
        self.assertEqual(list(self.ports(self.gate(version="v2"))), ["web"])

    def test_v3_opens_one_port(self) -> None:
        """v3 is as v2."""
        self.assertEqual(list(self.ports(self.gate(version="v3"))), ["web"])

    def test_v1_opens_a_port_a_protocol(self) -> None:
        """The web, SSH and tunnel ports are separate endpoints."""
        ports = self.ports(self.gate(version="v1", proxy=_V1))
        self.assertEqual(set(ports), {"web", "ssh", "tunnel"})
        self.assertEqual(len(set(ports.values())), 3)

    def test_the_default_ports(self) -> None:
        """Without any address v1 opens 3080, 3023 and 3024, and v2 opens 3080.

        In a network of their own, where nobody else has these ports.
        """
        alone = [program("unshare", "util-linux"), "--net", "--map-root-user"]
        for version, ports in (("v1", [3023, 3024, 3080]), ("v2", [3080])):
            gate = self.gate(version=version, proxy={"web_listen_addr": None}, before=alone)
            self.assertEqual(listening_ports(gate.pid), ports)

    def test_explicit_ports_are_added(self) -> None:
        """Each key opens its port, in v1 and in v2."""
        more = dict.fromkeys(_MORE.values(), _OWN)
        ports = self.ports(self.gate(version="v1", proxy={**_V1, **more}))
        self.assertEqual(set(ports), {"web", "ssh", "tunnel", *_MORE})
        ports = self.ports(self.gate(version="v2", proxy=more))
        self.assertEqual(set(ports), {"web", *_MORE})

    def test_a_port_whose_protocol_is_not_served_says_so(self) -> None:
        """MySQL's and PostgreSQL's clients read a sentence in their own protocol."""
        more = {"mysql_listen_addr": _OWN, "postgres_listen_addr": _OWN, "listen_addr": _OWN}
        gate = self.gate(version="v2", proxy=more)
        with gate.connect("mysql") as client:  # the server speaks first
            packet = drain(client)
        self.assertEqual(packet[3:5], b"\x00\xff", packet)
        startup = b"\x00\x03\x00\x00user\x00alice\x00\x00"
        with gate.connect("postgres") as client:
            client.sendall((len(startup) + 4).to_bytes(4, "big") + startup)
            packet = drain(client)
        self.assertEqual((packet[:1], b"FATAL" in packet), (b"E", True), packet)
        with gate.connect("ssh") as client:
            client.sendall(b"SSH-2.0-test\r\n")
            self.assertTrue(drain(client).startswith(b"SSH-2.0-"))

    def test_a_dual_stack_port(self) -> None:
        """An address without host takes IPv4 and IPv6 clients on one socket."""
        gate = self.echo_gate("0")
        for host in ("127.0.0.1", "::1"):
            raw = socket.create_connection((host, gate.port()), CLIENT_SECONDS)
            self.check_echo(raw)

    def test_a_unix_socket(self) -> None:
        """A UNIX path is a listener like any other."""
        folder = self.folder()
        gate = self.echo_gate(f"unix:{folder / 'gate.sock'}")
        self.assertEqual(listening_ports(gate.pid), [])
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(CLIENT_SECONDS)
        raw.connect(str(folder / "gate.sock"))
        self.check_echo(raw)

    def echo_gate(self, address: str) -> Gate:
        echo = self.serve(Echo())
        route: dict[str, Any] = {"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}
        return self.gate(routes=[route], proxy={"web_listen_addr": address})

    def check_echo(self, raw: socket.socket) -> None:
        with secure(raw, alpn=["demo-echo"], cert="alice") as client:
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")
