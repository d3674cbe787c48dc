"""Files that hold secrets: whole or not at all, and nobody else's to read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make *folder*, and what is missing above it, for its owner only."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir(mode=0o700)


def write_private(file: Path, content: bytes) -> None:
    """Write *content* to *file*, mode 0600; a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written; the old file stays as it was.
    """
    make_folder(file.parent)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(opened, "wb") as to:
            to.write(content)
            to.flush()
            os.fsync(to.fileno())
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_some(file: Path, limit_bytes: int) -> str | None:
    """The text of *file*, None where there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than *limit_bytes*, or no text.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(limit_bytes + 1)
    except FileNotFoundError:
        return None
    if len(content) > limit_bytes:
        raise ValueError(f"{file} has more than {limit_bytes} bytes")
    return content.decode("utf-8")
