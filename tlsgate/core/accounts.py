"""The cluster's ledger: what all processes tell, as one.

1. Counts of the same use add up; open connections are those of the processes that live.
2. A row that is not known any more is the oldest one of those with nobody connected.
3. Nobody can push out others: addresses without an identity have a share of their own, and one
   name so many programs.
4. A process takes back no more than it has told itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from tlsgate.core.ledger import BOOK, Row, Use

#: Rows of a cluster.
MOST: Final = 10_000
#: Of them, of addresses that have shown no identity: a scanner may not push users out.
MOST_UNKNOWN: Final = 2_500
#: Of one name, listener and transport: clients call themselves as they like.
MOST_VERSIONS: Final = 8
#: Rows that make room at once; a commit has a bound (`core.keeping.CHANGES`).
MOST_OUT: Final = 60


@frozen
class Changed:
    """What a part makes of the accounts.

    Attributes:
        rows: as they are from then on, without who is connected.
        dropped: uses that are not known any more.
        lost: how many of those were the oldest; others have turned out to be of no one.
    """

    rows: tuple[Row, ...]
    dropped: tuple[Use, ...]
    lost: int


class Accounts:
    """The cluster's rows, and who is connected, by process.

    Args:
        rows: that are known; what they say of open connections does not count.
        most, most_unknown: how many there may be.

    Attributes:
        lost: rows that had to make room.
    """

    def __init__(
        self,
        rows: Iterable[Row] = (),
        lost: int = 0,
        *,
        most: int = MOST,
        most_unknown: int = MOST_UNKNOWN,
    ) -> None:
        self._rows = {row.use: evolve(row, open=0) for row in rows}
        self._versions: dict[Use, set[Use]] = {}
        for use in self._rows:
            self._versions.setdefault(evolve(use, version=""), set()).add(use)
        self._most, self._most_unknown = most, most_unknown
        self._open: dict[str, dict[Use, int]] = {}
        #: What each process has told, less what it has taken back.
        self._told: dict[str, dict[Use, int]] = {}
        self.lost = lost

    def rows(self) -> Iterator[Row]:
        """Every row, in no order."""
        totals = self.open()
        for use, row in self._rows.items():
            yield evolve(row, open=totals.get(use, 0))

    def open(self) -> Mapping[Use, int]:
        """How many connections there are, of each use that has any."""
        totals: dict[Use, int] = {}
        for uses in self._open.values():
            for use, count in uses.items():
                totals[use] = totals.get(use, 0) + count
        return totals

    def fair(self, process: str, told: Sequence[Row]) -> tuple[Row, ...]:
        """What of *told* counts: nobody takes back what is others'; nothing is changed yet."""
        own = dict(self._told.get(process, ()))
        rows = []
        for row in told:
            left = own.get(row.use, 0)
            count = max(row.count, -left)
            own[row.use] = left + count
            rows.append(evolve(row, count=count))
        return tuple(rows)

    def noted(self, process: str, told: Sequence[Row]) -> None:
        """*process* has told this, and it was taken."""
        own = self._told.setdefault(process, {})
        for row in told:
            count = own.get(row.use, 0) + row.count
            if count <= 0:
                own.pop(row.use, None)
            elif row.use in own or len(own) < BOOK:  # an honest one has no more than it knows
                own[row.use] = count

    def merged(self, told: Sequence[Row]) -> Changed:
        """What becomes of the rows when a part is added; nothing is changed yet."""
        after: dict[Use, Row] = {}
        for one in told:
            old = after.get(one.use) or self._rows.get(one.use)
            row = evolve(one, open=0)
            if old is not None:
                row = evolve(
                    row,
                    first=min(old.first, one.first),
                    last=max(old.last, one.last),
                    count=old.count + one.count,
                )
            after[one.use] = row
        # A connection that has turned out to be somebody's leaves nothing where it was.
        none = [use for use, row in after.items() if row.count <= 0]
        busy = self.open()
        for use in none:
            del after[use]
        both = {**self._rows, **after}
        for use in none:
            both.pop(use, None)
        out = self._oldest_versions(after, both)
        out |= self._oldest({use: row for use, row in both.items() if use not in out}, busy)
        # No more than one commit takes; the next part goes on with it.
        out = dict.fromkeys(list(out)[:MOST_OUT])
        rows = tuple(row for use, row in after.items() if use not in out)
        dropped = tuple(use for use in (*none, *out) if use in self._rows)
        return Changed(rows, dropped, len(out))

    def apply(self, changed: Changed) -> None:
        """Make what `merged` gave the rows."""
        for use in changed.dropped:
            del self._rows[use]
            base = evolve(use, version="")
            self._versions[base].discard(use)
            if not self._versions[base]:
                del self._versions[base]
        for row in changed.rows:
            self._rows[row.use] = row
            self._versions.setdefault(evolve(row.use, version=""), set()).add(row.use)
        self.lost += changed.lost

    def connected(self, process: str, told: Sequence[Row]) -> None:
        """Take how many connections *process* has of each of these uses."""
        uses = self._open.setdefault(process, {})
        for row in told:
            if row.open <= 0:
                uses.pop(row.use, None)
            elif row.use in uses or len(uses) < BOOK:  # an honest one has no more than it knows
                uses[row.use] = row.open

    def gone(self, process: str) -> None:
        """Nobody is connected to *process* any more, and it takes nothing back."""
        self._open.pop(process, None)
        self._told.pop(process, None)

    # -- inside --

    def _oldest_versions(self, after: Iterable[Use], rows: Mapping[Use, Row]) -> dict[Use, None]:
        """Which rows have to go, because one name comes by too many programs."""
        out: dict[Use, None] = {}
        fresh: dict[Use, set[Use]] = {}
        for use in after:
            fresh.setdefault(evolve(use, version=""), set()).add(use)
        for base, uses in fresh.items():
            known = [rows[use] for use in uses | self._versions.get(base, set()) if use in rows]
            known.sort(key=lambda row: (row.last, row.use))
            out.update(
                dict.fromkeys(row.use for row in known[: max(0, len(known) - MOST_VERSIONS)])
            )
        return out

    def _oldest(self, rows: Mapping[Use, Row], busy: Mapping[Use, int]) -> dict[Use, None]:
        """Which of *rows* have to go."""
        unknown = [row for row in rows.values() if row.use.kind == "unknown"]
        out: dict[Use, None] = {}
        for some, most in ((unknown, self._most_unknown), (list(rows.values()), self._most)):
            left = [row for row in some if row.use not in out]
            if len(left) > most:
                left.sort(key=lambda one: (busy.get(one.use, 0) > 0, one.last))
                out.update(dict.fromkeys(row.use for row in left[: len(left) - most]))
        return out
