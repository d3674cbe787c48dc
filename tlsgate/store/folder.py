"""The folder of a store: who has it, what was acknowledged, what is held in reserve.

`store.db` (and `store.db-wal`) are SQLite's. Beside them:

- `lock`: held with flock by the process that has the store, which it names;
- `mark`: the newest revision that was acknowledged. It is written after each COMMIT, so a
  database that ends before it has lost something, whatever its own checks say: SQLite takes
  a flipped bit in the write-ahead log for the log's end;
- `reserve`: the space of the log while the store is closed, so that a store that is opened on
  a full disk can still write;
- `damaged`: says what was found; while it is there, the store does not open. Else the next
  start would begin with nothing, as if all were well.

The folder has mode 0700, each file 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tlsgate.errors import StoreFailed

#: The mark: the revision, and 8 bytes of BLAKE2b over it.
_MARK: Final = struct.Struct(">Q8s")

#: The log never has less space, so that a small commit needs none of the disk.
LOG_BYTES: Final = 128 * 1024

#: https://www.sqlite.org/fileformat2.html#the_write_ahead_log; a log without one is empty.
_LOG_HEADER_BYTES: Final = 32


class Folder:
    """A folder that this process alone has, until `close`.

    Raises:
        StoreFailed: another process has it, it is damaged, or the disk says no.
    """

    def __init__(self, path: Path, *, mending: bool = False) -> None:
        """Take *path*, making it; *mending*: even when it is damaged."""
        self.path = path
        self.database = path / "store.db"
        self.log = path / "store.db-wal"
        self.note = path / "damaged"
        self.mark_file = path / "mark"
        self.reserve = path / "reserve"
        try:
            self._make()
            self._lock = self._locked()
        except OSError as e:
            raise StoreFailed(f"{path}: {e.strerror}") from e
        if self.note.exists() and not mending:
            why = self.note.read_text("utf-8", "replace").strip()
            self.close()
            raise StoreFailed(why or f"{path} is damaged; restore a backup")
        self.mark = Mark(self.mark_file)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._lock)

    def sync(self) -> None:
        """Make names durable: what was created, renamed or removed."""
        sync_folder(self.path)

    def create(self) -> None:
        """Make an empty database file where there is none, for its owner only."""
        os.close(os.open(self.database, os.O_CREAT | os.O_RDWR, 0o600))
        self.database.chmod(0o600)
        self.sync()

    def lend_reserve(self) -> None:
        """Make the reserve an empty log; before the database is opened."""
        if self.log.exists():
            self.reserve.unlink(missing_ok=True)  # perhaps the same file, after a crash
        elif self.reserve.exists():
            _empty_log(self.reserve)
            self.reserve.rename(self.log)

    def grow_log(self) -> None:
        """See that the open log has its space."""
        fd = os.open(self.log, os.O_RDWR)
        try:
            os.posix_fallocate(fd, 0, LOG_BYTES)
        except OSError:
            return  # there is none; what there is has to do
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def keeping_reserve(self) -> Iterator[None]:
        """Keep the space of the log, which SQLite removes when it is closed within."""
        with contextlib.suppress(OSError):
            self.reserve.unlink(missing_ok=True)
            os.link(self.log, self.reserve)
        yield
        with contextlib.suppress(OSError):
            if self.log.exists():
                self.reserve.unlink(missing_ok=True)
            elif self.reserve.exists():
                _empty_log(self.reserve)
        with contextlib.suppress(OSError):
            self.sync()

    def set_aside(self, word: str, now: float) -> str:
        """Rename the database and what belongs to it; gives the name that it now has."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        ending, count = f"{word}-{stamp}", 1
        while any(self.path.glob(f"*.{ending}")):
            count += 1
            ending = f"{word}-{stamp}-{count}"
        # The log goes first: a database without its log is behind its mark, and so found out.
        for file in (self.log, self.database, self.mark_file):
            with contextlib.suppress(FileNotFoundError):
                file.rename(file.with_name(f"{file.name}.{ending}"))
        self.sync()
        return f"{self.database.name}.{ending}"

    def quarantine(self, why: str, now: float) -> StoreFailed:
        """Set the database aside and leave a note; gives the error that says so."""
        self.write_note(f"{self.database} is damaged ({why}); restore a backup")
        name = self.set_aside("damaged", now)
        text = (
            f"{self.database} is damaged ({why}) and was set aside as {name}: restore a "
            f"backup, or remove {self.note} to begin with nothing"
        )
        self.write_note(text)
        return StoreFailed(text)

    def write_note(self, text: str) -> None:
        """Say why the store is not to be opened."""
        # A full disk leaves the note empty; that it is there is what counts.
        with contextlib.suppress(OSError):
            fd = os.open(self.note, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            try:
                os.write(fd, f"{text}\n".encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        self.sync()

    def _make(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700)
            sync_folder(self.path.parent)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)

    def _locked(self) -> int:
        # Not inherited by children (PEP 446); the lock ends with the process however it ends.
        fd = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(fd, 20).decode("ascii", "replace").strip()
            os.close(fd)
            raise StoreFailed(
                f"{self.path} is in use by another process ({pid or 'unknown'}): "
                "one process alone may have it"
            ) from None
        with contextlib.suppress(OSError):  # the pid is for people; a full disk is no reason
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd


class Mark:
    """The newest revision that somebody was told of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        #: True: what was written may not be on the disk yet.
        self.unsynced = False

    def read(self) -> int | None:
        """Give the revision; None when there is none.

        Raises:
            ValueError: the mark is not what was written.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if len(raw) == _MARK.size:
            revision, checksum = _MARK.unpack(raw)
            if _checksum(revision) == checksum:
                return int(revision)
        raise ValueError("the mark of the newest revision is damaged")

    def open(self, revision: int) -> None:
        """Begin to write, with *revision*."""
        self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        self.write(revision)
        os.fsync(self._fd)
        self.unsynced = False

    def write(self, revision: int) -> None:
        """Write *revision* over the one before: in place, which needs no space."""
        if self._fd is not None:
            os.pwrite(self._fd, _MARK.pack(revision, _checksum(revision)), 0)
            self.unsynced = True

    def sync(self) -> None:
        """Have it on the disk."""
        if self._fd is not None and self.unsynced:
            self.unsynced = False
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Write no more."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


def sync_folder(path: Path) -> None:
    """Make the names in *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _empty_log(path: Path) -> None:
    """Make a log that nobody has open an empty one, and keep its first space."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, bytes(_LOG_HEADER_BYTES), 0)
        if os.fstat(fd).st_size > LOG_BYTES:
            os.ftruncate(fd, LOG_BYTES)
        os.fsync(fd)
    finally:
        os.close(fd)


def _checksum(revision: int) -> bytes:
    return blake2b(revision.to_bytes(8, "big"), digest_size=8).digest()
