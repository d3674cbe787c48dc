"""Errors of the way from separate ports to one, and back."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from tlsgate.errors.base import Fault, GateError


@define(eq=False)
class StepNotSafe(GateError):
    """A step of the migration would break somebody; it can be forced."""

    fault = Fault.OPERATOR
    reason = "step_not_safe"
    step: str
    who: Sequence[str]  #: a sentence for each thing in the way

    def __str__(self) -> str:
        return f"{self.step} is no-go: {'; '.join(self.who)}. Add --force to do it nevertheless"


@define(eq=False)
class StepRuns(GateError):
    """Another step of the migration has begun and not ended."""

    fault = Fault.OPERATOR
    reason = "step_runs"
    step: str

    def __str__(self) -> str:
        return f"{self.step} has begun and not ended; see tgctl migration status"
