"""Locks: who an operator has shut out, and for how long.

A lock names a target by one or more words; where it names several, all have to fit ("alice
as root"). Who is meant gets nothing new, and loses what is open. Pure: the time is a
parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from tlsgate.core.claims import Claims
from tlsgate.core.rolevalues import Person
from tlsgate.errors import BadResource

#: What a lock can name, from the most to the least telling; a lock is filed under the first.
#: An agent is a host certificate's name, or <name>.<role>.<cluster> where another host may
#: have the same name in another role; a login is the account on a target.
TARGETS: Final = ("certificate", "user", "agent", "login", "role")

#: Of one word of a target, and of a message, in characters.
LONGEST_WORD: Final = 256
LONGEST_MESSAGE: Final = 1024

#: A serial number has at most 20 bytes (RFC 5280 section 4.1.2.2); one digest has 32.
_HEX = re.compile(r"[0-9a-f]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

#: Of an end, in seconds since the epoch: the year 9999.
_LATEST: Final = 253402300800.0

#: One thing that a target may name: a word of `TARGETS`, and the name.
Fact = tuple[str, str]


def _frozen(target: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(target))


@frozen(kw_only=True)
class Lock:
    """One lock.

    Attributes:
        name: of the resource.
        target: words of `TARGETS` to names; a certificate as `certificate_name` writes it.
        expires: seconds since the epoch; None: until it is removed.
        message: for those whom it shuts out.
        created, created_by: when it was set, and by whom; None and "" where nobody has said.
    """

    name: str
    target: Mapping[str, str] = field(converter=_frozen, hash=False)
    expires: float | None = None
    message: str = ""
    created: float | None = None
    created_by: str = ""

    def __str__(self) -> str:
        """How logs call it."""
        return f"lock {self.name} on " + ", ".join(f"{k} {v}" for k, v in self.target.items())

    def in_force(self, now: float) -> bool:
        """Whether it has not ended."""
        return self.expires is None or now < self.expires

    def on(self, facts: frozenset[Fact]) -> bool:
        """Whether all that it names is among *facts*."""
        return all(fact in facts for fact in self.target.items())


def facts_of(
    who: Person | Claims,
    *,
    serial: int | None = None,
    fingerprint: str | None = None,
    login: str | None = None,
) -> frozenset[Fact]:
    """Everything that a target may name of who asks.

    Args:
        who: a person, or what a certificate says of a user or a host.
        serial: of the certificate that is shown.
        fingerprint: SHA-256 of its DER, in hex.
        login: the account on the target that is asked for.
    """
    host = isinstance(who, Claims) and who.kind == "host"
    facts = {("agent" if host else "user", who.name)}
    if isinstance(who, Claims):
        facts.update(
            ("agent", agent_name(who.name, role, who.cluster)) for role in who.system_roles
        )
    if not host:
        facts.update(("role", role) for role in who.roles)
    if serial is not None:
        facts.add(("certificate", f"{serial:x}"))
    if fingerprint:
        facts.add(("certificate", "sha256:" + fingerprint.lower().removeprefix("sha256:")))
    if login is not None:
        facts.add(("login", login))
    return frozenset(facts)


def agent_name(name: str, role: str, cluster: str) -> str:
    """How a lock names the host *name* in one of its roles."""
    return f"{name}.{role}.{cluster}".lower()


class LockTable:
    """Locks by name, filed so that a look-up costs the same with one or ten thousand.

    A value: `put` and `drop` give another table.
    """

    def __init__(self, locks: Iterable[Lock] = ()) -> None:
        self._all: dict[str, Lock] = {lock.name: lock for lock in locks}
        self._filed: dict[Fact, dict[str, Lock]] = {}
        for lock in self._all.values():
            self._filed.setdefault(_filed_under(lock), {})[lock.name] = lock

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Lock]:
        return iter([self._all[name] for name in sorted(self._all)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LockTable) and self._all == other._all

    __hash__ = None  # type: ignore[assignment]

    def put(self, lock: Lock) -> LockTable:
        """The table with *lock*, in place of one with its name."""
        after = self.drop(lock.name)._copy()
        after._all[lock.name] = lock
        place = _filed_under(lock)
        after._filed[place] = {**after._filed.get(place, {}), lock.name: lock}
        return after

    def drop(self, name: str) -> LockTable:
        """The table without the lock of this name."""
        if name not in self._all:
            return self
        after = self._copy()
        place = _filed_under(after._all.pop(name))
        rest = {key: lock for key, lock in after._filed.pop(place).items() if key != name}
        if rest:
            after._filed[place] = rest
        return after

    def matches(self, facts: frozenset[Fact], now: float) -> Lock | None:
        """The lock in force on whom *facts* describe, or None; of several the least by name."""
        found = [
            lock
            for fact in facts
            for lock in self._filed.get(fact, {}).values()
            if lock.in_force(now) and lock.on(facts)
        ]
        return min(found, key=lambda lock: lock.name, default=None)

    def _copy(self) -> LockTable:
        copy = LockTable()
        copy._all, copy._filed = dict(self._all), dict(self._filed)
        return copy


def certificate_name(text: str) -> str | None:
    """How a lock names a certificate, in the one way that we compare.

    Args:
        text: a serial number in hex as openssl or a browser shows it, or `sha256:` and the
            digest of the certificate's DER in hex.

    Returns:
        The serial number in lower-case hex without leading zeros, or `sha256:` and 64
        digits; None where it is neither.
    """
    digits = text.strip().lower().replace(":", "")
    if digits.startswith("sha256"):
        digits = digits.removeprefix("sha256")
        return f"sha256:{digits}" if _DIGEST.fullmatch(digits) else None
    digits = digits.removeprefix("0x")
    return f"{int(digits, 16):x}" if _HEX.fullmatch(digits) else None


def target_of(written: Mapping[Any, Any]) -> dict[str, str]:
    """Read a target as people write it.

    Raises:
        BadResource: with every problem.
    """
    problems: list[tuple[str, str]] = []
    target: dict[str, str] = {}
    for word, name in written.items():
        path = f"spec.target.{str(word)[:64]}"
        if word not in TARGETS:
            problems.append((path, f"a lock names {', '.join(TARGETS)}"))
        elif not isinstance(name, str) or not 0 < len(name) <= LONGEST_WORD:
            problems.append((path, f"has to be text of 1 to {LONGEST_WORD} characters"))
        elif word != "certificate":
            target[word] = name
        elif (certificate := certificate_name(name)) is None:
            problems.append((path, "a serial number in hex, or sha256: and 64 hex digits"))
        else:
            target[word] = certificate
    if not written:
        problems.append(("spec.target", f"has to name one or more of {', '.join(TARGETS)}"))
    if problems:
        raise BadResource(problems)
    return target


def lock_of(resource: Mapping[str, Any]) -> Lock:
    """Read a lock as the API's watch gives it: its end is a number.

    Raises:
        BadResource: it names no target that we know, or its end is no number.
    """
    metadata, spec = (_mapping(resource.get(part)) for part in ("metadata", "spec"))
    expires = spec.get("expires")
    if expires is not None and (
        isinstance(expires, bool)
        or not isinstance(expires, int | float)
        or not 0 <= expires < _LATEST  # nor NaN, which no comparison would end
    ):
        raise BadResource([("spec.expires", "has to be a number of seconds since the epoch")])
    return Lock(
        name=str(metadata.get("name") or ""),
        target=target_of(_mapping(spec.get("target"))),
        expires=expires,
        message=str(spec.get("message") or "")[:LONGEST_MESSAGE],
        created_by=str(spec.get("created_by") or "")[:LONGEST_WORD],
    )


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _filed_under(lock: Lock) -> Fact:
    word = next(word for word in TARGETS if word in lock.target)
    return word, lock.target[word]
