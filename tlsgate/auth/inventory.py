"""Which agents have a tunnel to which gateway, as the gateways say.

Kept in memory alone: a gateway says it again each minute, so it is whole a minute after a
start, and a storm of agents that come back writes nothing (R07).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from tlsgate.errors import BadAsk

#: A gateway that has said nothing for so long has none of the agents that it had.
EXPIRE_SECONDS: Final = 150.0
#: Gateways, or workers of such, that are heard; more are refused.
REPORTERS: Final = 1024

Row = Mapping[str, Any]


@frozen
class _Report:
    heard: float
    rows: tuple[Row, ...]


@define
class Inventory:
    """See the module."""

    _reports: dict[tuple[str, str], _Report] = field(factory=dict, init=False)

    def report(self, gateway: str, worker: str | None, rows: Sequence[Row], now: float) -> None:
        """Take what *gateway* says instead of what it has said.

        Args:
            worker: whose agents *rows* are, all of them; None: of each worker that they name,
                and where there are none, of all.
            now: seconds since the epoch.

        Raises:
            BadAsk: there are too many gateways.
        """
        self._forget(now)
        if worker is not None:
            workers = [worker]
        elif rows:
            workers = sorted({str(row.get("worker", "")) for row in rows})
        else:
            workers = [one for name, one in self._reports if name == gateway]
        for one in workers:
            key = (gateway, one)
            mine = tuple(row for row in rows if worker is not None or row.get("worker", "") == one)
            if not mine:
                self._reports.pop(key, None)
            elif key not in self._reports and len(self._reports) >= REPORTERS:
                raise BadAsk(f"there are {REPORTERS} gateways and workers already")
            else:
                self._reports[key] = _Report(now, mine)

    def rows(self, now: float) -> list[dict[str, Any]]:
        """Each agent with the gateway that has it and when that was said, by name."""
        self._forget(now)
        found = [
            {**row, "worker": worker, "gateway": gateway, "last_seen": report.heard}
            for (gateway, worker), report in self._reports.items()
            for row in report.rows
        ]
        return sorted(found, key=lambda row: (row["name"], row["gateway"], row["worker"]))

    def _forget(self, now: float) -> None:
        for key, report in list(self._reports.items()):
            if not now - report.heard < EXPIRE_SECONDS:
                del self._reports[key]
