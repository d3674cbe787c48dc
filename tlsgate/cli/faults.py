"""What may go wrong for somebody at a terminal, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from tlsgate.errors import Fault, GateError, Problem


@define(eq=False)
class NotLoggedIn(GateError):
    """There is no certificate to be shown, or none that is still good."""

    fault = Fault.CLIENT
    reason = "not_logged_in"
    why: str
    login: str  #: the command that heals it

    def __str__(self) -> str:
        return f"{self.why}: run `{self.login}`"


@define(eq=False)
class ClockWrong(GateError):
    """This machine and the cluster do not agree about the time."""

    fault = Fault.CLIENT
    reason = "clock"
    why: str

    def __str__(self) -> str:
        return f"{self.why}: check the clock of this machine, and the gateway's"


@define(eq=False)
class GatewayRefused(GateError):
    """The gateway ended the handshake with an alert."""

    fault = Fault.CLIENT
    reason = "gateway_refused"
    gateway: str
    alert: int
    why: str

    def __str__(self) -> str:
        return f"{self.gateway} refused the connection (TLS alert {self.alert}): {self.why}"


@define(eq=False)
class NotFollowed(GateError):
    """Some of a cluster's hosts have not taken up what was changed."""

    fault = Fault.TARGET
    reason = "not_followed"
    what: str
    who: str
    seconds: int

    def __str__(self) -> str:
        return (
            f"after {self.seconds} s {self.what} is not taken up by {self.who}: look at their "
            "logs before the next phase"
        )


@define(eq=False)
class Refused(GateError):
    """The gateway, or the agent behind it, has decided against it in a sentence of its own."""

    fault = Fault.CLIENT
    reason = "refused"
    why: str

    def __str__(self) -> str:
        return self.why


@define(eq=False)
class TooOld(GateError):
    """This program is older than the gateway takes."""

    fault = Fault.OPERATOR
    reason = "too_old"
    ours: str
    least: str

    def __str__(self) -> str:
        return (
            f"this tgsh is version {self.ours}, and the gateway takes {self.least} or later: "
            "install a newer one, or try --skip-version-check"
        )


@define(eq=False)
class NotWritten(GateError):
    """A resource of a file was refused; those before it are written."""

    fault = Fault.OPERATOR
    reason = "not_written"
    problems: Sequence[Problem]
    written: int

    def __str__(self) -> str:
        before = f"; {self.written} before it are written" if self.written else ""
        return f"this resource was not written{before}"
