"""Which of a server's sessions is meant by a key that a PostgreSQL client was given.

The gateway makes the key, the agent puts it in place of the server's own, and only the agent
knows both (S44). It is forgotten when its session ends.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from attrs import field, frozen

from tlsgate.core.wire.pgmessages import Key

#: Sessions that are remembered; past that the oldest can be cancelled no more.
_REMEMBERED: Final = 16384


@frozen(eq=False)
class Held:
    """One session of a server's.

    Attributes:
        user, name: whose session with which database it is; nobody else's request counts.
        db_user: as whom.
        address: of the server, as the socket has it.
        key: the server's own.
    """

    user: str
    name: str
    db_user: str
    address: Any
    key: Key = field(repr=False)


class Keys:
    """See the module; keys are as requests have them, in hexadecimal digits."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: str, held: Held) -> None:
        """Remember *held* as *key*, unless that is another session's already."""
        self._held.setdefault(key, held)
        if len(self._held) > _REMEMBERED:
            self._held.popitem(last=False)

    def drop(self, key: str, held: Held) -> None:
        """Forget *key*, where it means *held*."""
        if self._held.get(key) is held:
            del self._held[key]

    def find(self, key: str, user: str, name: str) -> Held | None:
        """The session that *user* means at the database *name*."""
        held = self._held.get(key)
        if held is None or (held.user, held.name) != (user, name):
            return None
        return held
