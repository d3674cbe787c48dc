"""What is measured: each case says how to make the load and how to read the answer."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from tests.bench.figures import Sample

#: One answer of the load generator; see `load/commands.c`.
Answer = Mapping[str, Any]

GIB = float(1 << 30)
MIB = float(1 << 20)

#: Server names: the first has no rule of its own, the second one is passed through.
TLS_NAME = "gw.bench.test"
PASS_NAME = "pass.bench.test"
TOKEN = "bench"  #: ALPN


class Kind(enum.Enum):
    """How the numbers of a case come about."""

    CPU = "cpu"  #: CPU time of the gateway for what the load counted
    MEMORY = "memory"  #: resident memory with connections and without


@frozen(kw_only=True)
class Case:
    """One line of the table.

    Attributes:
        mode: the load generator's command.
        target: which port of the load generator stands behind the gateway.
        moved: how much of the rate's unit an answer counted.
        per: the unit's size in those, times what turns seconds into the unit.
    """

    name: str
    title: str
    unit: str
    rate_unit: str
    mode: str
    target: str
    connections: int
    reach: float | None
    stretch: float | None
    kind: Kind = Kind.CPU
    passthrough: bool = False
    moved: Callable[[Answer], float] = field(default=lambda answer: float(answer["count"]))
    per: float = 1.0

    def sample(self, answer: Answer, *, others_busy: float = 0.0, lines: int = 0) -> Sample:
        """Turn an answer into the case's value."""
        moved = self.moved(answer)
        if moved <= 0 or answer["wall"] <= 0:
            raise ValueError("nothing moved")
        return Sample(
            value=answer["cpu"] / moved * self.per,
            rate=moved / answer["wall"],
            gateway_busy=answer["cpu"] / answer["wall"],
            load_busy=1 - answer["idle"] / answer["wall"],
            others_busy=others_busy,
            lines=lines,
        )


def _mib(key: str) -> Callable[[Answer], float]:
    return lambda answer: float(answer[key]) / MIB


CASES: tuple[Case, ...] = (
    Case(
        name="down",
        title="CPU per GiB to the client",
        unit="s",
        rate_unit="MiB/s",
        mode="down",
        target="source",
        connections=4,
        moved=_mib("sent"),
        per=GIB / MIB,
        reach=0.77,
        stretch=0.70,
    ),
    Case(
        name="up",
        title="CPU per GiB from the client",
        unit="s",
        rate_unit="MiB/s",
        mode="up",
        target="sink",
        connections=4,
        moved=_mib("received"),
        per=GIB / MIB,
        reach=0.87,
        stretch=0.75,
    ),
    Case(
        name="connect",
        title="CPU per mTLS connection",
        unit="ms",
        rate_unit="1/s",
        mode="connect",
        target="echo",
        connections=16,
        per=1e3,
        reach=0.90,
        stretch=0.75,
    ),
    Case(
        name="roundtrip",
        title="CPU per 64-byte round trip",
        unit="us",
        rate_unit="1/s",
        mode="pingpong",
        target="echo",
        connections=32,
        per=1e6,
        reach=1.4,
        stretch=1.1,
    ),
    Case(
        name="memory",
        title="memory per idle connection",
        unit="KiB",
        rate_unit="",
        mode="hold",
        target="echo",
        connections=2000,
        kind=Kind.MEMORY,
        reach=1.35,
        stretch=1.0,
    ),
    Case(
        name="pass1",
        title="CPU per GiB passed, 1 connection",
        unit="s",
        rate_unit="MiB/s",
        mode="pass",
        target="source",
        connections=1,
        passthrough=True,
        moved=_mib("bytes"),
        per=GIB / MIB,
        reach=0.85,
        stretch=0.80,
    ),
    Case(
        name="pass500",
        title="CPU per GiB passed, 500 connections",
        unit="s",
        rate_unit="MiB/s",
        mode="pass",
        target="source",
        connections=500,
        passthrough=True,
        moved=_mib("bytes"),
        per=GIB / MIB,
        reach=0.85,
        stretch=0.80,
    ),
)
