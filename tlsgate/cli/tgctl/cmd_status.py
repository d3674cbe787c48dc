"""`tgctl status`: what runs, and what the cluster is, in a dozen lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.credential import moment
from tlsgate.cli.show import pairs, span
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import DaemonSaid

#: What a daemon without an auth service answers.
_NO_CLUSTER = {"bad_ask", "not_served", "not_found"}


@click.command("status")
@with_api
def command(call: Call) -> None:
    """Print what the daemon runs and whether it is well, and the state of the cluster.

    From afar, with an identity file or a profile, the cluster alone.
    """
    if call.is_remote:
        call.show({"cluster": call.api().ask("GET", "/v1/cluster")}, _text)
        return
    door = call.door()
    status = dict(door.ask("GET", "/v1/status"))
    try:
        status["cluster"] = door.ask("GET", "/v1/cluster")
    except DaemonSaid as e:
        if e.word not in _NO_CLUSTER:
            status["cluster"] = {"problem": str(e)}
    call.show(status, _text)


def _text(status: dict[str, Any]) -> str:
    shown: list[tuple[str, object]] = [
        (name.replace("_", " "), value)
        for name, value in status.items()
        if name not in ("started", "warnings", "last_reload") and not isinstance(value, dict | list)
    ]
    started = status.get("started")
    if isinstance(started, int | float):
        shown.append(("running", span(max(0.0, time.time() - started))))
    if isinstance(last := status.get("last_reload"), dict):
        ago = span(max(0.0, time.time() - float(last.get("time") or 0)))
        said = "taken" if last.get("ok") else f"refused: {_first(str(last.get('why')))}"
        shown.append(("last reload", f"{ago} ago, {said}"))
    if isinstance(cluster := status.get("cluster"), dict):
        shown += _cluster(cluster)
    shown += [("warning", warning) for warning in status.get("warnings", ())]
    return pairs([(name, _word(value)) for name, value in shown])


def _cluster(cluster: Mapping[str, Any]) -> list[tuple[str, object]]:
    if "problem" in cluster:
        return [("cluster", f"does not answer: {cluster['problem']}")]
    shown: list[tuple[str, object]] = [
        ("cluster", cluster.get("cluster_name")),
        ("cluster version", cluster.get("version")),
    ]
    if cluster.get("users") is not None:
        shown.append(("users", cluster["users"]))
    networking = cluster.get("networking")
    if isinstance(networking, Mapping):
        mode = networking.get("spec", {}).get("proxy_listener_mode")
        shown.append(("listener mode", {0: "separate", 1: "multiplex"}.get(mode, mode)))
    for kind, public in cluster.get("authorities", {}).items():
        said = str(public.get("phase"))
        if public.get("since"):
            said += f", since {moment(float(public['since']))}"
        shown.append((f"{kind.replace('_', ' ')} CA", said))
    shown += [("CA pin", pin) for pin in cluster.get("pins", ())]
    return shown


def _first(why: str) -> str:
    """The first of several problems; a whole list belongs to `tgctl check`."""
    first, *rest = why.splitlines() or [""]
    return f"{first} (and {len(rest)} more; see tgctl check)" if rest else first


def _word(value: object) -> object:
    match value:
        case None:
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case _:
            return value
