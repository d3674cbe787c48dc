"""A gate made from a configuration file on the spot, for commands that need no daemon."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from tlsgate.config.settings import Settings

if TYPE_CHECKING:
    from tlsgate.service.local import Built


def settings_of(file: Path, data_dir: Path | None) -> Settings:
    """What *file* says, as the daemon would read it.

    Raises:
        BadSettings: it cannot be used; with every problem.
    """
    from tlsgate.service.reload import Source

    return Source(file, data_dir).load()[1]


@contextmanager
def built(settings: Settings) -> Iterator[Built]:
    """Build the gate of *settings*; opens no socket and leaves nothing behind.

    Raises:
        GateError: it cannot be built.
    """
    from tlsgate.service.local import build

    if settings.keypairs:
        yield build(settings)
        return
    # A gate without certificates writes one of its own into the data directory, which
    # is the daemon's to do.
    with tempfile.TemporaryDirectory(prefix="tlsgate-") as folder:
        yield build(evolve(settings, data_dir=Path(folder)))
