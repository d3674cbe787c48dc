"""Keys by which clients of databases cancel what they run; the gateway's own, not the server's.

1. A client's session gets a key that the gateway has drawn by lot: `CancelKeys.remember`. The
   worker's number stands in it, so that any other knows whom to ask (`worker_of`).
2. The agent puts it in place of the server's key, which never leaves the agent.
3. Who asks to cancel shows the key: `CancelKeys.find`. It is good while its session lasts, for
   that session alone, and nobody can tell from an answer how much of a guess was right (S44).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from attrs import field, frozen

from tlsgate.core.offers import Asked

#: Of a number: it is positive wherever 32 bits have a sign.
_NUMBER_BITS: Final = 21
_WORKER_BITS: Final = 10
WORKERS: Final = 1 << _WORKER_BITS

#: Of a secret: what a client of protocol 3.2 gets, and what one of 3.0 gets.
SECRET_BYTES: Final = 32
SHORT_BYTES: Final = 4
#: What `CancelKeys.remember` wants by lot.
LOT_BYTES: Final = 4 + SECRET_BYTES


@frozen(eq=False)
class Held:
    """One session that can be cancelled.

    Attributes:
        key: 4 bytes of a number, and the secret.
        asked: what the session's agent was asked for.
        long: whether the client may have got the whole secret.
        way: to that agent; another one that offers the same knows nothing of the key.
    """

    key: bytes = field(repr=False)
    asked: Asked
    long: bool
    way: Any = None

    @property
    def spelt(self) -> str:
        """The key as agents are told it."""
        return self.key.hex()


class CancelKeys:
    """The keys of one worker's sessions.

    Args:
        worker: its number, below `WORKERS`.
    """

    def __init__(self, worker: int) -> None:
        self._first = (worker % WORKERS) << _NUMBER_BITS
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def draw(self, lot: bytes) -> bytes | None:
        """Make a key of `LOT_BYTES` of chance; None: draw again, its number is in use."""
        number = self._first | int.from_bytes(lot[:4], "big") % (1 << _NUMBER_BITS)
        if number in self._held:
            return None
        return number.to_bytes(4, "big") + lot[4:LOT_BYTES]

    def remember(self, held: Held) -> None:
        """Let *held* be found by its key."""
        self._held[_number(held.key)] = held

    def forget(self, held: Held) -> None:
        """Its session has ended."""
        if self._held.get(_number(held.key)) is held:
            del self._held[_number(held.key)]

    def find(self, key: bytes) -> Held | None:
        """The session whose client was given *key*, whole or as protocol 3.0 has it."""
        held = self._held.get(_number(key))
        if held is None:
            return None
        size = 4 + SECRET_BYTES if held.long and len(key) > 4 + SHORT_BYTES else 4 + SHORT_BYTES
        # Digests tell nobody by their time where two differ.
        same = sha256(held.key[:size]).digest() == sha256(key).digest()
        return held if same else None


def worker_of(key: bytes) -> int:
    """The number of the worker that has made *key*; of a key that nobody has made, any."""
    return _number(key) >> _NUMBER_BITS


def _number(key: bytes) -> int:
    return int.from_bytes(key[:4], "big")
