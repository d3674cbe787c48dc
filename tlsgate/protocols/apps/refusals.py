"""What a client of applications reads of the gateway itself: small, constant, and no more.

Nothing that was sent comes back (S30). Browsers get a page, programs JSON; the sentence is the
same in both.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from tlsgate.core.http.fields import Field, Fields, values
from tlsgate.core.http.forward import phrase
from tlsgate.errors import (
    AgentBusy,
    AgentRefused,
    BadBytes,
    Denied,
    Draining,
    Fault,
    GateError,
    Locked,
    NoAgent,
    NoCertificate,
    NotServed,
    TargetBroken,
    TargetDenied,
    TargetSilent,
    TooLate,
    TooMany,
)
from tlsgate.protocols.words import told

_HTML: Final = b"text/html; charset=utf-8"
_JSON: Final = b"application/json"

_STATUS: Final[Mapping[type[GateError], int]] = {
    BadBytes: 400,
    Denied: 403,
    Locked: 403,
    NoCertificate: 403,
    TargetDenied: 403,
    NoAgent: 404,
    TooLate: 408,
    TooMany: 503,
    AgentBusy: 503,
    Draining: 503,
    NotServed: 503,
    TargetBroken: 502,
    TargetSilent: 504,
}
_BY_FAULT: Final = {Fault.CLIENT: 400, Fault.TARGET: 502, Fault.OPERATOR: 500, Fault.GATE: 500}
#: Reasons of an agent that has decided, and not failed.
_DENIALS: Final = frozenset({TargetDenied.reason, Denied.reason, Locked.reason})

MISDIRECTED: Final = "This connection was opened for another name; ask again on a new one."
UNKNOWN: Final = "There is no application of this name here, or its agent is away."

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{title}</h1><p>{sentence}</p></main></body></html>
"""


@frozen
class Answer:
    """One answer of ours, whole."""

    status: int
    fields: tuple[Field, ...]
    body: bytes = field(repr=False)


def status_of(error: GateError) -> int:
    """The status that says *error*."""
    if isinstance(error, AgentRefused) and error.said in _DENIALS:
        return 403
    return _STATUS.get(type(error)) or _BY_FAULT[error.fault]


def refusal(error: GateError, asked: Fields) -> Answer:
    """Say *error*.

    Args:
        asked: the request's fields, for what the client likes to read.
    """
    return answer(status_of(error), f"{told(error)}.", error.reason, asked)


def answer(status: int, sentence: str, reason: str, asked: Fields) -> Answer:
    """Say a sentence with a status."""
    kind, body = _JSON, _json(sentence, reason)
    if any(b"text/html" in value.lower() for value in values(asked, b"accept")):
        title = f"{status} {phrase(status).decode('ascii')}"
        kind = _HTML
        body = _PAGE.format(title=title, sentence=html.escape(sentence)).encode()
    fields = (
        (b"content-type", kind),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"server", b"tlsgate"),
    )
    return Answer(status, fields, body)


def _json(sentence: str, reason: str) -> bytes:
    return json.dumps({"error": {"reason": reason, "message": sentence}}).encode() + b"\n"
