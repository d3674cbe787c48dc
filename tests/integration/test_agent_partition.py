"""R15: the network between agents and their gateway is cut, both ways and one way, and heals."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define

from tests.support.agent import AgentCase
from tests.support.child import Child, during, program, until
from tests.support.cluster import Holder
from tests.support.connects import connect
from tests.support.harness import Gate
from tests.support.ports import free_port

_PING_SECONDS = 1.0
#: Three periods, each on a wheel that turns four times a second, and the machine's own time.
_NOTICED_SECONDS = 3 * (_PING_SECONDS + 0.25) + 1.0
#: From the network's return to the tunnel's (R15).
_HEALED_SECONDS = 15.0

_ECHO = """
import socket, threading
def serve(one):
    while data := one.recv(65536):
        one.sendall(data)
    one.close()
listening = socket.create_server(("127.0.0.1", 7007))
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
"""
_ECHO_PORT = 7007


@define(kw_only=True)
class Island:
    """A network namespace with one cable to the gateway's, and an agent in it."""

    number: int
    cuts: tuple[str, ...]  #: "input" and "output", as the island sees it

    @property
    def name(self) -> str:
        return f"tg{os.getpid()}x{self.number}"

    @property
    def agent(self) -> str:
        return f"db{self.number}"

    @property
    def gateway(self) -> str:
        """The gateway's address at this cable."""
        return f"10.231.{os.getpid() % 250}.{4 * self.number + 1}"

    @property
    def inside(self) -> str:
        """The other one."""
        return f"10.231.{os.getpid() % 250}.{4 * self.number + 2}"

    @property
    def enter(self) -> tuple[str, ...]:
        """What stands before a command that runs there."""
        return (program("ip", "iproute2"), "netns", "exec", self.name)

    def make(self, hub: str) -> None:
        """Lay the cable; *hub* is where the gateway listens, at one of the cables."""
        outer, inner = f"{self.name}o", f"{self.name}i"
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", self.name)
        _run("ip", "addr", "add", f"{self.gateway}/30", "dev", outer)
        _run("ip", "link", "set", outer, "up")
        _run(*self.enter, "ip", "addr", "add", f"{self.inside}/30", "dev", inner)
        _run(*self.enter, "ip", "link", "set", inner, "up")
        _run(*self.enter, "ip", "link", "set", "lo", "up")
        if hub != self.gateway:
            _run(*self.enter, "ip", "route", "add", f"{hub}/32", "via", self.gateway)
        hosts = Path("/etc/netns") / self.name
        hosts.mkdir(parents=True)
        (hosts / "hosts").write_text(f"127.0.0.1 localhost\n{hub} gw.test\n")

    def remove(self) -> None:
        """Take it away, however far it was made."""
        with contextlib.suppress(AssertionError):
            _run("ip", "link", "del", f"{self.name}o")
        with contextlib.suppress(AssertionError):
            _run("ip", "netns", "del", self.name)
        shutil.rmtree(Path("/etc/netns") / self.name, ignore_errors=True)

    def cut(self) -> None:
        """Lose every packet of the directions that this island is about."""
        nft = program("nft", "nftables")
        rules = ["add table ip cut"]
        for way in self.cuts:
            side = "iifname" if way == "input" else "oifname"
            rules.append(f"add chain ip cut {way} {{ type filter hook {way} priority 0 ; }}")
            rules.append(f"add rule ip cut {way} {side} != lo drop")
        _run(*self.enter, nft, "; ".join(rules))

    def heal(self) -> None:
        """Lose nothing any more."""
        _run(*self.enter, program("nft", "nftables"), "delete table ip cut")


