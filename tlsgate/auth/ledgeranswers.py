"""What the verbs about gateways and the ledger give; `auth.answers` has them in its table."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class Reported(_Answer):
    """A gateway's word was taken."""

    known: bool = Field(description="false: say anew of every row how many are connected")
    number: int = Field(description="of the part of the ledger that was taken")


class ReportedFile(_Answer):
    """What a gateway's file says of the mode, and in which line."""

    path: str
    mode: str | None = Field(description="null: the file does not say it")
    mode_line: int | None
    version_line: int | None


class ReportedListener(_Answer):
    """A port of a gateway."""

    name: str
    address: str | None
    public: list[str]
    state: Literal["open", "refusing"]
    since: float = Field(description="seconds since the epoch")
    until: float | None = Field(description="when a refusing port shuts")
    open: int = Field(description="connections of this process")


class GatewayReport(_Answer):
    """What a process of a gateway has said of itself last."""

    gateway: str
    worker: str
    boot: str
    started: float
    heard: float
    leaving: bool
    away: bool = Field(description="it has said nothing for two and a half minutes")
    version: str
    config_version: str
    mode_in_force: str
    file: ReportedFile
    listeners: list[ReportedListener]


class GatewayReports(_Answer):
    """The processes of all gateways, by name."""

    items: list[GatewayReport]


class LedgerRow(_Answer):
    """Who uses a listener, and how."""

    kind: Literal["user", "agent", "unknown"]
    name: str = Field(description="the identity's; of unknown the address")
    listener: str
    transport: Literal["raw", "tls-alpn", "tls", "plain-ssh"]
    version: str = Field(description="of the client, in its own words; empty: not known")
    first: float = Field(description="seconds since the epoch")
    last: float
    count: int
    open: int


class LedgerRows(_Answer):
    """A page of the ledger, in no order."""

    items: list[LedgerRow]
    next: str | None
    lost: int = Field(description="rows that had to make room, since the cluster began")


class WebMigration(_Answer):
    """What the console shows of the way from separate ports to one."""

    user: str
    migration: dict[str, Any] = Field(description="as GET /v1/migration")
    usage: dict[str, list[int]] = Field(
        description="by listener: connections of each minute, the newest last"
    )
    until: float = Field(description="the end of the newest minute, seconds since the epoch")
    rows: list[LedgerRow] = Field(description="who uses the separate ports, the last seen first")
    more: int = Field(description="how many rows are left out")
