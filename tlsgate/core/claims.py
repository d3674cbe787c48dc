"""What a cluster's certificates say about their holder: the extension and its one spelling.

The extension's value is a DER UTF8String (RFC 5280 section 4.2) that holds a JSON object in
ASCII, so `openssl x509 -text` shows it as it is. In a cluster's certificate the identity is
this extension, never the common name alone (S10). It counts only below the cluster's own
authorities; who asks has to look at `Identity.anchor` too.

`decode` takes what `encode` gives and nothing else: a key that this version does not know
could be a limit that a newer one has set, so it is refused and not passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, cast

from attrs import field, frozen

from tlsgate.errors import BadBytes

#: The extension. A UUID's parts below the arc that its owner gives to everyone for this:
#: https://learn.microsoft.com/en-us/windows/win32/ad/obtaining-an-object-identifier.
#: Not 2.25.<uuid>: no arc may be above 2^31, or Go's programs, kubectl first, refuse the
#: whole certificate (https://github.com/golang/go/issues/30757).
CLAIMS_OID: Final = "1.2.840.113556.1.8000.2554.13986.16929.22909.19595.37503.14529076.11790269"

#: What a certificate can carry in a name (RFC 5280, ub-common-name); in bytes.
NAME_BYTES: Final = 64
#: Of the whole extension; a leaf may have 16 KiB.
CLAIMS_BYTES: Final = 12 * 1024
#: Of one role, trait or route.
_WORD_BYTES: Final = 256
#: Of roles, system roles, traits, a trait's values, routes.
_ENTRIES: Final = 256

Kind = Literal["user", "host"]

_VERSION: Final = 1
_UTF8_STRING: Final = 0x0C
_GENERATION: Final = 1 << 53  # a JSON number that every reader takes as it is
_SYSTEM_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ADDRESS = re.compile(r"[0-9a-f.:]{2,45}")


def _tuple(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(words)


def _frozen_traits(traits: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({key: tuple(values) for key, values in traits.items()})


def _frozen_routes(routes: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(routes))


@frozen(kw_only=True)
class Claims:
    """The holder of a certificate, as its cluster's auth service knew it.

    Attributes:
        cluster: whose certificate it is.
        kind: a person's or a program's, or a part of the cluster's own.
        name: the user, or the host.
        roles: the user's.
        system_roles: the host's: "auth", "gateway", "node", "db", "app", "kube".
        traits: the user's.
        routes: what the certificate is for where it is for one thing only: "db", "app",
            "kube", "cluster" to a name.
        pinned_address: the only client address that it is good for (S55).
        generation: of a chain of renewals; counts from 1, 0 has none.
    """

    cluster: str
    kind: Kind
    name: str
    roles: tuple[str, ...] = field(default=(), converter=_tuple)
    system_roles: tuple[str, ...] = field(default=(), converter=_tuple)
    traits: Mapping[str, tuple[str, ...]] = field(
        factory=dict, converter=_frozen_traits, hash=False
    )
    routes: Mapping[str, str] = field(factory=dict, converter=_frozen_routes, hash=False)
    pinned_address: str | None = None
    generation: int = 0


def encode(claims: Claims) -> bytes:
    """Give the extension's value.

    Raises:
        BadBytes: a name is longer than a certificate carries, or cannot be printed.
    """
    _check(claims)
    document: dict[str, object] = {
        "v": _VERSION,
        "cluster": claims.cluster,
        "kind": claims.kind,
        "name": claims.name,
    }
    if claims.roles:
        document["roles"] = list(claims.roles)
    if claims.system_roles:
        document["system_roles"] = list(claims.system_roles)
    if claims.traits:
        document["traits"] = {key: list(claims.traits[key]) for key in sorted(claims.traits)}
    if claims.routes:
        document["routes"] = {key: claims.routes[key] for key in sorted(claims.routes)}
    if claims.pinned_address is not None:
        document["pinned_address"] = claims.pinned_address
    if claims.generation:
        document["generation"] = claims.generation
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()
    der = _utf8_string(text)
    if len(der) > CLAIMS_BYTES:
        _bad(f"they have {len(der)} bytes, {CLAIMS_BYTES} fit into a certificate")
    return der


def decode(der: bytes) -> Claims:
    """Read an extension's value, all of it.

    Raises:
        BadBytes: it is not what `encode` gives for any claims.
    """
    if len(der) > CLAIMS_BYTES:
        _bad(f"longer than {CLAIMS_BYTES} bytes")
    text = _text(der)
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        _bad("not JSON")
    if not isinstance(document, dict):
        _bad("not a JSON object")
    claims = _claims(document)
    if encode(claims) != der:  # one meaning, one spelling
        _bad("not in their one spelling")
    return claims


def _claims(document: dict[str, Any]) -> Claims:
    if document.pop("v", None) != _VERSION:
        _bad("of a version that is not known here")
    unknown = set(document) - set(_TYPES)
    if unknown or not {"cluster", "kind", "name"} <= set(document):
        _bad("with a key too many or too few")
    for key, value in document.items():
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            _bad(f"with {key} of another type")
    return Claims(
        cluster=document["cluster"],
        kind=cast(Kind, document["kind"]),
        name=document["name"],
        roles=_words(document.get("roles", []), "roles"),
        system_roles=_words(document.get("system_roles", []), "system_roles"),
        traits={
            key: _words(values, "traits") for key, values in document.get("traits", {}).items()
        },
        routes=document.get("routes", {}),
        pinned_address=document.get("pinned_address"),
        generation=document.get("generation", 0),
    )


_TYPES: Final[dict[str, type]] = {
    "cluster": str,
    "kind": str,
    "name": str,
    "roles": list,
    "system_roles": list,
    "traits": dict,
    "routes": dict,
    "pinned_address": str,
    "generation": int,
}


def _words(values: object, what: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        _bad(f"with {what} that are not lists of text")
    return tuple(values)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _bad("with a key twice")
    return found


def _check(claims: Claims) -> None:
    """Refuse what no certificate of ours says."""
    if claims.kind not in ("user", "host"):
        _bad("neither of a user nor of a host")
    _check_word(claims.cluster, "cluster", NAME_BYTES)
    _check_word(claims.name, "name", NAME_BYTES)
    if claims.kind == "user" and claims.system_roles:
        _bad("of a user with system roles")
    if claims.kind == "host" and (claims.roles or not claims.system_roles):
        _bad("of a host without a system role, or with a user's")
    counted = (claims.roles, claims.system_roles, claims.traits, claims.routes)
    if max(map(len, (*counted, *claims.traits.values()))) > _ENTRIES:
        _bad(f"with more than {_ENTRIES} entries in one place")
    for role in claims.roles:
        _check_word(role, "role", NAME_BYTES)
    for role in claims.system_roles:
        if _SYSTEM_ROLE.fullmatch(role) is None:
            _bad("with a system role that there is not")
    for key, values in claims.traits.items():
        for text in (key, *values):
            _check_word(text, "trait", _WORD_BYTES)
    for key, target in claims.routes.items():
        if not isinstance(target, str):
            _bad("with routes that are not text")
        _check_word(key, "route", _WORD_BYTES)
        _check_word(target, "route", _WORD_BYTES)
    address = claims.pinned_address
    if address is not None and _ADDRESS.fullmatch(address) is None:
        _bad("with an address that is none")
    if not 0 <= claims.generation < _GENERATION:
        _bad("with a generation that is not counted")


def _check_word(text: str, what: str, limit: int) -> None:
    # isprintable is False for NUL, line ends, escapes, surrogates, bidirectional overrides.
    if not text or not text.isprintable() or text != text.strip():
        _bad(f"with a {what} that is empty or cannot be printed")
    if len(text.encode()) > limit:
        _bad(f"with a {what} longer than {limit} bytes")


def _utf8_string(text: bytes) -> bytes:
    """DER of a UTF8String (X.690 section 8.1.3)."""
    if len(text) < 0x80:
        return bytes((_UTF8_STRING, len(text))) + text
    length = len(text).to_bytes((len(text).bit_length() + 7) // 8, "big")
    return bytes((_UTF8_STRING, 0x80 | len(length))) + length + text


def _text(der: bytes) -> bytes:
    """The content of a UTF8String that fills *der*; the length in its shortest form."""
    head = 2
    if len(der) > 1 and der[1] & 0x80:
        head += der[1] & 0x7F
    text = der[head:]
    if not text or _utf8_string(text) != der:
        _bad("not one UTF8String")
    return text


def _bad(why: str) -> NoReturn:
    raise BadBytes("certificate claims", why)
