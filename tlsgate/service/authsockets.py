"""The sockets between a supervisor's workers and the auth service beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.internet.endpoints import quoteStringArgument

from tlsgate.config.settings import Settings

#: Names among the daemon's sockets; in parentheses, as no listener can be called.
API: Final = "(auth)"
TLS: Final = "(auth-tls)"


@frozen
class Inside:
    """One of them, as far as `Sockets` asks."""

    name: str
    endpoint: str

    @property
    def written(self) -> str:
        """For messages."""
        return self.endpoint


def path_of(data_dir: Path, name: str) -> Path:
    """Where a socket is."""
    return data_dir / f"{name.strip('()')}.sock"


def inside(settings: Settings) -> Sequence[Inside]:
    """What *settings* open for an auth service in a process of its own."""
    if settings.workers == 1 or not settings.auth_enabled:
        return ()
    paths = [(name, str(path_of(settings.data_dir, name))) for name in (API, TLS)]
    return [
        # By its keyword: a path may have "=" in it, which would make one of its beginning.
        Inside(name, f"unix:address={quoteStringArgument(path)}:mode=600")
        for name, path in paths
    ]
