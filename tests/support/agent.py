"""A cluster with agents: real processes that dial the gateway of a test."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.cluster import ClusterCase
from tests.support.harness import CLIENT_SECONDS, Gate
from tests.support.ports import free_port

#: How long an agent may take to have its tunnel back: the longest wait, and some time to dial.
BACK_SECONDS = 15.0
#: Bugs of others' that a log of an agent may show; none.
_MAY_LOG: Sequence[str] = ()


class AgentCase(ClusterCase):
    """Tests with a cluster whose gateway agents can find."""

    def cluster(self, *, proxy: Mapping[str, object] | None = None, **keys: Any) -> Gate:
        """Start a cluster at an address that agents can dial, and that stays after a restart."""
        self.web_port = free_port()
        more = {
            "web_listen_addr": f"127.0.0.1:{self.web_port}",
            "public_addr": [f"localhost:{self.web_port}", "gw.test:443"],
            **(proxy or {}),
        }
        return super().cluster(proxy=more, **keys)

    def again(self, gate: Gate, *, ready: bool = True) -> Gate:
        """The same daemon once more, in the folder of *gate*, which has ended."""
        made = Gate(gate.folder, gate.file.read_text())
        self.addCleanup(made.stop)
        if ready:
            made.until_ready()
        return made

    def kill(self, gate: Gate) -> None:
        """End a daemon without a word."""
        os.kill(gate.child.pid, signal.SIGKILL)
        gate.child.wait(CLIENT_SECONDS)

    def node_token(self, gate: Gate, uses: int = 1, types: Sequence[str] = ("node",)) -> str:
        """A join token for nodes, or for *types*."""
        made = gate.admin("POST", "/v1/tokens", {"types": list(types), "uses": uses})
        return str(made["secret"])

    def agent_keys(
        self,
        server: str,
        *,
        name: str = "db1",
        labels: Mapping[str, str] | None = None,
        sshd_addr: str = "127.0.0.1:22",
        token: str | None = None,
        pin: str | None = None,
        ssh: Mapping[str, object] | None = None,
        teleport: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """The configuration of an agent of *server*, but for its data directory."""
        block: dict[str, object] = {"nodename": name, "proxy_server": server}
        if token is not None:
            file = self.folder() / "token"
            file.write_text(token + "\n")
            block["auth_token"] = str(file)
        if pin is not None:
            block["ca_pin"] = pin
        return {
            "teleport": {**block, **(teleport or {})},
            "ssh": {
                "enabled": "yes",
                "labels": dict(labels or {}),
                "sshd_addr": sshd_addr,
                **(ssh or {}),
            },
        }

    def agent(
        self,
        gate: Gate,
        name: str = "db1",
        *,
        labels: Mapping[str, str] | None = None,
        sshd_addr: str = "127.0.0.1:22",
        server: str | None = None,
        ready: bool = True,
        tunnel: bool = True,
        env: Mapping[str, str] | None = None,
        may_log: Sequence[str] = _MAY_LOG,
        before: Sequence[str] = (),
        timeouts: Mapping[str, object] | None = None,
        db: Sequence[Mapping[str, object]] = (),
        apps: Sequence[Mapping[str, object]] = (),
        node: bool | None = None,
        **keys: Any,
    ) -> Gate:
        """Start an agent that joins the cluster of *gate*, and has its tunnel.

        Args:
            server: the gateway's address as the agent is told it; None: its web port.
            ready: wait until the agent's admin socket says so.
            tunnel: and until it has a tunnel.
            before: a command in front, such as `ip netns exec …`.
            timeouts: of what it carries.
            db, apps: entries of db_service.databases and of app_service.apps.
            node: whether it has an ssh_service; None: where it has neither of these.
            keys: `token`, `pin`, or more keys of the blocks `ssh` and `teleport`.
        """
        node = node if node is not None else not (db or apps)
        on = {"node": node, "db": bool(db), "app": bool(apps)}
        types = [name for name, is_on in on.items() if is_on]
        if "token" not in keys:
            keys["token"] = self.node_token(gate, types=types)
        keys.setdefault("pin", str(gate.admin("GET", "/v1/cas")["pins"][0]))
        where = server or f"localhost:{gate.port()}"
        blocks = self.agent_keys(where, name=name, labels=labels, sshd_addr=sshd_addr, **keys)
        folder = self.folder()
        log = {"output": "stderr", "severity": "DEBUG", "format": {"output": "json"}}
        text = {
            "version": "v3",
            "teleport": {"data_dir": str(folder / "data"), "log": log, **blocks["teleport"]},
            "auth_service": {"enabled": "no"},
            "proxy_service": {"enabled": "no", **({"timeouts": timeouts} if timeouts else {})},
            **({"ssh_service": blocks["ssh"]} if node else {}),
            **({"db_service": {"enabled": "yes", "databases": list(db)}} if db else {}),
            **({"app_service": {"enabled": "yes", "apps": list(apps)}} if apps else {}),
        }
        made = Gate(folder, text, env=env, before=before)
        self.addCleanup(self._bugs, made, may_log)
        self.addCleanup(made.stop)
        if ready:
            made.until_ready()
            if tunnel:
                self.until_tunnel(made)
        return made

    def tunnels(self, agent: Gate) -> list[dict[str, Any]]:
        """The sessions of an agent."""
        cluster = agent.admin("GET", "/v1/status")["cluster"]
        return [one for one in cluster["tunnels"] if not one["draining"]]

    def until_tunnel(self, agent: Gate, seconds: float = 2 * BACK_SECONDS) -> None:
        """Wait until an agent has a session with an idle stream."""
        agent.child.until(
            lambda: any(one["streams"] for one in self.tunnels(agent)), "a tunnel", seconds
        )

    def _bugs(self, agent: Gate, may_log: Sequence[str]) -> None:
        found = [line for line in agent.bugs() if not any(word in line for word in may_log)]
        self.assertEqual(found, [], agent.child.tail())