class PartitionTests(AgentCase):
    """A gateway, and three agents whose networks are cut in three ways at the same time."""

    def setUp(self) -> None:
        super().setUp()
        ways = (("input", "output"), ("input",), ("output",))
        self.islands = [Island(number=number, cuts=cuts) for number, cuts in enumerate(ways)]
        hub = self.islands[0].gateway  # nobody but this machine and the islands can reach it
        for one in self.islands:
            self.addCleanup(one.remove)
            one.make(hub)
        port = free_port()
        self.hub = self.cluster(
            proxy={"web_listen_addr": f"{hub}:{port}", "public_addr": [f"gw.test:{port}"]}
        )
        self.hub.admin(
            "PUT",
            "/v1/resources/cluster_networking_config/cluster-networking-config?force=1",
            {
                "kind": "cluster_networking_config",
                "version": "v2",
                "metadata": {"name": "cluster-networking-config"},
                "spec": {"keep_alive_interval": f"{_PING_SECONDS:g}s"},
            },
        )
        self.agents = []
        for one in self.islands:
            folder = self.folder()
            echo = Child((*one.enter, sys.executable, "-c", _ECHO), folder / "echo")
            self.addCleanup(echo.end)
            self.agents.append(
                self.agent(
                    self.hub,
                    one.agent,
                    server=f"gw.test:{port}",
                    sshd_addr=f"127.0.0.1:{_ECHO_PORT}",
                    before=one.enter,
                )
            )
        self.add_user(self.hub, "alice")
        self.alice = self.sign(self.hub, "alice")

    def test_r15_cut_and_healed(self) -> None:
        """The dead are noticed within three pings, leave nothing, and are back 15 s later."""
        clients = [self.connect(one) for one in self.islands]
        for one in clients:
            _echoed(one)
        for island in self.islands:
            island.cut()
        noticed: dict[str, float] = {}
        for passed in during(_NOTICED_SECONDS, 0.05):
            for island, agent in zip(self.islands, self.agents, strict=True):
                if not self.entries(island):
                    noticed.setdefault(f"gateway of {island.agent}", passed)
                if not self.tunnels(agent):
                    noticed.setdefault(island.agent, passed)
            if len(noticed) == 2 * len(self.islands):
                break
        self.assertEqual(len(noticed), 2 * len(self.islands), f"{noticed}, {self.entries()}")
        # Whoever was served knows, too.
        for client in clients:
            client.settimeout(1.0)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                self.assertEqual(client.recv(1), b"")
            client.close()
        for island in self.islands:
            with self.assertRaisesRegex(AssertionError, "no node"):
                self.connect(island)
        until(lambda: not self.held(), "the inventory knows", 10)
        for island in self.islands:
            island.heal()
        back: dict[str, float] = {}
        for passed in during(_HEALED_SECONDS, 0.1):
            for island in self.islands:
                if island.agent not in back and self.served(island):
                    back[island.agent] = passed
            if len(back) == len(self.islands):
                break
        self.assertEqual(len(back), len(self.islands), f"{back}, {self.entries()}")
        print(f"noticed {_told(noticed)}; back {_told(back)}")
        names = sorted(one.agent for one in self.islands)
        until(lambda: self.held() == names, "the inventory has each once", 10)
        for agent, island in zip(self.agents, self.islands, strict=True):
            self.assertEqual(len(self.tunnels(agent)), 1)
            addresses = [str(row["peer"]) for row in self.entries(island)]
            self.assertEqual(len(addresses), len(set(addresses)), addresses)
            # And no stream is there that the agent does not know.
            until(partial(self._agree, island, agent), f"both sides of {island.agent}")

    def _agree(self, island: Island, agent: Gate) -> bool:
        (session,) = self.tunnels(agent)
        return len(self.entries(island)) == int(session["streams"]) + 1

    def connect(self, island: Island, who: Holder | None = None) -> ssl.SSLSocket:
        """A client of the island's echo; AssertionError: it was refused."""
        raw = self.hub.connect()
        context = (who or self.alice).context("tlsgate-ssh")
        made = connect(raw, context, f"{island.agent}:22")
        self.addCleanup(made.close)
        return made

    def served(self, island: Island) -> bool:
        """Whether a client is."""
        try:
            with self.connect(island) as client:
                _echoed(client)
        except AssertionError:
            return False
        return True

    def entries(self, island: Island | None = None) -> list[dict[str, Any]]:
        """The gateway's connections with agents, or those with the one of *island*."""
        return [
            one
            for one in self.hub.admin("GET", "/v1/connections")
            if one["route"] == "tunnel"
            and (island is None or str(one["peer"]).startswith(island.inside + ":"))
        ]

    def inventory(self) -> list[dict[str, Any]]:
        """The agents that gateways say to have."""
        rows = self.hub.admin("GET", "/v1/inventory")["items"]
        return [row for row in rows if row["gateway"]]

    def held(self) -> list[str]:
        """Their names."""
        return [row["name"] for row in self.inventory()]


def _echoed(client: ssl.SSLSocket) -> None:
    client.sendall(b"x")
    assert client.recv(1) == b"x"


def _told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {one:.1f} s" for name, one in seconds.items())


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
