"""What goes wrong between an agent and a target that it has reached."""

from __future__ import annotations

from attrs import define

from tlsgate.errors.base import Fault, GateError


@define(eq=False)
class TargetWithoutTls(GateError):
    """A database server takes no TLS."""

    fault = Fault.TARGET
    reason = "target_without_tls"
    target: str

    def __str__(self) -> str:
        return f"target {self.target} takes no TLS, without which nobody can know who it is"


@define(eq=False)
class TargetBroken(GateError):
    """A target's bytes break its protocol."""

    fault = Fault.TARGET
    reason = "target_broken"
    target: str
    why: str

    def __str__(self) -> str:
        return f"target {self.target} does not keep to its protocol: {self.why}"


@define(eq=False)
class TargetAsks(GateError):
    """A target wants a secret, which nobody here has."""

    fault = Fault.TARGET
    reason = "target_asks"
    target: str
    what: str
    user: str

    def __str__(self) -> str:
        return (
            f"target {self.target} asks for {self.what} of {self.user}; it has to take the "
            "certificate alone, see the rule `cert` of its pg_hba.conf"
        )


@define(eq=False)
class TargetSaid(GateError):
    """A target has refused in its own words, which the client has got."""

    fault = Fault.CLIENT
    reason = "target_said"
    target: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"target {self.target} refuses: {self.message} ({self.code})"


@define(eq=False)
class NoDatabase(GateError):
    """A client has not said which database it means."""

    fault = Fault.CLIENT
    reason = "no_database"
    protocol: str

    def __str__(self) -> str:
        return (
            "this certificate is for no database: run `tgsh db login NAME` and use its "
            "certificate, or dial NAME.db. before this gateway's name; `tgsh db ls` has the names"
        )


@define(eq=False)
class NoLogin(GateError):
    """A client of a database comes without a certificate."""

    fault = Fault.CLIENT
    reason = "no_login"
    protocol: str

    def __str__(self) -> str:
        return (
            "a certificate is needed: run `tgsh db login NAME`, and connect as "
            "`tgsh db config NAME` says"
        )


@define(eq=False)
class UnknownKey(GateError):
    """Somebody wants to cancel what no session here is known by."""

    fault = Fault.CLIENT
    reason = "unknown_cancel_key"
    protocol: str

    def __str__(self) -> str:
        return "no session of this gateway has the key of this request to cancel"


@define(eq=False)
class StartupRefused(GateError):
    """A client names another user or database than it may be."""

    fault = Fault.CLIENT
    reason = "startup_refused"
    what: str
    named: str
    allowed: str

    def __str__(self) -> str:
        return f"this login is for the {self.what} {self.allowed}, not for {self.named}"
