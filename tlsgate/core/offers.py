"""What agents offer, what is asked of them for one client, and what they answer.

These values travel as JSON inside the tunnel's frames and in heartbeats. What comes from the
other side is read whole and bounded; a key that is not known is refused, since it could be a
limit that a newer version has set.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, TypeVar, get_args

from attrs import field, frozen

from tlsgate.errors import BadBytes

Kind = Literal["node", "db", "app", "kube"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

#: Of a name, an address, a label's key.
_WORD: Final = 256
#: Of a label's value and of a sentence.
_TEXT: Final = 1024
#: Of a fact's or a detail's value, and of all of them together, in characters.
_FACT: Final = 4096
_FACTS: Final = 16 * 1024
#: Of labels, and of the addresses of one offer.
_ENTRIES: Final = 64
#: Of a certificate, in bytes before base64.
_CERTIFICATE: Final = 16 * 1024

#: Controls of both kinds, which terminals obey, and halves of pairs, which UTF-8 cannot say.
_ODD = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")

T = TypeVar("T")


def _frozen(labels: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


@frozen(kw_only=True)
class Offer:
    """One thing that an agent serves.

    Attributes:
        kind: of what.
        name: by which people reach it; a node's is its agent's own.
        labels: static ones, and what commands have said last.
        addresses: "host:port" that the agent dials for it, and no other; the first one where
            a client names none.
        facts: what gateways and users want to know beside that, by the kind:
            db: "protocol" ("postgres"), "description";
            app: "protocol" ("http" or "tcp"), "public_addr" (a host name; "" where it is
            <name>.<public>), "description", "rewrite_redirect" (a JSON list of hosts),
            "rewrite_headers" (a JSON list of "Name: value"), "jwt_claims".
    """

    kind: Kind
    name: str
    labels: Mapping[str, str] = field(factory=dict, converter=_frozen, hash=False)
    addresses: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(factory=dict, converter=_frozen, hash=False)

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "kind": self.kind,
            "name": self.name,
            "labels": dict(self.labels),
            "addresses": list(self.addresses),
            "facts": dict(self.facts),
        }

    @classmethod
    def read(cls, told: object) -> Offer:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        reader = _Reader("offer", told, {"kind", "name", "labels", "addresses", "facts"})
        return cls(
            kind=reader.kind("kind"),
            name=reader.text("name", _WORD),
            labels=reader.labels("labels"),
            addresses=reader.words("addresses"),
            facts=reader.facts("facts"),
        )


@frozen(kw_only=True)
class Asked:
    """What the gateway asks of an agent for one client: "take this one to that target".

    Attributes:
        kind, name: the offer.
        address: one of the offer's addresses; None: the first.
        user: who the client is, as one of the certificates says.
        certificate: the user's X.509 certificate, DER; b"" where the client showed none.
        ssh_certificate: the user's OpenSSH certificate as a line; "" where there is none.
            One of the two is there; the agent verifies it by itself.
        client: the client's "host:port" as the gateway saw it; "" where it has none.
        cluster: the gateway's.
        listener, route: where the client came, for logs and audit.
        trace: 16 hexadecimal digits that gateway and agent both log.
        details: what the kind adds; db: "db_user", "db_name", "key" (see
            `core.cancelkeys`), or "cancel", the key of the client whose query is cancelled.
    """

    kind: Kind
    name: str
    address: str | None = None
    user: str
    certificate: bytes = field(default=b"", repr=False)
    ssh_certificate: str = field(default="", repr=False)
    client: str = ""
    cluster: str = ""
    listener: str = ""
    route: str = ""
    trace: str = ""
    details: Mapping[str, str] = field(factory=dict, converter=_frozen, hash=False, repr=False)

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "kind": self.kind,
            "name": self.name,
            "address": self.address,
            "user": self.user,
            "certificate": base64.b64encode(self.certificate).decode("ascii"),
            "ssh_certificate": self.ssh_certificate,
            "client": self.client,
            "cluster": self.cluster,
            "listener": self.listener,
            "route": self.route,
            "trace": self.trace,
            "details": dict(self.details),
        }

    @classmethod
    def read(cls, told: object) -> Asked:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        names = {
            *("kind", "name", "address", "user", "certificate", "ssh_certificate"),
            *("client", "cluster", "listener", "route", "trace", "details"),
        }
        reader = _Reader("request", told, names)
        address = reader.get("address")
        return cls(
            kind=reader.kind("kind"),
            name=reader.text("name", _WORD),
            address=None if address is None else reader.text("address", _WORD),
            user=reader.text("user", _WORD),
            certificate=reader.octets("certificate", _CERTIFICATE),
            ssh_certificate=reader.text("ssh_certificate", 2 * _CERTIFICATE, empty=True),
            client=reader.text("client", _WORD, empty=True),
            cluster=reader.text("cluster", _WORD, empty=True),
            listener=reader.text("listener", _WORD, empty=True),
            route=reader.text("route", _WORD, empty=True),
            trace=reader.text("trace", _WORD, empty=True),
            details=reader.facts("details"),
        )


@frozen(kw_only=True)
class Answered:
    """What an agent says to what is `Asked`.

    Attributes:
        reason: "" for yes; else a `GateError.reason`, such as "denied" or "target_refused".
        message: a sentence for the user; "" for yes.
    """

    reason: str = ""
    message: str = ""

    @property
    def good(self) -> bool:
        """Whether the target is reached."""
        return not self.reason

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {"reason": self.reason, "message": self.message}

    @classmethod
    def read(cls, told: object) -> Answered:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        reader = _Reader("status", told, {"reason", "message"})
        return cls(
            reason=reader.text("reason", _WORD, empty=True),
            message=reader.text("message", _TEXT, empty=True),
        )


class _Reader:
    """Takes one JSON object apart; everything has to be there, and nothing else."""

    def __init__(self, what: str, told: object, names: set[str]) -> None:
        self._what = what
        if not isinstance(told, dict):
            self._bad("it is no object")
        self._told: dict[str, Any] = told
        if told.keys() != names:
            odd = sorted(set(map(str, told)) ^ names)
            self._bad(f"{odd[0][:64]!r} is {'unknown' if odd[0] in told else 'missing'}")

    def get(self, name: str) -> Any:
        return self._told[name]

    def kind(self, name: str) -> Kind:
        value = self.text(name, _WORD)
        if value not in KINDS:
            self._bad(f"{name} {value[:64]!r} is none of {', '.join(KINDS)}")
        return value

    def text(self, name: str, limit: int, *, empty: bool = False) -> str:
        return self._text(self._told[name], name, limit, empty=empty)

    def words(self, name: str) -> tuple[str, ...]:
        values = self._all(name, list)
        return tuple(self._text(one, name, _WORD) for one in values)

    def labels(self, name: str) -> Mapping[str, str]:
        values = self._all(name, dict)
        return {
            self._text(key, name, _WORD): self._text(value, name, _TEXT, empty=True)
            for key, value in values.items()
        }

    def facts(self, name: str) -> Mapping[str, str]:
        values = self._all(name, dict)
        found = {
            self._text(key, name, _WORD): self._text(value, name, _FACT, empty=True)
            for key, value in values.items()
        }
        if sum(map(len, (*found, *found.values()))) > _FACTS:
            self._bad(f"{name} has more than {_FACTS} characters")
        return found

    def octets(self, name: str, limit: int) -> bytes:
        text = self.text(name, 2 * limit, empty=True)
        try:
            value = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            self._bad(f"{name} is no base64")
        if len(value) > limit:
            self._bad(f"{name} is longer than {limit} bytes")
        return value

    def _all(self, name: str, kind: type[T]) -> T:
        values = self._told[name]
        if not isinstance(values, kind) or len(values) > _ENTRIES:  # type: ignore[arg-type]
            self._bad(f"{name} is no {kind.__name__} of at most {_ENTRIES} entries")
        return values

    def _text(self, value: object, name: str, limit: int, *, empty: bool = False) -> str:
        if not isinstance(value, str) or len(value) > limit or not (value or empty):
            self._bad(f"{name} is no text of at most {limit} characters")
        if not value.isprintable() and _ODD.search(value) is not None:
            self._bad(f"{name} has a control character")
        return value

    def _bad(self, why: str) -> NoReturn:
        raise BadBytes(self._what, why)


#: For who takes a reader of one of the above as an argument.
Read = Callable[[object], T]
