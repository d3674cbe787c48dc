"""What the verbs of the migration take and give; `auth.answers` has the answers in its table."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tlsgate.auth.bodies import Body, Line, Query
from tlsgate.auth.ledgeranswers import LedgerRow

_Quiet = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class MigrationAsked(Query):
    """How long somebody has to be silent not to count."""

    quiet: _Quiet | None = None


class PreflightAsked(MigrationAsked):
    """Which ports would close: names with commas; empty: all that are separate."""

    close: Line = ""


class StepBody(Body):
    """Which step to take."""

    step: Annotated[int, Field(ge=1, le=7)]
    dry_run: bool = False
    force: bool = False
    quiet_seconds: _Quiet | None = None


class RollbackBody(Body):
    """Whether to go back; the next step of it is taken."""

    dry_run: bool = False
    force: bool = False


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class MigrationStep(_Answer):
    """A step as of now."""

    number: int
    key: str
    title: str
    state: Literal["done", "go", "no-go", "later"]
    evidence: list[str]
    names: list[str] = Field(description="what stands in the way, or is not there yet")
    todo: str


class MigrationRun(_Answer):
    """A step that has begun and not ended."""

    step: int
    direction: Literal["there", "back"]
    stage: Literal["switching", "file"]
    mode: str
    by: str
    started: float


class MigrationStatus(_Answer):
    """Where the cluster stands between separate ports and one."""

    mode: Literal["separate", "multiplex"]
    mode_since: float | None = Field(description="null: it has never been another one")
    mode_origin: str
    settle_seconds: float
    unsettled_seconds: float = Field(description="ports may not close for so long")
    broken: list[str] = Field(description="where clients are told what is not served")
    contradicts: list[str]
    away: list[str] = Field(description="gateways of which nothing is known now")
    steps: list[MigrationStep]
    back: list[MigrationStep]
    run: MigrationRun | None


class FileChange(_Answer):
    """A key of a file: its new value, or null where it goes."""

    path: list[str]
    value: str | list[str] | None


class FileChanges(_Answer):
    """What a step changes in a configuration file, and on whose host that is."""

    host: str
    file: str
    lines: list[int]
    changes: list[FileChange]


class StepTaken(_Answer):
    """What has become of a step."""

    step: MigrationStep
    direction: Literal["there", "back"]
    result: Literal["done", "waits", "would", "nothing"] = Field(
        description="waits: for files to be changed and reloaded, or for others to follow"
    )
    forced: bool
    said: list[str]
    files: list[FileChanges]
    breaks: list[LedgerRow]


class Preflight(_Answer):
    """Who would break if ports closed now."""

    close: list[str]
    go: bool
    why: list[str] = Field(description="what else speaks against it")
    breaks: list[LedgerRow]
    people: list[str] = Field(description="the same, a line each")
    unknown: int = Field(description="open connections of addresses without an identity")
