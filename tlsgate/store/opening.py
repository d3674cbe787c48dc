"""Opening a store's database: its lock, its tables, its checks.

What is found damaged is set aside by name before the connection closes: closing would fold the
log into the database and remove it, and with it what there is to look at.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from attrs import define

from tlsgate.errors import StoreFailed
from tlsgate.store import schema
from tlsgate.store.faults import Fault
from tlsgate.store.folder import Folder


@define(eq=False)
class Opened:
    """A store's folder and the connection to its database."""

    folder: Folder
    connection: sqlite3.Connection
    #: The database's own file. Closing any descriptor of it drops SQLite's locks, so this one
    #: is closed last (https://www.sqlite.org/howtocorrupt.html, 2.2).
    _fd: int
    _pages: int = 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now: Callable[[], float],
        migrations: Sequence[Sequence[str]],
        at: Callable[[str], None],
    ) -> Self:
        """Take *path*.

        Raises:
            StoreFailed: as `SqliteStore` says.
        """
        folder = Folder(path)
        try:
            connection = _connection(folder, now, migrations, at)
        except BaseException as e:
            folder.close()
            if isinstance(e, sqlite3.Error):
                raise StoreFailed(f"{folder.database}: {Fault.of(e)}") from e
            if isinstance(e, OSError):
                raise StoreFailed(f"{folder.path}: {e.strerror}") from e
            raise
        return cls(folder, connection, os.open(folder.database, os.O_RDWR))

    def make_room(self, pages: int, page_bytes: int) -> None:
        """Have space for *pages* in the database's file, so that the log can always go there.

        Else a full disk would show when the log is to be emptied, after commits that were
        acknowledged, and nothing more could be written at all.

        Raises:
            OSError: there is none.
        """
        if pages > self._pages:
            os.posix_fallocate(self._fd, 0, pages * page_bytes)
            self._pages = pages

    def close(self) -> None:
        """Close, and let others have the folder; again is no fault."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        with contextlib.suppress(OSError):
            self.folder.mark.sync()
        with self.folder.keeping_reserve(), contextlib.suppress(sqlite3.Error):
            self.connection.close()
        os.close(fd)
        self.folder.mark.close()
        self.folder.close()


def _connection(
    folder: Folder,
    now: Callable[[], float],
    migrations: Sequence[Sequence[str]],
    at: Callable[[str], None],
) -> sqlite3.Connection:
    try:
        mark = folder.mark.read()
    except ValueError as e:
        raise folder.quarantine(str(e), now()) from e
    if not folder.database.exists() and mark is not None:
        raise folder.quarantine("the file is gone", now())
    folder.create()
    folder.lend_reserve()
    connection = schema.connect(folder.database)
    try:
        flaw = schema.found(lambda: _before(connection, mark))
        if flaw is None:
            _migrate(connection, folder, migrations, at)
            flaw = schema.flaw(connection) or _behind(connection, mark)
        if flaw is None:
            state = schema.read_state(connection)
            assert state is not None
            folder.mark.open(state.revision)
            folder.grow_log()
            folder.sync()
            return connection
    except BaseException:
        connection.close()
        raise
    error = folder.quarantine(flaw, now())
    with contextlib.suppress(sqlite3.Error):
        connection.close()
    raise error


def _before(connection: sqlite3.Connection, mark: int | None) -> str | None:
    """What is wrong with the database as it was found."""
    schema.set_up(connection)
    flaw = schema.shape_flaw(connection)
    if flaw is not None:
        return flaw
    version = schema.version(connection)
    if version == 0 and mark is not None:
        return "the tables are gone"
    return "the version of the tables is not what was written" if version < 0 else None


def _migrate(
    connection: sqlite3.Connection,
    folder: Folder,
    migrations: Sequence[Sequence[str]],
    at: Callable[[str], None],
) -> None:
    """Bring the tables up to date."""
    version = schema.version(connection)
    if version > len(migrations):
        raise StoreFailed(
            f"{folder.database} was written by a newer tlsgate (schema {version}, this one "
            f"knows {len(migrations)}): start that one, or restore a backup of this one"
        )
    schema.migrate(connection, migrations, at)


def _behind(connection: sqlite3.Connection, mark: int | None) -> str | None:
    """What was acknowledged and is not there."""
    state = schema.read_state(connection)
    if state is None or mark is None or state.revision >= mark:
        return None
    return f"it ends at revision {state.revision}, and commits up to {mark} were acknowledged"
