"""Where the admin socket is, for the daemon that opens it and for tgctl that dials it.

A UNIX socket's name may hold 107 bytes (`sun_path`, unix(7)); data directories may be
deeper. Such a socket is reached through its folder's descriptor in /proc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The socket's name below the data directory.
ADMIN_SOCKET = "admin.sock"

#: unix(7): `sun_path` has 108 bytes, the last one is a NUL.
SUN_PATH_BYTES = 107


def admin_socket(data_dir: Path) -> Path:
    """The admin socket of the daemon whose data directory is *data_dir*."""
    return data_dir / ADMIN_SOCKET


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Give a name of *path* that fits into a socket address, while the block runs.

    Raises:
        OSError: the folder of *path* cannot be opened.
    """
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def lasting_name(path: Path) -> str:
    """The same for as long as this process lives; the folder's descriptor stays open."""
    if len(os.fsencode(path)) <= SUN_PATH_BYTES:
        return str(path)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{path.name}"
