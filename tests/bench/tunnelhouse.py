"""What `tests.bench.tunnel` measures at: a cluster, an agent, HAProxy twice, and the load."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from tests.bench.cases import Answer
from tests.bench.children import Child, Load
from tests.bench.gateways import free_port
from tests.bench.machine import build_load, cores, pinned, prefer
from tests.support.certs import pki
from tests.support.sshcase import SshCase

CIPHER, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"
LIMITS = {"handshakes_per_second_per_address": 100_000, "unauthenticated_per_address": 10_000}
QUIET = {"log": {"output": "stderr", "severity": "INFO", "format": {"output": "json"}}}
#: The load's ports that stand behind a route and a node.
TARGETS = ("echo", "source", "sink")


@define
class Way:
    """One way to a target, and what each round has told of it.

    Attributes:
        keys: what the load is told for one of `TARGETS`.
        pids: whose processor time counts.
    """

    name: str
    keys: Callable[[str], dict[str, object]]
    pids: tuple[int, ...]
    told: dict[str, list[Answer]] = field(factory=dict)


class House(SshCase):
    """The daemons, the load and one person; `doCleanups` ends all of it."""

    nice = 0

    def runTest(self) -> None:
        """For the constructor of a test case."""

    def open(self) -> None:
        """Start all of it."""
        scratch = Path(tempfile.mkdtemp(dir=self.folder()))
        self.begin(version="v2", proxy_more={"limits": LIMITS}, teleport=QUIET)
        self._put(self.hub.child.pid, cores()[0])
        self.alice = self.person()
        self.load = self._loaded(scratch)
        self._route()
        targets = [f"127.0.0.1:{self.load.ports[name]}" for name in TARGETS]
        self.db1 = self.node(ssh={"targets": targets}, teleport=QUIET)
        self._put(self.db1.agent.child.pid, cores()[0])
        self._chained = self._chain(scratch)

    def ways(self) -> tuple[Way, Way, Way]:
        """The gateway alone, gateway and agent, and two HAProxys."""
        gateway, agent = self.hub.child.pid, self.db1.agent.child.pid
        doors, pids = self._chained

        def alone(target: str) -> dict[str, object]:
            return {"port": self.web_port, "sni": "gw.test", "alpn": target}

        def through(target: str) -> dict[str, object]:
            node = f"db1:{self.load.ports[target]}"
            return {"port": self.web_port, "sni": "localhost", "alpn": "tlsgate-ssh", "node": node}

        def chained(target: str) -> dict[str, object]:
            return {"port": doors[target], "sni": "gw.test", "alpn": target}

        return (
            Way("gateway alone", alone, (gateway,)),
            Way("gateway and agent", through, (gateway, agent)),
            Way("HAProxy twice", chained, pids),
        )

    # -- one by one ------------------------------------------------------------------------

    def _loaded(self, scratch: Path) -> Load:
        """The load and its targets, with a certificate of alice."""
        holder = self.sign(self.hub, "alice")
        words = [*pinned(cores()[1], 0), str(build_load(scratch)), str(holder.cas)]
        words += [str(holder.cert), str(holder.key), CIPHER, GROUP]
        child = Child("load", words, scratch / "load.log", cwd=scratch, talk=True)
        self.addCleanup(child.stop)
        self._put(child.pid, cores()[1])
        return Load(child)

    def _route(self) -> None:
        """Have the gateway reach the targets by itself, too."""
        text = json.loads(self.hub.file.read_text())
        text["proxy_service"]["routes"] = [
            {
                "name": name,
                "alpn": [name],
                "protocol": "raw",
                "client_cert": "required",
                "require_role": ["prod"],
                "target": f"tcp:127.0.0.1:{self.load.ports[name]}",
            }
            for name in TARGETS
        ]
        self.hub.reload(text)

    def _chain(self, scratch: Path) -> tuple[dict[str, int], tuple[int, ...]]:
        """HAProxy before HAProxy: TLS with the same client certificates, TLS between the two.

        There is no stream to reuse: each client is a handshake between them.
        """
        both = scratch / "both.pem"
        both.write_bytes(
            b"".join(pki().file(f"server{end}.pem").read_bytes() for end in ("", "-key"))
        )
        users = scratch / "users.pem"
        users.write_text("".join(self.hub.admin("GET", "/v1/cas")["cas"]["user"]))
        outer = {name: free_port() for name in TARGETS}
        inner = {name: free_port() for name in TARGETS}
        pids = []
        for what, doors, bind, server in (
            ("inner", inner, "", {name: str(self.load.ports[name]) for name in TARGETS}),
            (
                "outer",
                outer,
                f" ca-file {users} verify required alpn {','.join(TARGETS)}",
                {name: f"{inner[name]} ssl verify none" for name in TARGETS},
            ),
        ):
            text = f"""global
    nbthread 1
    maxconn 2000
    log 127.0.0.1:{self.load.ports["log"]} local0 info
    tune.ssl.cachesize 0

defaults
    mode tcp
    log global
    option tcplog
    timeout connect 5s
    timeout client 1h
    timeout server 1h
"""
            for name in TARGETS:
                tls = f"ssl crt {both} ssl-min-ver TLSv1.3 no-tls-tickets{bind}"
                text += f"\nlisten {name}\n    bind 127.0.0.1:{doors[name]} {tls}\n"
                text += f"    server one 127.0.0.1:{server[name]}\n"
            file = scratch / f"{what}.cfg"
            file.write_text(text)
            words = [*pinned(cores()[0], 0), "haproxy", "-db", "-f", str(file)]
            child = Child(what, words, scratch / f"{what}.log", cwd=scratch)
            self.addCleanup(child.stop)
            for port in doors.values():
                child.wait_for_port(port)
            self._put(child.pid, cores()[0])
            pids.append(child.pid)
        return outer, tuple(pids)

    def _put(self, pid: int, core: int) -> None:
        """Have a program run on one core, and before others' if that is wished."""
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        if self.nice:
            prefer(pid, self.nice)
