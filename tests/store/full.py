"""A store on a disk of 2 MiB that fills up; run in a mount namespace of its own.

    unshare -m python -m tests.store.full FOLDER

It mounts the disk on FOLDER, writes while something else fills it, and prints what happened as
one JSON object. See `tests.integration.test_store`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.store.pump import Pump
from tlsgate.core.keeping import Change, Delete, Put
from tlsgate.errors import StoreFailed
from tlsgate.store.sqlite import SqliteStore


class Disk:
    """The small disk: a store, and a file that takes the space."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", folder], check=True
        )
        self.folder = folder
        self.pump = Pump()
        self.seconds = 1000.0
        self.acked: dict[str, bytes] = {}
        self.store = self.open()

    def open(self) -> SqliteStore:
        """Open the store, with what is there."""
        return SqliteStore(
            self.folder / "store", now=lambda: self.seconds, from_thread=self.pump.put
        )

    def commit(self, *changes: Change) -> str:
        """Commit; gives what went wrong."""
        try:
            self.pump.run(self.store.commit(changes))
        except StoreFailed as e:
            return str(e)
        for change in changes:
            if isinstance(change, Put):
                self.acked[change.key] = change.value
            else:
                self.acked.pop(change.key, None)
        return ""

    def pair(self, number: int, body: bytes) -> str:
        """Write two items that belong together."""
        return self.commit(Put(f"pairs/{number}/a", body), Put(f"pairs/{number}/b", body))

    def fill(self, leave: int = 0) -> None:
        """Take the space, up to the last *leave* bytes."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(4096))
            if leave:
                filler.truncate(max(0, filler.tell() - leave))

    def free(self) -> None:
        """Give it back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def right(self) -> bool:
        """Whether the store holds what was acknowledged, and nothing else."""
        there: dict[str, bytes] = {}
        after = ""
        while page := self.pump.run(self.store.scan("", after)):
            there |= {item.key: item.value for item in page}
            after = page[-1].key
        return there == self.acked

    def available(self) -> int:
        """Bytes that can still be written."""
        stat = os.statvfs(self.folder)
        return stat.f_bavail * stat.f_frsize


def _told(texts: Sequence[str]) -> list[str]:
    return sorted({text for text in texts if text})


def scene(disk: Disk) -> dict[str, Any]:
    """What happens; each key is one fact."""
    said: dict[str, Any] = {}
    # Filled up with commits alone, then with something else while commits go on.
    said["by itself"] = _told([disk.pair(n, bytes([n % 256]) * 3000) for n in range(500)])
    said["by itself, right"] = disk.right()
    for number in range(0, 500, 2):
        disk.commit(Delete(f"pairs/{number}/a"), Delete(f"pairs/{number}/b"))
    disk.commit(Put("sessions/1", b"short", expires=disk.seconds + 5))
    for leave in range(0, 80_000, 12_288):
        disk.free()
        said[f"freed {leave}"] = disk.pair(1000 + leave, b"room")
        disk.fill(leave)
        said.setdefault("filled", []).extend(
            _told([disk.pair(2000 + leave + n, bytes([n]) * 2000) for n in range(60)])
        )
        said[f"right {leave}"] = disk.right()
    disk.fill()
    # Nothing else is possible, locks are; also after a restart.
    said["put"] = disk.commit(Put("users/new", b"x" * 9000))
    said["locks"] = _told([disk.commit(Put(f"locks/{n}", b"locked" * 40)) for n in range(20)])
    said["put again"] = disk.commit(Put("users/new", b"x" * 9000))
    disk.seconds += 10
    disk.acked.pop("sessions/1", None)
    said["expired is gone"] = disk.right()
    try:
        disk.pump.run(disk.store.backup(disk.folder / "copy.db"))
    except StoreFailed as e:
        said["backup"] = str(e)
    disk.store.stop()
    said["left"] = sorted(path.name for path in disk.folder.iterdir())
    disk.store = disk.open()
    said["restarted, right"] = disk.right()
    disk.fill()
    said["locks after restart"] = _told(
        [disk.commit(Put(f"locks/more/{n}", b"locked" * 40)) for n in range(5)]
    )
    # Freed: as before, without a restart.
    disk.free()
    said["freed"] = _told([disk.pair(n, b"again" * 100) for n in range(20)])
    said["freed, right"] = disk.right()
    disk.store.stop()
    disk.store = disk.open()
    said["at last, right"] = disk.right()
    disk.store.stop()
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(scene(Disk(Path(sys.argv[1])))) + "\n")
