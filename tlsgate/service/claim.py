"""One daemon a data directory: a lock in DATA/tlsgate.pid that ends with its holder.

The lock is the kernel's (flock(2)) and lies on the open file, so nothing that a killed
process leaves behind can block a start, and a new process of an upgrade inherits it. The
number in the file only tells people whom to signal.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tlsgate.errors import DataDirTaken

PID_FILE = "tlsgate.pid"


class Claim:
    """The hold on a data directory, from start to end.

    Args:
        path: the pid file.
        file: its descriptor, locked.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self.file = file

    @classmethod
    def take(cls, data_dir: Path) -> Claim:
        """Claim *data_dir*, which is made when it is missing.

        Raises:
            DataDirTaken: a live daemon holds it.
            OSError: the directory cannot be written.
        """
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = data_dir / PID_FILE
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = os.pread(file, 20, 0).strip()
                os.close(file)
                raise DataDirTaken(str(path), int(text) if text.isdigit() else 0) from None
            if _same(file, path):
                return cls(path, file)
            os.close(file)  # its holder has just removed it; there is a newer one or none

    @classmethod
    def inherit(cls, data_dir: Path, file: int) -> Claim:
        """Go on with the claim of a predecessor, if it is on *data_dir*.

        Raises:
            DataDirTaken: it is not, and a live daemon holds *data_dir*.
        """
        path = data_dir / PID_FILE
        if _same(file, path):
            return cls(path, file)
        os.close(file)
        return cls.take(data_dir)

    def sign(self) -> None:
        """Write this process's number into the file."""
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, b"%d\n" % os.getpid(), 0)

    def give_up(self) -> None:
        """Let go; the file goes unless another process has signed it since."""
        if self.file < 0:
            return
        try:
            if os.pread(self.file, 20, 0).strip() in (b"", b"%d" % os.getpid()):
                if _same(self.file, self.path):
                    self.path.unlink()
        except OSError:
            pass  # what stays is harmless: the lock is gone
        self.let_go()

    def let_go(self) -> None:
        """Close the file and leave it to the process that inherited it."""
        os.close(self.file)
        self.file = -1


def _same(file: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (os.fstat(file).st_dev, os.fstat(file).st_ino)
