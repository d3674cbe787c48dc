"""What may go wrong with state, identities, logins and trust."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from tlsgate.errors.base import Fault, GateError

# -- state ------------------------------------------------------------------------


@define(eq=False)
class Conflict(GateError):
    """Somebody has changed what a change stands on."""

    fault = Fault.CLIENT
    reason = "conflict"
    key: str

    def __str__(self) -> str:
        return f"{self.key} has changed meanwhile, or exists already: read it again"


@define(eq=False)
class Compacted(GateError):
    """A watch asks for changes that are no longer kept."""

    fault = Fault.CLIENT
    reason = "compacted"
    since: int

    def __str__(self) -> str:
        return f"changes since revision {self.since} are no longer kept: read everything again"


@define(eq=False)
class StoreFailed(GateError):
    """The store cannot do what it is asked."""

    fault = Fault.OPERATOR
    reason = "store_failed"
    why: str

    def __str__(self) -> str:
        return f"the store failed: {self.why}"


# -- identities -------------------------------------------------------------------


@define(eq=False)
class BadResource(GateError):
    """A resource that cannot be taken; every problem at once."""

    fault = Fault.CLIENT
    reason = "bad_resource"
    problems: Sequence[tuple[str, str]]  #: path in the document, and what would be right

    def __str__(self) -> str:
        return "; ".join(f"{path}: {why}" if path else why for path, why in self.problems)


@define(eq=False)
class NoSuch(GateError):
    """There is no resource of that kind and name."""

    fault = Fault.CLIENT
    reason = "not_found"
    kind: str
    name: str

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name!r}"


@define(eq=False)
class Exists(GateError):
    """There is a resource of that kind and name already."""

    fault = Fault.CLIENT
    reason = "exists"
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} exists already"


@define(eq=False)
class Forbidden(GateError):
    """No role of the one who asks allows it."""

    fault = Fault.CLIENT
    reason = "access_denied"
    who: str
    what: str  #: "update role"
    why: str

    def __str__(self) -> str:
        return f"{self.who} may not {self.what}: {self.why}"


@define(eq=False)
class LoginFailed(GateError):
    """The name, the password or the code is wrong; it never says which."""

    fault = Fault.CLIENT
    reason = "login_failed"

    def __str__(self) -> str:
        return "the user name, the password or the one-time code is wrong"


@define(eq=False)
class LockedOut(GateError):
    """Too many wrong attempts; the next one has to wait."""

    fault = Fault.CLIENT
    reason = "locked_out"
    seconds: float

    def __str__(self) -> str:
        return f"too many failed attempts: try again in {max(1, round(self.seconds))} s"


@define(eq=False)
class Locked(GateError):
    """A lock of an operator is in force."""

    fault = Fault.CLIENT
    reason = "locked"
    who: str
    message: str

    def __str__(self) -> str:
        return f"{self.who} is locked" + (f": {self.message}" if self.message else "")


@define(eq=False)
class BadToken(GateError):
    """A join token, invite or reset link that is unknown, used up or over; never which."""

    fault = Fault.CLIENT
    reason = "bad_token"
    what: str  #: "join token", "invite"

    def __str__(self) -> str:
        return f"this {self.what} is not valid, or no longer: ask for a new one"


@define(eq=False)
class WeakPassword(GateError):
    """A new password that is not taken."""

    fault = Fault.CLIENT
    reason = "weak_password"
    why: str

    def __str__(self) -> str:
        return f"this password is not taken: {self.why}"


@define(eq=False)
class Unreachable(GateError):
    """The auth service, or a part of it, does not answer; asking again may help."""

    fault = Fault.TARGET
    reason = "unreachable"
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} cannot be reached: {self.why}"


@define(eq=False)
class Untrusted(GateError):
    """A peer's certificate is not of the role, the cluster or the issuer that it must be."""

    fault = Fault.CLIENT
    reason = "untrusted"
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} is not trusted: {self.why}"


@define(eq=False)
class BadSeal(GateError):
    """What is kept encrypted cannot be opened."""

    fault = Fault.OPERATOR
    reason = "bad_seal"
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} cannot be decrypted: {self.why}"


@define(eq=False)
class InUse(GateError):
    """A resource that others stand on cannot go."""

    fault = Fault.OPERATOR
    reason = "in_use"
    kind: str
    name: str
    users: Sequence[str]  #: the first few who use it: "user alice"

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} is used by {', '.join(self.users)}: change that first"


@define(eq=False)
class WouldBreak(GateError):
    """A change that would cut somebody off; it can be forced."""

    fault = Fault.OPERATOR
    reason = "would_break"
    what: str
    who: Sequence[str]  #: a sentence for each that would break

    def __str__(self) -> str:
        return f"{self.what}: {'; '.join(self.who)}. Add --force to do it nevertheless"


@define(eq=False)
class NeedsConfirm(GateError):
    """What a configuration file manages is changed only by one who knows that it does."""

    fault = Fault.OPERATOR
    reason = "needs_confirm"
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} is managed by the configuration file: {self.why}"


@define(eq=False)
class AuditFailed(GateError):
    """The audit trail cannot be written, and this cluster does nothing without it."""

    fault = Fault.OPERATOR
    reason = "audit_failed"

    def __str__(self) -> str:
        return "the audit trail cannot be written; nothing is changed until it can"


@define(eq=False)
class WrongCode(GateError):
    """A one-time code that is not of the authenticator that is being added."""

    fault = Fault.CLIENT
    reason = "wrong_code"

    def __str__(self) -> str:
        return (
            "the one-time code is wrong: type the six digits that the authenticator shows now, "
            "and see that the clock of the device is right"
        )


@define(eq=False)
class NotJoined(GateError):
    """A gateway or an agent cannot become, or is no more, a member of its cluster."""

    fault = Fault.OPERATOR
    reason = "not_joined"
    why: str

    def __str__(self) -> str:
        return f"this host cannot join its cluster: {self.why}"
