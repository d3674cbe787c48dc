"""Snapshots for tests of a migration."""

from __future__ import annotations

from typing import Any

from tlsgate.core.gatewayreports import FilePlace, GatewayReport, Listening
from tlsgate.core.ledger import Row, Use
from tlsgate.core.migration import Snapshot

NOW = 1_000_000.0
V1 = ("web", "ssh", "tunnel")
V2 = ("web",)


def report(gateway: str = "gw1", names: tuple[str, ...] = V1, **more: Any) -> GatewayReport:
    """A gateway that serves *names*, heard just now."""
    refusing = more.pop("refusing", ())
    states = [*((name, "open") for name in names), *((name, "refusing") for name in refusing)]
    told: dict[str, Any] = {
        "worker": "0",
        "boot": "b",
        "started": 0.0,
        "heard": NOW,
        "version": "1.0.0",
        "mode_in_force": "separate",
        "file": FilePlace(path="/etc/gate.yaml", version_line=1),
        "listeners": tuple(
            Listening(
                name=name,
                address=f"127.0.0.1:{3000 + at}",
                state="open" if state == "open" else "refusing",
                since=0.0 if state == "open" else NOW - 20,
                until=None if state == "open" else NOW + 7200,
            )
            for at, (name, state) in enumerate(states)
        ),
        **more,
    }
    return GatewayReport(gateway=gateway, **told)


def row(name: str, listener: str = "ssh", version: str = "", **more: Any) -> Row:
    """A user's row, seen 10 s ago, unless *more* says otherwise."""
    kind, ago = more.pop("kind", "user"), more.pop("ago", 10.0)
    use = Use(kind, name, listener, more.pop("transport", "raw"), version)
    told = {"first": NOW - ago, "last": NOW - ago, "count": 1, **more}
    return Row(use=use, **told)


def snapshot(*gateways: GatewayReport, mode: str = "separate", **more: Any) -> Snapshot:
    """What is known of *gateways*; one with version v1 where none is named."""
    return Snapshot(now=NOW, mode=mode, version="1.0.0", gateways=gateways or (report(),), **more)
