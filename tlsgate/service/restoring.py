"""Put a copy of a cluster's state back, while no daemon has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlsgate.auth.seal import Seal
from tlsgate.service.auth import STORE
from tlsgate.store import backup


def restore(data_dir: Path, file: Path) -> dict[str, Any]:
    """Put the copy in *file* in the place of the store of *data_dir*.

    Returns:
        file, revision, bytes.

    Raises:
        BadSeal: the key file, without which the copy is of no use, is not there.
        StoreFailed: a daemon runs, or the copy is damaged; nothing was changed.
    """
    Seal.open(data_dir, fresh=False)
    found = backup.restore(data_dir / STORE, file)
    return {"file": str(file), "revision": found.revision, "bytes": found.size_bytes}
