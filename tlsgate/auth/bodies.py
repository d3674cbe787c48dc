"""What each verb of the API takes, bounded; one model a body.

Nothing here is stored as it came: a value that passes is of the right type, as long as it
may be, and has no name that the model does not know. Problems never quote what was sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from tlsgate.auth.tokens import MOST_USES
from tlsgate.errors import BadResource

#: Longest life that anything made by a request may have: 10 years.
TTL_SECONDS = 10 * 366 * 86400
#: How many problems one answer names.
PROBLEMS = 20


class Body(BaseModel):
    """A JSON body: types as they are, no unknown names."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        regex_engine="rust-regex",
    )


class Query(BaseModel):
    """The query of a URL: texts that stand for numbers and flags."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL character")
    return text


#: A name as certificates and keys of the store carry it.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._@+-]*$")
]
Line = Annotated[str, StringConstraints(max_length=256), AfterValidator(_printable)]
Text = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_no_nul)]
#: A password, a token, a cookie: bounded, and compared as it is.
Secret = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_no_nul)]
Pem = Annotated[str, StringConstraints(min_length=1, max_length=8192), AfterValidator(_no_nul)]
#: An IP address of a client, as a gateway has seen it.
Address = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_printable)]
Ttl = Annotated[int, Field(ge=1, le=TTL_SECONDS)]
Traits = Annotated[dict[Name, Annotated[list[Line], Field(max_length=256)]], Field(max_length=64)]
Labels = Annotated[dict[Line, Line], Field(max_length=64)]
Roles = Annotated[list[Name], Field(min_length=1, max_length=64)]
SystemRole = Literal["gateway", "node", "db", "app", "kube"]
AgentRole = Literal["node", "db", "app", "kube"]


class Keys(Body):
    """The public keys that a certificate is asked for; the private ones never leave."""

    tls_public_key: Pem = Field(description="PEM, SubjectPublicKeyInfo")
    ssh_public_key: Pem | None = Field(None, description="one line as in authorized_keys")


class Login(Keys):
    """A user's password and second factor, and the keys to certify."""

    user: Name
    password: Secret = Field(repr=False)
    otp: Line | None = Field(None, repr=False)
    ttl_seconds: Ttl | None = None


class InviteBegin(Body):
    """The secret part of an invite or reset link."""

    token: Secret = Field(repr=False)


class InviteAccept(InviteBegin):
    """A new password, and the first code of a new second factor."""

    password: Secret = Field(repr=False)
    otp: Line | None = Field(None, repr=False)


class Join(Keys):
    """A join token and what wants to join."""

    token: Secret = Field(repr=False)
    type: SystemRole
    also: Annotated[list[AgentRole], Field(max_length=4)] = Field(
        default_factory=list,
        description="further roles of an agent with several services; the token is for all",
    )
    name: Name


class NewPassword(Body):
    """A change of one's own password."""

    old: Secret = Field(repr=False)
    new: Secret = Field(repr=False)
    otp: Line | None = Field(None, repr=False)


class Certify(Keys):
    """Fresh keys for a certificate that ends no later than the one presented."""

    ttl_seconds: Ttl | None = None
    routes: Annotated[dict[Name, Line], Field(max_length=32)] = Field(default_factory=dict)


class NewUser(Body):
    """A user to be invited."""

    name: Name
    roles: Roles
    traits: Traits = Field(default_factory=dict)
    ttl_seconds: Ttl | None = None


class Reset(Body):
    """How long the link lives."""

    ttl_seconds: Ttl | None = None


class NewToken(Body):
    """A token for agents and gateways to join with."""

    types: Annotated[list[SystemRole], Field(min_length=1, max_length=8)]
    ttl_seconds: Ttl | None = None
    uses: Annotated[int, Field(ge=1, le=MOST_USES)] | Literal["unlimited"] = 1
    labels: Labels = Field(default_factory=dict)


class LockTarget(Body):
    """Whom a lock shuts out; where several are named, all have to fit."""

    user: Name | None = None
    role: Name | None = None
    agent: Line | None = None
    certificate: Line | None = Field(
        default=None, description="its serial number in hex, or sha256: and 64 hex digits"
    )
    login: Line | None = Field(default=None, description="the account on a target")


