"""Ports of loopback: one that is free, and who listens where, without knocking."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

#: Ports that no outgoing connection takes by chance (the kernel's begin at 32768).
_PORTS = range(20_000, 32_000)

_LISTEN = "0A"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now, for servers that cannot choose one themselves."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(_PORTS, 100):
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("100 ports in a row are taken")


def _listeners(of: str = "self") -> Iterator[tuple[int, str]]:
    """Each (port, inode) of a listening TCP socket, IPv4 and IPv6, in the network of *of*."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{of}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                yield int(fields[1].rpartition(":")[2], 16), fields[9]


def listening(port: int) -> bool:
    """Whether anybody listens on *port*; a look, not a connection that a server would see."""
    return any(port == other for other, _ in _listeners())


def listening_ports(pid: int) -> list[int]:
    """The TCP ports on which process *pid* listens, in order, without repetition."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    return sorted({port for port, inode in _listeners(str(pid)) if inode in inodes})
