"""The tables of the SQLite store, how they came to be, and whether a database is whole.

Each row carries a checksum of itself, and `state` the sum of those of each table, so that a
row that was changed, lost or kept from an older time is found: SQLite has checks of its own
for the shape of its pages, none for what stands in them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from attrs import define

from tlsgate.store.faults import Fault

#: Step n takes a database from version n to n + 1, in one transaction. Never change one that
#: was released.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        "CREATE TABLE schema (version INTEGER NOT NULL)",
        "INSERT INTO schema VALUES (0)",
        # One row. `floor`: of the events after it none is missing.
        """CREATE TABLE state (
            revision INTEGER NOT NULL, floor INTEGER NOT NULL,
            items INTEGER NOT NULL, items_sum INTEGER NOT NULL,
            events INTEGER NOT NULL, events_sum INTEGER NOT NULL,
            events_bytes INTEGER NOT NULL, checksum INTEGER NOT NULL)""",
        "INSERT INTO state VALUES (0, 0, 0, 0, 0, 0, 0, 0)",
        # Keys are UTF-8 as bytes: SQLite compares these like we do, whatever they contain.
        """CREATE TABLE items (
            key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL,
            expires REAL, checksum INTEGER NOT NULL) WITHOUT ROWID""",
        # value NULL: the key is gone.
        """CREATE TABLE events (
            revision INTEGER NOT NULL, ordinal INTEGER NOT NULL, key BLOB NOT NULL, value BLOB,
            expires REAL, checksum INTEGER NOT NULL,
            PRIMARY KEY (revision, ordinal)) WITHOUT ROWID""",
        # Space within the file, for what has to be written when the disk is full.
        "CREATE TABLE ballast (body BLOB NOT NULL)",
    ),
)

_PRAGMAS: Final = (
    # Exclusive before WAL: the index of the log is then in memory, and a full disk cannot
    # hit it (https://www.sqlite.org/wal.html#noshm).
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "temp_store = MEMORY",
    "secure_delete = FAST",
    "cell_size_check = ON",
    "trusted_schema = OFF",
    f"journal_size_limit = {4 << 20}",
)


#: Primary codes with which SQLite answers what is no database, or not one with our tables.
_UNREADABLE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_TOOBIG,
    }
)


@define
class State:
    """The one row of `state`.

    Attributes:
        floor: of the events after this revision none is missing.
        items: how many rows; `items_sum`: their checksums added up, modulo 2**63.
        events: the same of the events.
        events_bytes: of their keys and values.
    """

    revision: int = 0
    floor: int = 0
    items: int = 0
    items_sum: int = 0
    events: int = 0
    events_sum: int = 0
    events_bytes: int = 0

    def row(self) -> tuple[int, ...]:
        """Its columns, the checksum last."""
        numbers = (
            self.revision,
            self.floor,
            self.items,
            self.items_sum,
            self.events,
            self.events_sum,
            self.events_bytes,
        )
        return (*numbers, checksum(b"", b"", *numbers))


def checksum(key: object, value: object, *others: object) -> int:
    """A number below 2**63 that any change of a row changes; -1: this is no row of ours."""
    if not isinstance(key, bytes) or not isinstance(value, bytes | None):
        return -1
    shape = repr((len(key), value is None, others)).encode()
    digest = blake2b(shape + key + (value or b""), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def added(total: int, number: int) -> int:
    """*total* with one more checksum (or one less, when *number* is negative)."""
    return (total + number) % (1 << 63)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file of a store's database; for one thread at a time. Reads nothing yet."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # None of our columns is text; where a flipped bit made one, it must not raise.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def set_up(connection: sqlite3.Connection) -> None:
    """Have the database alone, with its log, each commit synced."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is done within is kept together, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors have rolled back already (https://www.sqlite.org/lang_transaction.html).
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0: there are none, -1: it is not what was written."""
    known = "SELECT count(*) FROM sqlite_master WHERE name = 'schema'"
    if connection.execute(known).fetchone()[0] == 0:
        return 0
    rows = connection.execute("SELECT version FROM schema").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], int) or rows[0][0] < 1:
        return -1
    return int(rows[0][0])


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[Sequence[str]],
    at: Callable[[str], None],
) -> None:
    """Take the tables to the newest version, step by step.

    Args:
        at: called before each statement with its name.
    """
    for step in range(version(connection), len(migrations)):
        with transaction(connection):
            for number, statement in enumerate(migrations[step]):
                at(f"migrate {step} {number}")
                connection.execute(statement)
            connection.execute("UPDATE schema SET version = ?", (step + 1,))
            if step == 0:
                write_state(connection, State())
            at(f"migrate {step} commit")
        at(f"migrate {step} done")


def read_state(connection: sqlite3.Connection) -> State | None:
    """The state; None when it is not what was written."""
    rows = connection.execute(
        "SELECT revision, floor, items, items_sum, events, events_sum, events_bytes, checksum "
        "FROM state"
    ).fetchall()
    if len(rows) != 1 or not all(isinstance(number, int) for number in rows[0]):
        return None
    state = State(*rows[0][:-1])
    return state if state.row() == rows[0] else None


def write_state(connection: sqlite3.Connection, state: State) -> None:
    """Replace the state."""
    connection.execute(
        "UPDATE state SET revision = ?, floor = ?, items = ?, items_sum = ?, events = ?, "
        "events_sum = ?, events_bytes = ?, checksum = ?",
        state.row(),
    )


def flaw(connection: sqlite3.Connection) -> str | None:
    """What is wrong with a database of this version; None: it is what was written.

    Raises:
        sqlite3.Error: the disk, not what is on it.
    """
    return found(lambda: _rows_flaw(connection))


def found(look: Callable[[], str | None]) -> str | None:
    """What *look* finds, or what keeps it from looking: tables that cannot be read are damaged.

    Raises:
        sqlite3.Error: the disk, not what is on it.
    """
    try:
        return look()
    except UnicodeDecodeError:
        return "a name in it is not what was written"
    except sqlite3.Error as e:
        if getattr(e, "sqlite_errorcode", 1) & 0xFF not in _UNREADABLE:
            raise
        return Fault.of(e).said


def shape_flaw(connection: sqlite3.Connection) -> str | None:
    """What SQLite finds wrong with the database's pages; None: nothing."""
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if said == "ok" else " ".join(str(said).split())[:200]


def _rows_flaw(connection: sqlite3.Connection) -> str | None:
    state = read_state(connection)
    if state is None:
        return "the state is not what was written"
    count = total = 0
    for key, value, revision, expires, number in connection.execute(
        "SELECT key, value, revision, expires, checksum FROM items"
    ):
        if checksum(key, value, revision, expires) != number:
            return f"the item {name(key)} is not what was written"
        count, total = count + 1, added(total, number)
    if (count, total) != (state.items, state.items_sum):
        return f"{state.items} items were written, {count} are there, or not the newest"
    count = total = 0
    for key, value, revision, ordinal, expires, number in connection.execute(
        "SELECT key, value, revision, ordinal, expires, checksum FROM events"
    ):
        if checksum(key, value, revision, ordinal, expires) != number:
            return f"the event {revision}/{ordinal} is not what was written"
        count, total = count + 1, added(total, number)
    if (count, total) != (state.events, state.events_sum):
        return f"{state.events} events were written, {count} are there"
    return None


def name(key: object) -> str:
    """A key for people, whatever has become of it."""
    return repr(key.decode("utf-8", "replace") if isinstance(key, bytes) else key)[:80]
