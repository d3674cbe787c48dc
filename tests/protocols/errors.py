"""One error of each kind that a protocol may have to put in words."""

from __future__ import annotations

from tlsgate.errors import (
    CannotListen,
    Denied,
    Draining,
    GateError,
    NoCertificate,
    NoRoute,
    NotServed,
    TargetRefused,
    TargetSilent,
    TooLate,
    TooMany,
    UnknownOpening,
)

#: What a client may be told whole, then of targets, then of the gateway itself.
ERRORS: tuple[GateError, ...] = (
    Denied("db", "bob", "no rule names this certificate"),
    NoCertificate("db"),
    NotServed("x", "use something else"),
    NoRoute("web", "n\u00e4me\r\nX: y", (b"\xff\r\n",)),
    UnknownOpening("web", b"\r\n\r\n"),
    TooMany("connections", 3),
    TooLate("opening_seconds", 10),
    Draining(),
    TargetRefused("tcp:10.0.0.5:5432", "connection refused"),
    TargetSilent("tcp:10.0.0.5:5432", 5),
    CannotListen("web", "tcp:1", "hunter2"),
    GateError(),
)
TARGETS = ERRORS[8:10]
OURS = ERRORS[10:]
