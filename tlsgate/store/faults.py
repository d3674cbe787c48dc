"""What SQLite and the disk say, as a sentence for whoever runs the store."""

from __future__ import annotations

import enum
import sqlite3
from typing import Final

from attrs import frozen


class Kind(enum.Enum):
    """What can be done about a fault."""

    FULL = "free some space; nothing was changed"
    DAMAGED = "the database is damaged; stop the daemon and restore a backup"
    UNSURE = "whether the last commits were kept is known after a restart"
    OTHER = "nothing was changed"


#: https://www.sqlite.org/rescode.html, primary codes.
_KINDS: Final = {
    sqlite3.SQLITE_FULL: Kind.FULL,
    sqlite3.SQLITE_CORRUPT: Kind.DAMAGED,
    sqlite3.SQLITE_NOTADB: Kind.DAMAGED,
    # After a failed write or fsync the kernel may have dropped what it could not write, and
    # says so only once (https://lwn.net/Articles/752063/): trying again proves nothing.
    sqlite3.SQLITE_IOERR: Kind.UNSURE,
}


@frozen
class Fault:
    """A fault of SQLite: its kind and its words."""

    kind: Kind
    said: str

    @classmethod
    def of(cls, error: sqlite3.Error) -> Fault:
        """Read *error*."""
        code = getattr(error, "sqlite_errorcode", None)
        kind = Kind.OTHER if code is None else _KINDS.get(code & 0xFF, Kind.OTHER)
        name = getattr(error, "sqlite_errorname", None)
        return cls(kind, f"{error} ({name})" if name else str(error))

    def __str__(self) -> str:
        return f"{self.said}: {self.kind.value}"
