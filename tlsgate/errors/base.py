"""The root of the family, and whose fault an error is."""

from __future__ import annotations

import enum
from typing import ClassVar

from attrs import define


class Fault(enum.Enum):
    """Who has to act; it decides the log level and the exit code."""

    CLIENT = "client"  #: logged at info; the peer has to change something
    TARGET = "target"  #: logged at warn; the server behind us is at fault
    OPERATOR = "operator"  #: logged at error; exit code 2
    GATE = "gate"  #: logged at critical; a bug of ours


@define(eq=False)
class GateError(Exception):
    """The base of every error that tlsgate raises on purpose."""

    fault: ClassVar[Fault] = Fault.GATE
    #: A short, stable word for metrics, logs and audit events.
    reason: ClassVar[str] = "error"

    def __str__(self) -> str:
        return self.reason
