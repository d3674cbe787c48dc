"""A connection that has changed its protocol: a relay, with a session that may end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from tlsgate.interfaces import IKeptToEnd
from tlsgate.protocols.apps.session import Acting


@implementer(IKeptToEnd)
class Switched:
    """What has the client's socket after a 101.

    Args:
        pair: of client and target, not started.
        over: called once when the relay is over, with the bytes to the target and to the client.
    """

    def __init__(self, pair: Any, over: Callable[[int, int], None]) -> None:
        self._pair = pair
        self._over = over
        self._unwatch: Callable[[], object] | None = None

    def start(self, *, to_target: bytes, to_client: bytes, acting: Acting | None) -> None:
        """Carry; *acting* ends it when it ends."""
        self._pair.start(to_target, to_client)
        if acting is not None and self._pair.open:
            self._unwatch = acting.on_end(self._session_ended)

    def lost(self) -> None:
        """See `IKeptToEnd`."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()
        self._over(*self.carried())

    @property
    def cause(self) -> str:
        """See `IKept`."""
        return str(self._pair.cause)

    def end_in_order(self, cause: str) -> None:
        """See `IKept`."""
        self._pair.abort(cause)

    def resting(self) -> bool:
        """Nobody knows of a stranger's protocol whether it rests."""
        return False

    def carried(self) -> tuple[int, int]:
        """See `IKept`."""
        return self._pair.to_target.moved, self._pair.to_client.moved

    def _session_ended(self) -> None:
        self._unwatch = None
        self._pair.abort("session_ended")
