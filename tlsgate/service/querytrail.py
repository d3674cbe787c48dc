"""The agent's own audit trail, which tells of audited queries to the cluster's as well.

The agent's own has each whole; the cluster's has the beginning of its text, and only as many as
it takes (`telling`): no query waits for either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from tlsgate.interfaces import IAudit
from tlsgate.service.telling import Tell, Telling

QUERY: Final = "db.session.query"
#: Of a query's text, in characters, as the auth service takes it.
TEXT: Final = 1024
#: What is told as it is.
_TOLD: Final = (
    *("user", "db_service", "db_protocol", "db_user", "db_name"),
    *("db_query_kind", "db_query_statement", "db_query_parameters_count"),
)

#: What only a gateway says. One that was taken shall not have auth refuse what stands beside it.
_GATEWAYS: Final = ("client", "trace")
_WORD: Final = 256


@implementer(IAudit)
class QueryTrail:
    """See the module.

    Args:
        audit: the agent's own.
        tell: asks the auth service.
        clock: for timers.
        now: seconds since the epoch.
    """

    def __init__(
        self, audit: IAudit, tell: Tell, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        self._audit = audit
        self._now = now
        self._telling = Telling(
            tell, clock, path="/v1/agent/queries", key="queries", what="queries of its databases"
        )

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        self._audit.emit(event, fields)
        if event != QUERY:
            return
        if self._telling.is_full:
            self._telling.lose()
            return
        text = str(fields["db_query"])
        self._telling.put(
            {
                "at": self._now(),
                **{name: fields[name] for name in _TOLD},
                **{name: _plain(str(fields[name])) for name in _GATEWAYS},
                "db_query": text[:TEXT],
                "db_query_cut": bool(fields["db_query_cut"]) or len(text) > TEXT,
            }
        )

    def stop(self) -> None:
        """Tell nothing more."""
        self._telling.stop()


def _plain(text: str) -> str:
    return (text if text.isprintable() else ascii(text))[:_WORD]
