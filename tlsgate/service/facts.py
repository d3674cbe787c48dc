"""What a gateway's process says of itself to the auth service: its file, its mode, its ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tlsgate
from tlsgate.config.lines import key_line
from tlsgate.config.settings import Settings

#: Where a file says what decides the guide's steps.
MODE = ("auth_service", "proxy_listener_mode")
VERSION = ("version",)
#: What a report takes (`auth.ledgerbodies`): characters of a line, public addresses, ports.
_CHARACTERS, _PUBLIC, _PORTS = 256, 64, 128


def file_facts(text: str, settings: Settings) -> dict[str, Any]:
    """What *text*, the file of *settings*, says of the mode, and in which lines."""
    said = (settings.networking or {}).get("proxy_listener_mode")
    return {
        "path": _line(str(settings.file)),
        "mode": None if said is None else str(said),
        "mode_line": key_line(text, MODE),
        "version_line": key_line(text, VERSION),
    }


def told_ports(
    settings: Settings,
    sockets: Mapping[str, str | None],
    active: Mapping[str, int],
    since: Mapping[str, float],
) -> list[dict[str, Any]]:
    """The ports of *settings* that are open or refuse, as a report has them.

    Args:
        sockets: what is open, by listener name: its address, where that is known.
        active: connections, by listener.
        since: when each was opened, in seconds since the epoch.
    """
    gone = {one.name: one for one in settings.closing}
    return [
        {
            "name": one.name,
            "address": _line(sockets[one.name] or "") or None,
            "public": [_line(said) for said in getattr(settings.public, one.name, ())][:_PUBLIC],
            "state": "refusing" if one.name in gone else "open",
            "since": gone[one.name].since if one.name in gone else since.get(one.name, 0.0),
            "until": gone[one.name].until if one.name in gone else None,
            "open": max(0, active.get(one.name, 0)),
        }
        for one in (*settings.listeners, *(closed.listener for closed in settings.closing))
        if one.name in sockets
    ][:_PORTS]


def _line(text: str) -> str:
    """What a report takes: nothing in it may keep all of it from being heard."""
    return "".join(one if one.isprintable() else "?" for one in text)[:_CHARACTERS]


def facts(
    settings: Settings,
    *,
    worker: int,
    mode: str,
    file: Mapping[str, Any],
    listeners: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What is told beside who has come; see `auth.ledgerbodies.ReportBody`."""
    return {
        "gateway": settings.node_name,
        "worker": str(worker),
        "workers": settings.workers,
        "version": tlsgate.__version__,
        "config_version": settings.version,
        "mode_in_force": mode,
        "file": dict(file),
        "listeners": list(listeners),
    }