class NewLock(Body):
    """A lock, and how long it holds."""

    target: LockTarget
    ttl_seconds: Ttl | None = None
    message: Line = ""


class Rotate(Body):
    """The next phase of an authority's rotation."""

    phase: Literal["init", "update_clients", "update_servers", "standby", "rollback"]
    grace_seconds: Annotated[int, Field(ge=0, le=TTL_SECONDS)] | None = None


class Sign(Keys):
    """A certificate for somebody else, as scripts use it."""

    user: Name
    ttl_seconds: Ttl | None = None


class SignDatabase(Body):
    """A certificate for a database server, for a key that its operator has made."""

    hosts: Annotated[list[Line], Field(min_length=1, max_length=32)] = Field(
        description="names and addresses that it is dialled by"
    )
    tls_public_key: Pem
    ttl_seconds: Ttl | None = None


class Explain(Body):
    """What would be decided for a user and a target."""

    user: Name
    target: Line = Field(
        description="ssh://root@db1, db://user@name/database, app://name, kube://name"
    )
    labels: Labels = Field(
        default_factory=dict, description="of the target; without any, those that its agent says"
    )


class Backup(Body):
    """Where the copy goes, on the auth host."""

    file: Line


class GatewayCertificate(Body):
    """The names that a gateway serves, and the addresses that its clients are told."""

    names: Annotated[list[Line], Field(min_length=1, max_length=64)]
    tls_public_key: Pem
    ssh_public_key: Pem | None = Field(
        None, description="of the jump host: one line as in authorized_keys"
    )
    public: Annotated[list[Line], Field(max_length=16)] = []


class WebLogin(Body):
    """A login through a gateway's web page."""

    user: Name
    password: Secret = Field(repr=False)
    otp: Line | None = Field(None, repr=False)
    address: Address


class WebCheck(Body):
    """A web session's cookie, and the bearer where something is to be changed."""

    cookie: Secret = Field(repr=False)
    bearer: Secret | None = Field(None, repr=False)
    address: Address


class WebProof(Body):
    """A web session, and what proves once more who has it."""

    cookie: Secret = Field(repr=False)
    bearer: Secret = Field(repr=False)
    address: Address
    old: Secret = Field(repr=False)
    otp: Line | None = Field(None, repr=False)


class WebPassword(WebProof):
    """The same, and the password that is wanted."""

    new: Secret = Field(repr=False)


class WebLogout(Body):
    """The session to end."""

    cookie: Secret = Field(repr=False)


class Page(Query):
    """A page of a list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    after: Line = ""


class Put(Query):
    """How a resource is written."""

    force: bool = Field(False, description="overwrite, and do what a guard warns of")
    confirm: bool = Field(False, description="change what the configuration file manages")


class Remove(Put):
    """How a resource is removed."""


class OneType(Query):
    """All authorities, or those of one type."""

    type: Line = ""


class Trail(Page):
    """A part of the audit trail."""

    since: float | None = Field(None, ge=0, le=1e11, allow_inf_nan=False)
    until: float | None = Field(None, ge=0, le=1e11, allow_inf_nan=False)
    event: Line = ""


class Since(Query):
    """Where a watch goes on."""

    since: Annotated[int, Field(ge=0, lt=2**63)] | None = None


_M = TypeVar("_M", bound=BaseModel)


def take(model: type[_M], value: Any) -> _M:
    """Read *value* as *model* says.

    Raises:
        BadResource: with every problem, at most `PROBLEMS` of them.
    """
    try:
        return model.model_validate(value)
    except ValidationError as e:
        raise BadResource(problems(e)) from None


def problems(error: ValidationError) -> tuple[tuple[str, str], ...]:
    """Say each fault with its path; nothing longer than a line, nothing of the input."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return tuple(
        (".".join(_word(one) for one in fault["loc"]), str(fault["msg"])[:200])
        for fault in found[:PROBLEMS]
    )


def _word(part: int | str) -> str:
    text = str(part)
    text = text if len(text) <= 64 else f"{text[:64]}…"
    return text if text.isprintable() else repr(text)
