"""The value that every parser of a prefix gives for "not yet"."""

from __future__ import annotations

from attrs import frozen


@frozen
class More:
    """The answer needs more bytes than there are.

    Attributes:
        lacks: how many more bytes are needed at the least before it is worth
            asking again; never below 1. A reader may wait for that many.
    """

    lacks: int = 1
