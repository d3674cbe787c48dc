"""What is answered about agents on their way to another listener, as schemas; see `answers`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    """An answer; a reader takes what it knows, so keys may be added."""

    model_config = ConfigDict(extra="allow")


class MovingAgent(_Answer):
    """An agent's tunnel, where it is and where it should be."""

    name: str
    roles: list[str]
    version: str
    hostname: str
    gateway: str | None
    worker: str
    listener: str
    transport: str
    address: str
    since: float
    streams: int
    last_seen: float
    should: str = Field(description="the listener where it should be; several with commas")
    state: str = Field(description="moved, moving, old, cannot, away; empty: not said")
    why: str = Field(description="why it is not there yet")


class MovesGiven(_Answer):
    """The advice in force."""

    percent: int
    labels: dict[str, str]
    paused: bool
    number: int


class MovingAgents(_Answer):
    """The advice, and how far each agent is."""

    advice: MovesGiven
    counts: dict[str, int] = Field(description="tunnels by state")
    agents: list[MovingAgent]
