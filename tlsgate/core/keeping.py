"""What a store keeps: items under text keys, changes to them, and what a watcher hears.

A key is a path of words ("roles/access"); a value is bytes and the store never looks into
it. Every commit has a revision, one higher than the last; the items that it changes carry
it, so "unchanged since I read it" is one comparison.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

#: What a change may expect of a key besides a revision.
ANY: Final = -1  #: anything
ABSENT: Final = 0  #: no item

#: Bounds that every store keeps to.
KEY_BYTES: Final = 512
VALUE_BYTES: Final = 1 << 20
CHANGES: Final = 128  #: in one commit
PAGE: Final = 1000  #: items of one scan


@frozen(kw_only=True)
class Item:
    """One value as it stood at a revision.

    Attributes:
        revision: of the commit that wrote it.
        expires: seconds since the epoch; from then on the item is gone. None: never.
    """

    key: str
    value: bytes = field(repr=False)  # may be a secret
    revision: int
    expires: float | None = None


@frozen
class Put:
    """Write *key*; *expects* is `ANY`, `ABSENT`, or the revision that it must have."""

    key: str
    value: bytes = field(repr=False)
    expects: int = ANY
    expires: float | None = None


@frozen
class Delete:
    """Remove *key*; with `ANY` it need not be there."""

    key: str
    expects: int = ANY


@frozen
class Check:
    """Change nothing; the commit fails unless *key* is as expected."""

    key: str
    expects: int


Change = Put | Delete | Check


@frozen
class Event:
    """A key has changed; *item* is None when it was deleted or has expired."""

    key: str
    item: Item | None
    revision: int
