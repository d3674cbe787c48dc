"""What gateways ask for pages of the console that only operators may see."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from tlsgate.auth.bodies import WebCheck
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.migrationanswers import MigrationAsked
from tlsgate.auth.resources import roles_of
from tlsgate.auth.rights import Rights
from tlsgate.auth.verbs_apps import logged_in
from tlsgate.auth.verbs_migration import status
from tlsgate.core.ledger import told
from tlsgate.core.migration import SEPARATE_PORTS

#: The picture's minutes.
_MINUTES: Final = 180
#: Rows of the page.
_ROWS: Final = 100


async def _migration(call: Call) -> Any:
    body: WebCheck = call.body
    parts = call.parts
    person = await logged_in(call, body.cookie, None, body.address)
    roles = await roles_of(parts.store, person.roles)
    theirs = Rights(principal=call.principal, roles=roles, person=person)
    found = await status(evolve(call, rights=theirs, query=MigrationAsked()))
    now = parts.now()
    rows = [
        row
        for row in parts.reports.rows(now)
        if row.use.listener in SEPARATE_PORTS and row.use.kind != "unknown"
    ]
    rows.sort(key=lambda row: (row.open == 0, -row.last))
    return {
        "user": person.name,
        "migration": found,
        "usage": parts.reports.usage.series(_MINUTES, now),
        "until": now,
        "rows": [told(row) for row in rows[:_ROWS]],
        "more": max(0, len(rows) - _ROWS),
    }


VERBS: Final = (
    Verb(
        name="web.migration",
        method="POST",
        path="/v1/web/migration",
        who="gateway",
        summary="Say to an operator's browser where the way from separate ports to one stands.",
        answer=_migration,
        reply="WebMigration",
        body=WebCheck,
    ),
)
