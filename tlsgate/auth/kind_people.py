"""Kinds `user`, `token` and `lock`.

None of them holds a secret: hashes, one-time seeds and token texts are kept apart from
resources, so that no list can show them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from tlsgate.auth.kindfields import (
    Labels,
    Name,
    Names,
    Spec,
    Text,
    Texts,
    Time,
    listed,
    mapped,
    one_of,
    text,
    whole,
)
from tlsgate.config.fields import Unserved
from tlsgate.core import locks

#: Roles and traits stand in every certificate of the user, which every handshake carries.
PERSON_BYTES: Final = 16 * 1024
#: What may join with a token.
TOKEN_TYPES: Final = ("node", "db", "app", "kube", "gateway")
#: Teleport's words for them.
_SAME: Final = {"proxy": "gateway"}
UNLIMITED: Final = "unlimited"

Later = Annotated[Any, Unserved("")]
_Kept = Annotated[Any, Unserved("it is not part of the resource here")]
Word = Annotated[Text, Field(min_length=1, max_length=locks.LONGEST_WORD)]
Traits = Annotated[dict[str, Texts], BeforeValidator(mapped)]


class UserSpec(Spec):
    """spec of a user."""

    roles: Names = ()
    traits: Traits = Field(default_factory=dict)
    github_identities: Later = None
    saml_identities: Later = None
    oidc_identities: Later = None
    trusted_device_ids: Later = None
    expires: Annotated[Any, Unserved("metadata.expires is")] = None
    status: _Kept = None
    created_by: _Kept = None
    local_auth: _Kept = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = len(json.dumps([self.roles, self.traits]))
        if size > PERSON_BYTES:
            raise ValueError(
                f"roles and traits come to {size} bytes; {PERSON_BYTES} fit into certificates"
            )
        return self


def _types(value: Any) -> list[str]:
    found = []
    for item in listed(value):
        word = item.lower() if isinstance(item, str) else item
        found.append(one_of(_SAME.get(word, word), *TOKEN_TYPES))
    if not found:
        raise ValueError(f"has to name at least one of {', '.join(TOKEN_TYPES)}")
    return sorted(set(found))


def _uses(value: Any) -> int | str:
    if isinstance(value, str):
        return one_of(value, UNLIMITED)
    return whole(value, 1, 1_000_000)


class TokenSpec(Spec):
    """spec of a token; its text is told once, when it is made, and is never part of this."""

    #: "roles" in Teleport; both are read, this is written.
    types: Annotated[tuple[str, ...], BeforeValidator(_types)]
    uses: Annotated[int | str, BeforeValidator(_uses)] = 1
    used: Annotated[int, BeforeValidator(lambda value: whole(value, 0, 1_000_000_000))] = 0
    labels: Labels = Field(default_factory=dict)
    join_method: Annotated[str, BeforeValidator(lambda value: one_of(value, "token"))] = "token"
    suggested_labels: Later = None
    bot_name: Later = None
    allow: Later = None

    @model_validator(mode="before")
    @classmethod
    def _roles(cls, value: Any) -> Any:
        if isinstance(value, dict) and "roles" in value and "types" not in value:
            return {"types" if key == "roles" else key: inner for key, inner in value.items()}
        return value


def _certificate(value: Any) -> str:
    named = locks.certificate_name(text(value))
    if named is None:
        raise ValueError("has to be a serial number in hex, or sha256: and 64 hex digits")
    return named


class LockTarget(Spec):
    """spec.target of a lock: whom it shuts out; where several are named, all have to fit."""

    user: Name | None = None
    role: Name | None = None
    agent: Word | None = None
    certificate: Annotated[str, BeforeValidator(_certificate)] | None = None
    login: Word | None = None
    node: Later = None
    mfa_device: Later = None
    access_request: Later = None
    windows_desktop: Later = None
    device: Later = None
    server_id: Later = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(getattr(self, word) for word in locks.TARGETS):
            raise ValueError(f"has to name one or more of {', '.join(locks.TARGETS)}")
        return self


class LockSpec(Spec):
    """spec of a lock."""

    target: LockTarget
    message: Text = ""
    expires: Time | None = None
    created_at: Time | None = None
    created_by: Text | None = None
