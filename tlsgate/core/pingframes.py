"""The framing of the `-ping` tokens: bytes with a sign of life between them.

Inside TLS each message is four bytes of length (big endian) and as many bytes; a length of 0
is a ping, which the reader drops. Only the server sends pings, and nobody answers them: load
balancers that know nothing of TCP's keep-alive see traffic. The framing is that of
Teleport's RFD 81 (https://github.com/gravitational/teleport/blob/master/rfd/0081-tls-ping.md).
"""

from __future__ import annotations

from typing import Final

from tlsgate.errors import BadBytes

#: Bytes of a length.
HEADER: Final = 4
PING: Final = bytes(HEADER)
#: The longest message that is taken. Readers hold no message whole, so it only bounds what a
#: stray peer's bytes could be taken for: the letters of most protocols are longer lengths.
LIMIT: Final = 16 << 20


def frame(message: bytes) -> bytes:
    """Write *message*; an empty one is nothing at all, and no ping."""
    return len(message).to_bytes(HEADER, "big") + message if message else b""


def check(length: int) -> int:
    """Give *length*, 0 for a ping.

    Raises:
        BadBytes: nobody sends so much.
    """
    if length > LIMIT:
        raise BadBytes("ping frame", f"{length} bytes are more than {LIMIT}")
    return length


class Unframe:
    """Frames to their contents, however they are cut.

    Attributes:
        pings: how many have come.
    """

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.pings = 0

    @property
    def whole(self) -> bool:
        """Whether what has come ends where a message ends."""
        return not (self._left or self._head)

    def feed(self, data: bytes) -> bytes:
        """Give the contents of *data*.

        Raises:
            BadBytes: a message is too long.
        """
        found = []
        while data:
            if not self._left:
                missing = HEADER - len(self._head)
                self._head, data = self._head + data[:missing], data[missing:]
                if len(self._head) < HEADER:
                    break
                self._left = check(int.from_bytes(self._head, "big"))
                self._head = b""
                self.pings += not self._left
                continue
            found.append(data[: self._left])
            data, self._left = data[self._left :], max(self._left - len(data), 0)
        return b"".join(found)
