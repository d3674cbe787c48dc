"""What gateways say of themselves and of who uses them, and what is asked of that."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tlsgate.auth.agentbodies import Word
from tlsgate.auth.bodies import Body, Line, Page
from tlsgate.core.ledger import PART, Kind, Transport

Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
Open = Annotated[int, Field(ge=0, le=1_000_000_000)]
LineNumber = Annotated[int, Field(ge=1, le=10_000_000)]


class UseBody(Body):
    """A row of a process's ledger: what is new of its count, and how many are open."""

    kind: Kind
    name: Word
    listener: Word
    transport: Transport
    version: Annotated[Line, Field(max_length=64)] = ""
    first: Seconds
    last: Seconds
    count: Count = Field(description="connections that were not told before; -1: not this one's")
    open: Open


class FileBody(Body):
    """What the gateway's file says of the mode, and in which line."""

    path: Annotated[Line, Field(max_length=1024)] = ""
    mode: Literal["separate", "multiplex"] | None = None
    mode_line: LineNumber | None = None
    version_line: LineNumber | None = None


class ListeningBody(Body):
    """A port of the gateway."""

    name: Word
    address: Line | None = None
    public: Annotated[list[Line], Field(max_length=64)] = Field(default_factory=list)
    state: Literal["open", "refusing"] = "open"
    since: Seconds = 0.0
    until: Seconds | None = None
    open: Open = 0


class ReportBody(Body):
    """What a process of a gateway says of itself."""

    gateway: Line = Field("", description="as its file calls it; its certificate's name counts")
    worker: Annotated[str, Field(pattern=r"^[0-9]{1,4}$")] = "0"
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    boot: Annotated[str, Field(pattern=r"^[0-9a-f]{8,32}$")]
    started: Seconds
    now: Seconds | None = Field(None, description="by the clock that all its times are of")
    leaving: bool = False
    number: Annotated[int, Field(ge=0)] = Field(0, description="of the part of the ledger")
    version: Line = ""
    config_version: Line = ""
    mode_in_force: Literal["separate", "multiplex"]
    file: FileBody = Field(default_factory=FileBody)
    listeners: Annotated[list[ListeningBody], Field(max_length=128)] = Field(default_factory=list)
    ledger: Annotated[list[UseBody], Field(max_length=PART)] = Field(default_factory=list)


class LedgerAsked(Page):
    """Which rows of the ledger."""

    listener: Line = ""
    kind: Line = ""
    transport: Line = ""
    name: Line = ""
    since: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] = Field(
        0.0, description="seen then or later, or connected; seconds since the epoch"
    )
