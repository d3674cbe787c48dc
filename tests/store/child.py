"""A process that writes to a store until it is killed, and says what was acknowledged.

    python -m tests.store.child FOLDER ROUND WRITERS [--die NAME COUNT] [--migrations N]

Each line on stdout is one fact, written at once: "ready", "token ID", "certificate ID". Each
writer makes a token, then spends it for a certificate in two parts, again and again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.store.pump import Pump
from tlsgate.core.keeping import ABSENT, Delete, Put
from tlsgate.errors import StoreFailed
from tlsgate.store.schema import MIGRATIONS
from tlsgate.store.sqlite import SqliteStore

#: A step that the tests add to the released ones.
NEXT: Sequence[str] = (
    "CREATE TABLE copies (key BLOB NOT NULL PRIMARY KEY, revision INTEGER) WITHOUT ROWID",
    "INSERT INTO copies SELECT key, revision FROM items",
    "UPDATE copies SET revision = revision + 1",
    "CREATE INDEX copies_by_revision ON copies (revision)",
)


def die_at(name: str) -> None:
    """End this process as a power switch would, when its time has come."""
    _seen[name] = _seen.get(name, 0) + 1
    if (name, _seen[name]) == _death:
        os.kill(os.getpid(), signal.SIGKILL)


_seen: dict[str, int] = {}
_death: tuple[str, int] | None = None


def say(fact: str) -> None:
    """Write one line, at once."""
    os.write(1, f"{fact}\n".encode())


async def write(store: SqliteStore, label: str) -> None:
    """Write for ever."""
    for number in itertools.count():
        name = f"{label}.{number}"
        body = name.encode() * (1 + number % 40)
        token = await store.commit([Put(f"tokens/{name}", body, ABSENT)])
        say(f"token {name}")
        await store.commit(
            [
                Delete(f"tokens/{name}", token),
                Put(f"certificates/{name}/tls", body, ABSENT),
                Put(f"certificates/{name}/ssh", body, ABSENT),
            ]
        )
        say(f"certificate {name}")


def main(arguments: Sequence[str]) -> int:
    """Open the store and write."""
    global _death
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("round", type=int)
    parser.add_argument("writers", type=int)
    parser.add_argument("--die", nargs=2)
    parser.add_argument("--migrations", type=int, default=len(MIGRATIONS))
    options = parser.parse_args(arguments)
    if options.die:
        _death = (options.die[0], int(options.die[1]))
    pump = Pump()
    try:
        store = SqliteStore(
            options.folder,
            from_thread=pump.put,
            migrations=[*MIGRATIONS, NEXT][: options.migrations],
            at=die_at,
        )
    except StoreFailed as e:
        say(str(e))
        return 1
    say("ready")
    running = [
        pump.start(write(store, f"{options.round}.{writer}")) for writer in range(options.writers)
    ]
    if running:
        pump.until(lambda: any(running))
        say(f"a writer ended: {running}")
    store.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
