"""What gateways report of their ports and of who uses them, and who may read it."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.ledger import key_of
from tlsgate.auth.ledgerbodies import LedgerAsked, ReportBody
from tlsgate.auth.networking import NETWORKING
from tlsgate.auth.principal import GATEWAY
from tlsgate.core.gatewayreports import (
    GatewayReport,
    behind,
    by_our_clock,
    moved,
    read_report,
    told_report,
)
from tlsgate.core.ledger import KINDS, TRANSPORTS, Wish, read_row, told
from tlsgate.errors import BadAsk, Forbidden


async def _report(call: Call) -> Any:
    body: ReportBody = call.body
    principal, parts = call.principal, call.parts
    if principal.kind != "host" or GATEWAY not in principal.system_roles:
        raise Forbidden(str(principal), "report a gateway", "only a gateway speaks for itself")
    said = body.model_dump(exclude={"ledger", "number", "workers", "now"})
    now = parts.now()
    # By a clock that is behind, somebody who was just there would have been gone for days; by
    # one that is ahead he would stay the newest, and push out what others tell.
    late = behind(body.now, now)
    report = by_our_clock(read_report({**said, "gateway": principal.name, "heard": now}), late)
    rows = [
        evolve(row, first=moved(row.first, late, now), last=moved(row.last, late, now))
        for row in (read_row(one.model_dump()) for one in body.ledger)
    ]
    known = await parts.reports.take(report, body.number, rows, body.workers)
    return {"known": known, "number": body.number}


def may_read(call: Call) -> None:
    """Let those pass who may see how the cluster is used: who may change its mode.

    Raises:
        Forbidden: somebody else asks.
    """
    call.rights.require(NETWORKING, "read", "readnosecrets", "list")


async def _ledger(call: Call) -> Any:
    may_read(call)
    asked: LedgerAsked = call.query
    if asked.kind and asked.kind not in KINDS:
        raise BadAsk(f"kind is one of {', '.join(KINDS)}")
    if asked.transport and asked.transport not in TRANSPORTS:
        raise BadAsk(f"transport is one of {', '.join(TRANSPORTS)}")
    wish = Wish(
        listener=asked.listener,
        kind=asked.kind,
        transport=asked.transport,
        name=asked.name,
        since=asked.since,
    )
    rows = {
        key_of(row.use): row for row in call.parts.reports.rows(call.parts.now()) if wish.fits(row)
    }
    left = sorted(key for key in rows if key > asked.after)
    page = left[: asked.limit]
    return {
        "items": [told(rows[key]) for key in page],
        "next": page[-1] if len(left) > len(page) else None,
        "lost": call.parts.ledger.lost,
    }


async def _reports(call: Call) -> Any:
    may_read(call)
    now = call.parts.now()
    return {"items": [_shown(one, now) for one in call.parts.reports.all(now)]}


def _shown(report: GatewayReport, now: float) -> dict[str, Any]:
    return {**told_report(report), "away": report.is_away(now)}


VERBS: Final = (
    Verb(
        name="gateway.report",
        method="POST",
        path="/v1/gateway/report",
        who="gateway",
        summary="Say what a gateway has open, which mode it tells, and who has come.",
        answer=_report,
        reply="Reported",
        body=ReportBody,
    ),
    Verb(
        name="gateways.reports",
        method="GET",
        path="/v1/gateways/reports",
        who="user",
        summary="List what each gateway has said of itself last, and whether it is away.",
        answer=_reports,
        reply="GatewayReports",
    ),
    Verb(
        name="ledger.list",
        method="GET",
        path="/v1/ledger",
        who="user",
        summary="List who uses which listener, how, with which client, and since when.",
        answer=_ledger,
        reply="LedgerRows",
        query=LedgerAsked,
    ),
)
