"""First bytes to the protocol that they open, or not yet.

1. Protocols register an `Opening` each; `TLS_OPENING` is the one of the gate itself.
2. `sniff` asks them in order about the head: the first that says yes wins; one that is
   not sure yet makes it wait, and after `OPENING_LIMIT` bytes counts as a no.
3. What follows (`Then`) and the bytes that the opening consumes are said on the opening.

Nothing is consumed here: the caller still owns the head.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from tlsgate.core.outcome import More
from tlsgate.core.routing import TLS

#: A matcher that is still unsure of so many bytes is taken as a no.
OPENING_LIMIT = 64


class Then(enum.Enum):
    """What follows an opening once its answer is written."""

    TLS = "tls"  #: a ClientHello
    AGAIN = "again"  #: another opening of the same protocol
    TAKE = "take"  #: the protocol itself, from the opening's first byte on
    REFUSE = "refuse"  #: nothing: the answer is the last word


class Matcher(Protocol):
    """A pure, three-valued test of the first bytes of a connection.

    True and False are final for every longer head; None asks for more. It must
    give True or False within 64 bytes.
    """

    def __call__(self, head: bytes, /) -> bool | None: ...


@frozen(kw_only=True)
class Opening:
    """First bytes by which a protocol shows itself before or without TLS."""

    name: str  #: "postgres-sslrequest"
    protocol: str  #: the protocol's name
    match: Matcher
    then: Then
    consumes: int = 0  #: how many bytes of the head are the opening's own (TLS, AGAIN)
    answer: bytes = b""  #: written before what follows
    own_port: bool = False  #: True: known on the protocol's own port only
    #: True: taken on a port that is closed, too: it is about who came before that.
    when_closed: bool = False


def prefix(wire: bytes) -> Matcher:
    """Make a matcher for heads that start with *wire*."""

    def match(head: bytes, /) -> bool | None:
        if head.startswith(wire):
            return True
        return None if wire.startswith(head) else False

    return match


def _is_tls(head: bytes, /) -> bool | None:
    """Tell a TLS handshake record by its type and major version (RFC 8446 section 5.1)."""
    if len(head) >= 2:
        return head[0] == 0x16 and head[1] == 0x03
    return None if not head or head[0] == 0x16 else False


#: A TLS record that holds a handshake message; `hello.read_hello` reads on.
TLS_OPENING = Opening(name=TLS, protocol=TLS, match=_is_tls, then=Then.TLS)


def sniff(head: bytes, openings: Sequence[Opening]) -> Opening | More | None:
    """Name the opening that *head* starts with.

    Args:
        head: the bytes seen so far; not consumed.
        openings: in order of preference, where two would take the same bytes.

    Returns:
        The opening; `More` while further bytes could change the answer; None when
        the bytes open none of *openings*.
    """
    final = len(head) >= OPENING_LIMIT
    for opening in openings:
        verdict = opening.match(head)
        if verdict:
            return opening
        if verdict is None and not final:
            return _MORE
    return None


_MORE = More(1)
