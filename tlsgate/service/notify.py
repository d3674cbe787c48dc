"""Tell systemd what the service does: sd_notify(3) in one datagram, without its library."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


def notify(*assignments: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send *assignments* ("READY=1") to the service manager; False when there is none."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path[0] == "@" else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            door.setblocking(False)
            door.sendto("\n".join(assignments).encode(), address)
    except OSError:
        return False
    return True


def reloading() -> bool:
    """Say that a reload begins; a `READY=1` has to follow however it ends."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often `WATCHDOG=1` is due: half of what the unit allows; None: it is off."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(environment["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
