"""Copies of a store, made while it is used, and the way back.

A copy is one plain SQLite file, checked before it gets its name. It holds every commit up to
its revision. Going back starts revisions anew, far above all that were given out: whoever
watched the old course of things must read everything again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen

from tlsgate.errors import StoreFailed
from tlsgate.store import schema
from tlsgate.store.faults import Fault
from tlsgate.store.folder import Folder, sync_folder

#: Copied between two looks at who waits: 1 MiB.
_PAGES: Final = 256

#: From then on nobody is let in between, so that a copy always comes to its end.
_YIELDING_SECONDS: Final = 10.0

#: A restored store goes on this far above what its copy had.
AFTER_RESTORE: Final = 1_000_000_000


@frozen
class Backup:
    """A copy: every commit up to `revision` is in it."""

    path: Path
    revision: int
    size_bytes: int


def copy(connection: sqlite3.Connection, path: Path, meanwhile: Callable[[], None]) -> Backup:
    """Copy the store of *connection* to *path*; in the store's thread.

    Args:
        meanwhile: called between pieces; may commit, and what it commits is copied too
            (https://www.sqlite.org/c3ref/backup_finish.html).

    Raises:
        StoreFailed: it could not be written, or is not whole; *path* is as it was.
    """
    beside = path.with_name(f".{path.name}.partial")
    until = time.monotonic() + _YIELDING_SECONDS

    def progress(status: int, left: int, total: int) -> None:
        if left and time.monotonic() < until:
            meanwhile()

    try:
        _new(beside)
        target = sqlite3.connect(beside, isolation_level=None)
        try:
            target.execute("PRAGMA synchronous = OFF").fetchall()  # one fsync at the end will do
            connection.backup(target, pages=_PAGES, progress=progress)
            target.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            target.close()
        made = inspect(beside)
        _place(beside, path)
    except sqlite3.Error as e:
        raise StoreFailed(f"no backup was made: {path}: {Fault.of(e).said}") from e
    except OSError as e:
        raise StoreFailed(f"no backup was made: {path}: {e.strerror}") from e
    finally:
        for leftover in (beside, beside.with_name(f"{beside.name}-journal")):
            with contextlib.suppress(OSError):
                leftover.unlink()
    return Backup(path, made.revision, made.size_bytes)


def inspect(path: Path) -> Backup:
    """Check the copy at *path* and say up to where it goes; changes nothing.

    Raises:
        StoreFailed: it is damaged, or no copy of a store, or of a newer version.
    """
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            flaw = schema.found(lambda: schema.shape_flaw(connection))
            if flaw is None and (version := schema.version(connection)) > len(schema.MIGRATIONS):
                raise StoreFailed(f"{path} was written by a newer tlsgate (schema {version})")
            flaw = flaw or ("it has no tables of a store" if version < 1 else None)
            flaw = flaw or schema.flaw(connection)
            if flaw is not None:
                raise StoreFailed(f"{path} is damaged, or no backup: {flaw}")
            state = schema.read_state(connection)
            assert state is not None
            return Backup(path, state.revision, size)
        finally:
            connection.close()
    except sqlite3.Error as e:
        raise StoreFailed(f"{path} is damaged, or no backup: {Fault.of(e).said}") from e
    except OSError as e:
        raise StoreFailed(f"{path}: {e.strerror}") from e


def restore(
    folder: Path,
    path: Path,
    now: Callable[[], float] = time.time,
    at: Callable[[str], None] = lambda name: None,
) -> Backup:
    """Put the copy at *path* in the place of the store in *folder*.

    What was there is set aside by name. Interrupted at any point, the store does not open
    until this was done again.

    Args:
        now: seconds since the epoch, for names.
        at: called with the name of each place where a crash is tested.

    Returns:
        the copy.

    Raises:
        StoreFailed: a process has the store, or the copy is damaged: nothing was changed; or
            the disk says no.
    """
    found = inspect(path)
    place = Folder(folder, mending=True)
    try:
        beside = place.path / "restore.db"
        _new(beside)
        shutil.copyfile(path, beside)
        state = _renumber(beside)
        place.write_note(f"{folder}: restoring a backup was interrupted; restore it again")
        at("noted")
        if place.database.exists() or place.log.exists():
            place.set_aside("replaced", now())
        at("set aside")
        _place(beside, place.database)
        at("placed")
        place.mark_file.unlink(missing_ok=True)
        place.mark.open(state.revision)
        place.mark.close()
        at("marked")
        place.note.unlink()
        place.sync()
    except sqlite3.Error as e:
        raise StoreFailed(f"{path} was not restored: {Fault.of(e).said}") from e
    except OSError as e:
        raise StoreFailed(f"{path} was not restored: {e.strerror}") from e
    finally:
        place.close()
    return found


def _renumber(path: Path) -> schema.State:
    """Have the database at *path* go on with revisions that nobody has seen."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        with schema.transaction(connection):
            state = schema.read_state(connection)
            assert state is not None
            state.revision += AFTER_RESTORE
            state.floor = state.revision
            state.events = state.events_sum = state.events_bytes = 0
            connection.execute("DELETE FROM events")
            schema.write_state(connection, state)
    finally:
        connection.close()
    return state


def _new(path: Path) -> None:
    """An empty file for its owner only."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _place(beside: Path, path: Path) -> None:
    """Give *beside* the name *path*, durably."""
    fd = os.open(beside, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    beside.replace(path)
    sync_folder(path.parent)
