"""Opening a store's database: its lock, its tables, its checks.

What is found damaged is set aside by name before the connection closes: closing would fold the
log into the database and remove it, and with it what there is to look at.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from attrs import define

from tlsgate.errors import StoreFailed
from tlsgate.store import schema
from tlsgate.store.faults import Fault, Kind
from tlsgate.store.folder import Folder


@define(eq=False)
class Opened:
    """A store's folder and the connection to its database."""

    folder: Folder
    connection: sqlite3.Connection

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
            try:
                connection = _connection(folder, now, migrations, at)
            except sqlite3.Error as e:
                if Fault.of(e).kind is not Kind.FULL:
                    raise
                folder.reserve.release()  # tables and log may need a page or two
                connection = _connection(folder, now, migrations, at)
        except BaseException as e:
            folder.close()
            if isinstance(e, sqlite3.Error):
                raise StoreFailed(f"{folder.database}: {Fault.of(e)}") from e
            if isinstance(e, OSError):
                raise StoreFailed(f"{folder.path}: {e.strerror}") from e
            raise
        return cls(folder, connection)

    def close(self) -> None:
        """Close, and let others have the folder."""
        with contextlib.suppress(OSError):
            self.folder.mark.sync()
        with contextlib.suppress(sqlite3.Error):  # a full disk leaves the log for next time
            self.connection.close()
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
    connection: sqlite3.Connection | None = None
    flaw: str | None = None
    try:
        connection = schema.connect(folder.database)
        flaw = _flaw(connection, folder, mark, migrations, at)
        if flaw is None:
            state = schema.read_state(connection)
            assert state is not None
            folder.mark.open(state.revision)
            folder.reserve.take()
            return connection
    except sqlite3.Error as e:
        fault = Fault.of(e)
        if fault.kind is not Kind.DAMAGED:
            if connection is not None:
                connection.close()
            raise
        flaw = fault.said
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    error = folder.quarantine(flaw, now())
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()
    raise error


def _flaw(
    connection: sqlite3.Connection,
    folder: Folder,
    mark: int | None,
    migrations: Sequence[Sequence[str]],
    at: Callable[[str], None],
) -> str | None:
    """Bring the tables up to date; gives what is wrong with the database, None: nothing."""
    flaw = schema.shape_flaw(connection)
    if flaw is not None:
        return flaw
    version = schema.version(connection)
    if version > len(migrations):
        raise StoreFailed(
            f"{folder.database} was written by a newer tlsgate (schema {version}, this one "
            f"knows {len(migrations)}): start that one, or restore a backup of this one"
        )
    if version == 0 and mark is not None:
        return "the tables are gone"
    schema.migrate(connection, migrations, at)
    flaw = schema.rows_flaw(connection)
    state = schema.read_state(connection)
    if flaw is None and state is not None and mark is not None and state.revision < mark:
        return f"it ends at revision {state.revision}, and commits up to {mark} were acknowledged"
    return flaw
