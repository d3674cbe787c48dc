"""The cluster's ledger: what all processes tell, as one.

1. Counts of the same use add up; open connections are those of the processes that live.
2. A row that is not known any more is the oldest one of those with nobody connected.
3. Nobody can push out others: addresses without an identity have a share of their own, and one
   name so many programs.
4. A process takes back no more than it has told itself.
5. A part costs what it has in it, and not what is known, while there is room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from tlsgate.core.ledger import BOOK, Row, Use

#: Rows of a cluster.
MOST: Final = 10_000
#: Of them, of addresses that have shown no identity: a scanner may not push users out.
MOST_UNKNOWN: Final = 2_500
#: Of one name, listener and transport: clients call themselves as they like.
MOST_VERSIONS: Final = 8
#: Uses that are remembered of all processes of one gateway.
OF_ONE: Final = 100_000
#: Of one process, those of which it may take something back.
TOLD: Final = 2_000
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

    A process is called "GATEWAY/…": what is remembered of all processes of one gateway has a
    bound, too.

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
        self._rows: dict[Use, Row] = {}
        #: Those of them that are about addresses.
        self._unknown: dict[Use, Row] = {}
        self._versions: dict[Use, set[Use]] = {}
        self._most, self._most_unknown = most, most_unknown
        #: Who is connected, and what each process has told less what it has taken back.
        self._open: dict[str, dict[Use, int]] = {}
        self._told: dict[str, dict[Use, int]] = {}
        self._total: dict[Use, int] = {}
        self._sizes: dict[str, int] = {}
        self.lost = lost
        for row in rows:
            self._put(evolve(row, open=0))

    def rows(self) -> Iterator[Row]:
        """Every row, in no order."""
        for use, row in self._rows.items():
            count = self._total.get(use, 0)
            yield evolve(row, open=count) if count else row

    def open(self) -> Mapping[Use, int]:
        """How many connections there are, of each use that has any."""
        return dict(self._total)

    def by_listener(self, process: str) -> Mapping[str, int]:
        """How many connections *process* has, by the listener that they came by."""
        found: dict[str, int] = {}
        for use, count in self._open.get(process, {}).items():
            found[use.listener] = found.get(use.listener, 0) + count
        return found

    def settle(self, now: float) -> None:
        """Take nobody for seen later than *now*: a clock that was ahead is not any more."""
        for row in [one for one in self._rows.values() if one.last > now]:
            self._put(evolve(row, first=min(row.first, now), last=now))

    def fair(self, process: str, told: Sequence[Row]) -> tuple[Row, ...]:
        """What of *told* counts: nobody takes back what is others'; nothing is changed yet."""
        own = dict(self._told.get(process, ())) if told else {}
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
            self._set(process, own, row.use, 0)
            if count > 0:
                if len(own) >= TOLD:  # what is taken back is taken back soon
                    self._set(process, own, next(iter(own)), 0)
                self._set(process, own, row.use, count)

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
            # Whoever is connected has come: the accounts may be younger than that.
            after[one.use] = evolve(row, count=max(row.count, one.open))
        # A connection that has turned out to be somebody's leaves nothing where it was.
        none = [use for use, row in after.items() if row.count <= 0]
        for use in none:
            del after[use]
        gone = {use for use in none if use in self._rows}
        out = self._too_many(after, gone)
        rows = tuple(row for use, row in after.items() if use not in out)
        dropped = tuple(use for use in (*none, *out) if use in self._rows)
        return Changed(rows, dropped, len(out))

    def apply(self, changed: Changed) -> None:
        """Make what `merged` gave the rows."""
        for use in changed.dropped:
            del self._rows[use]
            self._unknown.pop(use, None)
            base = evolve(use, version="")
            self._versions[base].discard(use)
            if not self._versions[base]:
                del self._versions[base]
        for row in changed.rows:
            self._put(row)
        self.lost += changed.lost

    def connected(self, process: str, told: Sequence[Row]) -> None:
        """Take how many connections *process* has of each of these uses."""
        uses = self._open.setdefault(process, {})
        for row in told:
            before = uses.get(row.use, 0)
            if row.use in uses or len(uses) < BOOK:  # an honest one has no more than it knows
                self._set(process, uses, row.use, max(0, row.open))
            self._add(row.use, uses.get(row.use, 0) - before)

    def gone(self, process: str) -> None:
        """Nobody is connected to *process* any more, and it takes nothing back."""
        for use, count in self._open.get(process, {}).items():
            self._add(use, -count)
        size = len(self._open.pop(process, ())) + len(self._told.pop(process, ()))
        self._resize(process, -size)

    # -- inside --

    def _put(self, row: Row) -> None:
        self._rows[row.use] = row
        if row.use.kind == "unknown":
            self._unknown[row.use] = row
        self._versions.setdefault(evolve(row.use, version=""), set()).add(row.use)

    def _add(self, use: Use, count: int) -> None:
        total = self._total.get(use, 0) + count
        if total:
            self._total[use] = total
        else:
            self._total.pop(use, None)

    def _set(self, process: str, uses: dict[Use, int], use: Use, count: int) -> None:
        """Remember *count* in *uses*, a book of *process*, where there is room."""
        if use in uses:
            if count:
                uses[use] = count
            else:
                del uses[use]
                self._resize(process, -1)
        elif count and self._sizes.get(_gateway(process), 0) < OF_ONE:
            uses[use] = count
            self._resize(process, 1)

    def _resize(self, process: str, step: int) -> None:
        gateway = _gateway(process)
        size = self._sizes.pop(gateway, 0) + step
        if size:
            self._sizes[gateway] = size

    def _too_many(self, after: Mapping[Use, Row], gone: Collection[Use]) -> dict[Use, None]:
        """Which rows have to go once *after* are there and *gone* are not.

        No more than one commit takes; the next part goes on with it.
        """
        out = self._oldest_versions(after, gone)
        unknown = {use: row for use, row in after.items() if use.kind == "unknown"}
        for kept, new, most in (
            (self._unknown, unknown, self._most_unknown),
            (self._rows, after, self._most),
        ):
            left = out.keys() | gone
            number = len(kept) + sum(use not in kept for use in new)
            number -= sum(use in kept or use in new for use in left)
            if number > most:
                there = {**kept, **new}
                for use in left:
                    there.pop(use, None)
                oldest = sorted(there.values(), key=self._age)[: number - most]
                out.update(dict.fromkeys(row.use for row in oldest))
        return dict.fromkeys(list(out)[:MOST_OUT])

    def _age(self, row: Row) -> tuple[bool, float]:
        """By which the first ones go first."""
        return row.use in self._total, row.last

    def _oldest_versions(self, after: Mapping[Use, Row], gone: Collection[Use]) -> dict[Use, None]:
        """Which rows have to go, because one name comes by too many programs."""
        out: dict[Use, None] = {}
        fresh: dict[Use, set[Use]] = {}
        for use in after:
            fresh.setdefault(evolve(use, version=""), set()).add(use)
        for base, uses in fresh.items():
            known = (uses | self._versions.get(base, set())) - set(gone)
            if len(known) > MOST_VERSIONS:
                rows = [after.get(use) or self._rows[use] for use in known]
                rows.sort(key=lambda row: (*self._age(row), row.use))
                out.update(dict.fromkeys(row.use for row in rows[: len(rows) - MOST_VERSIONS]))
        return out


def _gateway(process: str) -> str:
    return process.partition("/")[0]
