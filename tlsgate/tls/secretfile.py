"""Files that only their owner may read, whole from the moment that they have their name."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace_secret(path: Path, content: bytes) -> None:
    """Put *content* in the place of *path*, mode 0600, durably.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    beside = _write_beside(path, content)
    try:
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def create_secret(path: Path, content: bytes) -> None:
    """The same where nothing is yet; of two who try at once, one succeeds.

    Raises:
        FileExistsError: something is there, and stays.
        OSError: it cannot be written.
    """
    beside = _write_beside(path, content)
    try:
        os.link(beside, path)  # unlike a rename, it never replaces
    finally:
        beside.unlink(missing_ok=True)
    _settle(path.parent)


def _write_beside(path: Path, content: bytes) -> Path:
    """A new file in the same folder; its name cannot be guessed and waited for."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _settle(folder: Path) -> None:
    """Make the new name survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
