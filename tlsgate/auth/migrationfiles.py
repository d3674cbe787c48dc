"""What the steps of the migration change in which configuration files.

1. A step that a file decides is told as keys of that file with their values; who reads it is on
   its host.
2. A port that closes takes the public address along that only led to it: clients would be told
   it still, and some are refused in a file without their port. The way back puts both in again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tlsgate.config.listeners import STANDARD
from tlsgate.core.gatewayreports import GatewayReport
from tlsgate.core.migration import (
    MULTIPLEX,
    SEPARATE,
    SEPARATE_PORTS,
    Snapshot,
    separate_listeners,
)
from tlsgate.core.migrationsteps import files

if TYPE_CHECKING:
    from tlsgate.auth.migration import Direction, Migration

_STANDARD: Final = {one.name: one for one in STANDARD if one.name in SEPARATE_PORTS}
#: The key of each separate port's address in a configuration file.
KEYS: Final[Mapping[str, str]] = {name: one.key for name, one in _STANDARD.items()}
#: And of what clients are told of it.
PUBLIC_KEYS: Final[Mapping[str, str]] = {name: one.public_key for name, one in _STANDARD.items()}
#: The block by which older files say the same.
_BLOCKS: Final = {"kube": "kubernetes"}
#: What version v1 opens where its file names none, on every interface.
_DEFAULTS: Final = {"ssh": "3023", "tunnel": "3024"}
_MODE_KEY: Final = ["auth_service", "proxy_listener_mode"]
_CONFIG_FILE: Final = "config-file"


def closing_public(report: GatewayReport) -> dict[str, tuple[str, ...]]:
    """The public addresses that go with the separate ports of a gateway, by port.

    One that leads to the web port is right without the port too, where the file may keep it.
    """
    web = [one for one in report.listeners if one.name == "web"]
    ports = {_port(text) for one in web for text in (one.address or "", *one.public)}
    return {
        one.name: one.public
        for one in separate_listeners(report)
        if one.public
        and (_STANDARD[one.name].public_needs_key or not ports.issuperset(map(_port, one.public)))
    }


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def changed_files(
    mine: Migration, snapshot: Snapshot, key: str, direction: Direction
) -> list[dict[str, Any]]:
    """What a step changes in which files; []: it changes none."""
    by_file = snapshot.mode_origin == _CONFIG_FILE
    found: list[dict[str, Any]] = []
    if key == "mode" and by_file:
        mode = MULTIPLEX if direction == "there" else SEPARATE
        if snapshot.mode != mode:
            found.append(_change(mine.host(), mine.file(), [], [_set(_MODE_KEY, mode)]))
        return found
    if key not in ("close", "open"):
        return []
    for gateway, file in files(snapshot):
        here = [one for one in snapshot.present if one.gateway == gateway]
        open_now = {port.name for one in here for port in separate_listeners(one)}
        lines = [line for line in (file.version_line,) if line is not None]
        if key == "close":
            if not open_now:
                continue
            # One that has no separate ports of its own stays of the version that it is.
            is_new = here[0].config_version in ("v2", "v3")
            changes = [] if is_new else [_set(["version"], "v2")]
            told = set().union(*(closing_public(one) for one in here))
            for name in SEPARATE_PORTS:
                if name in open_now:
                    changes.append(_drop(["proxy_service", KEYS[name]]))
                if name in open_now and name in _BLOCKS:
                    changes.append(_drop(["proxy_service", _BLOCKS[name]]))
                if name in told:
                    changes.append(_drop(["proxy_service", PUBLIC_KEYS[name]]))
        else:
            if "ssh" in open_now:
                continue
            changes = [_set(["version"], "v1"), *_addresses(mine.ports_of(gateway))]
            changes += _public(mine.public_of(gateway))
            its = (gateway, file.path) == (mine.host(), mine.file())
            if its and snapshot.mode_origin == "defaults":
                # Else the file's new version would change the mode in the same reload.
                changes.append(_set(_MODE_KEY, snapshot.mode))
        found.append(_change(gateway, file.path, lines, changes))
    return found


def _addresses(ports: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The separate ports that a gateway had; those of version v1 need no word."""
    for name, address in ports.items():
        host, _, port = address.rpartition(":")
        everywhere = host in ("", "0.0.0.0", "::", "[::]") and not address.startswith("/")
        if name not in KEYS or not address or (everywhere and _DEFAULTS.get(name) == port):
            continue
        written = f"unix:{address}" if address.startswith("/") else address
        yield _set(["proxy_service", KEYS[name]], written)


def _public(told: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """What clients were told of those ports."""
    for name, addresses in told.items():
        if name in PUBLIC_KEYS and addresses:
            yield _set(["proxy_service", PUBLIC_KEYS[name]], list(addresses))


def _change(
    host: str, file: str, lines: Sequence[int], changes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {"host": host, "file": file, "lines": list(lines), "changes": list(changes)}


def _set(path: list[str], value: str | list[str]) -> dict[str, Any]:
    return {"path": path, "value": value}


def _drop(path: list[str]) -> dict[str, Any]:
    return {"path": path, "value": None}
