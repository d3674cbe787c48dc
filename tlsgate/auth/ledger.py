"""The cluster's ledger, kept: who uses which listener, and how.

Rows are items below `ledger/row/`, one a use; how many had to make room is `ledger/lost`. What a
gateway tells is written with the number of its part in one commit (`auth.gatewayreports`), so
that nothing counts twice and nothing that was taken is forgotten. Who is connected is known by
the processes alone, and is told again to an auth service that has started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from twisted.logger import Logger

from tlsgate.auth.opaque import pack, unpack
from tlsgate.core.accounts import Accounts, Changed
from tlsgate.core.keeping import PAGE, Change, Delete, Put
from tlsgate.core.ledger import Row, Use, read_row, told
from tlsgate.errors import GateError
from tlsgate.interfaces import IStore

ROWS: Final = "ledger/row/"
LOST: Final = "ledger/lost"


class Ledger:
    """See the module."""

    _log = Logger()

    def __init__(self) -> None:
        self.accounts = Accounts()

    async def start(self, store: IStore) -> None:
        """Read what is kept.

        Raises:
            StoreFailed: it cannot be read.
        """
        rows: list[Row] = []
        after, unread = "", 0
        while True:
            items = await store.scan(ROWS, after, PAGE)
            for item in items:
                try:
                    rows.append(read_row(unpack(item.key, item.value)))
                except GateError:
                    unread += 1
            if len(items) < PAGE:
                break
            after = items[-1].key
        if unread:
            self._log.warn("{count} rows of the ledger cannot be read", count=unread)
        kept = await store.get(LOST)
        lost = 0 if kept is None else int(unpack(kept.key, kept.value).get("count", 0))
        self.accounts = Accounts(rows, lost)

    @property
    def lost(self) -> int:
        """How many rows had to make room."""
        return self.accounts.lost

    def rows(self) -> tuple[Row, ...]:
        """Every row, with how many are connected; by use."""
        return tuple(sorted(self.accounts.rows(), key=_place))

    def changes(self, changed: Changed) -> list[Change]:
        """What to write so that *changed* is kept."""
        written: list[Change] = [Put(key_of(row.use), pack(told(row))) for row in changed.rows]
        written += [Delete(key_of(use)) for use in changed.dropped]
        if changed.lost:
            written.append(Put(LOST, pack({"count": self.lost + changed.lost})))
        return written

    def merged(self, rows: Sequence[Row]) -> Changed:
        """See `Accounts.merged`."""
        return self.accounts.merged(rows)


def _place(row: Row) -> tuple[str, ...]:
    use = row.use  # its own order says the same, and takes ten times as long
    return use.kind, use.name, use.listener, use.transport, use.version


def key_of(use: Use) -> str:
    """Under which key the row of *use* is kept: names are of any length and letters."""
    words = (use.kind, use.name, use.listener, use.transport, use.version)
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    return ROWS + digest[:40]
