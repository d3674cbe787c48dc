"""A role's resource, as the auth service stores and sends it, to a `Role`.

`fault_…` are the rules for single values, which the reader for people (`auth.kind_role`,
which knows Teleport's other keys and spellings too) holds to as well. `parse_role` is for
programs: a gateway that gets roles from auth. What it does not know it refuses, for a key
that is left out may be a restriction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from tlsgate.core import durations, labels, templates
from tlsgate.core.rolevalues import (
    LEAST_SESSION_SECONDS,
    MAX_SESSION_SECONDS,
    VERBS,
    Conditions,
    Options,
    Role,
    Rule,
    Side,
    is_login,
)
from tlsgate.errors import BadResource

VERSIONS: Final = ("v5", "v6", "v7")
#: The most entries of one list or mapping.
ENTRIES: Final = 256
#: The longest word of a list, and the longest name of a label.
WORD_LIMIT: Final = 256

_RESOURCE = re.compile(r"\*|[a-z][a-z0-9_]{0,63}")
#: Letters, digits, - _ . / : *, as Teleport's labels have them.
_LABEL = re.compile(r"[A-Za-z0-9\-_./:*]{1,256}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

SELECTORS: Final = ("node_labels", "db_labels", "app_labels", "kubernetes_labels")
WORDS: Final = ("logins", "db_users", "db_names", "kubernetes_users", "kubernetes_groups")
#: Of those, what an allow may give by pattern; the others are names of one account.
PATTERNED: Final = ("db_users", "db_names")
OPTIONS: Final = (
    "max_session_ttl",
    "client_idle_timeout",
    "disconnect_expired_cert",
    "pin_source_ip",
    "port_forwarding",
    "forward_agent",
    "lock",
    "audit_queries",
)
LOCK_MODES: Final = ("strict", "best_effort")


def fault_of_word(what: str, side: Side, word: str) -> str | None:
    """What is wrong with *word* in the list *what* of that side, or None."""
    if len(word) > WORD_LIMIT or _CONTROL.search(word):
        return f"has more than {WORD_LIMIT} characters or a control character"
    if (why := labels.fault(word)) is not None or templates.is_template(word):
        return why
    if side == "allow" and what not in PATTERNED:
        if "*" in word:
            return f"{word!a}: {what} are given by name, without *"
        if what == "logins" and not is_login(word):
            return f"{word!a} is no login: letters, digits and _ - . @ + $, 64 at most"
    return None


def fault_of_label(key: str, words: tuple[str, ...]) -> str | None:
    """What is wrong with the name of a label in a selector, or None."""
    if not _LABEL.fullmatch(key):
        return "a label's name has letters, digits and -_./:* only, 256 at most"
    if key == "*" and words != ("*",):
        return "the name * goes with the value * only, for everything"
    return None


def fault_of_alternative(word: str) -> str | None:
    """What is wrong with one of the values that a label may have, or None."""
    if len(word) > WORD_LIMIT or _CONTROL.search(word):
        return f"has more than {WORD_LIMIT} characters or a control character"
    return labels.fault(word)


def fault_of_resource(word: str) -> str | None:
    """What is wrong with a rule's resource, or None; kinds to come are none of its business."""
    return None if _RESOURCE.fullmatch(word) else f"{word[:64]!a} is no kind of resource"


def fault_of_verb(word: str) -> str | None:
    """What is wrong with a rule's verb, or None."""
    if word == "*" or word in VERBS:
        return None
    return f"{word[:64]!a} is no verb; there are {', '.join(VERBS)} and *"


def parse_role(resource: Mapping[str, Any]) -> Role:
    """Read {kind, version, metadata: {name}, spec}.

    Raises:
        BadResource: with every problem and its path.
    """
    reading = _Reading()
    top = reading.mapping(resource, "", ("kind", "version", "metadata", "spec"))
    if top.get("kind") != "role":
        reading.wrong("kind", "is not role")
    if top.get("version") not in VERSIONS:
        reading.wrong("version", f"has to be {' or '.join(VERSIONS)}")
    metadata = reading.mapping(top.get("metadata"), "metadata", None)
    name = reading.text(metadata.get("name"), "metadata.name")
    spec = reading.mapping(top.get("spec", {}), "spec", ("allow", "deny", "options"))
    role = Role(
        name=name,
        allow=reading.conditions(spec.get("allow", {}), "allow"),
        deny=reading.conditions(spec.get("deny", {}), "deny"),
        options=reading.options(spec.get("options", {})),
    )
    if reading.problems:
        raise BadResource(reading.problems)
    return role


@define
class _Reading:
    """Reads values; what is wrong is told, and stands for nothing in what is returned."""

    problems: list[tuple[str, str]] = field(factory=list)

    def wrong(self, path: str, why: str) -> None:
        self.problems.append((path, why))

    def mapping(self, value: Any, path: str, known: tuple[str, ...] | None) -> dict[str, Any]:
        """A mapping with text for keys, which are all in *known*."""
        if not isinstance(value, Mapping) or len(value) > ENTRIES:
            self.wrong(path, f"has to be a mapping of at most {ENTRIES} keys")
            return {}
        found: dict[str, Any] = {}
        for key, inner in value.items():
            if not isinstance(key, str) or (known is not None and key not in known):
                self.wrong(f"{path}.{str(key)[:64]}".lstrip("."), "is not known")
            else:
                found[key] = inner
        return found

    def text(self, value: Any, path: str) -> str:
        if isinstance(value, str) and value:
            return value
        self.wrong(path, "has to be text")
        return ""

    def words(self, value: Any, path: str, fault: Callable[[str], str | None]) -> tuple[str, ...]:
        """A list of texts, or one text alone."""
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple) or len(listed) > ENTRIES:
            self.wrong(path, f"has to be a list of at most {ENTRIES} texts")
            return ()
        found = []
        for index, item in enumerate(listed):
            at = path if isinstance(value, str) else f"{path}[{index}]"
            if not isinstance(item, str):
                self.wrong(at, "has to be text")
            elif (why := fault(item)) is not None:
                self.wrong(at, why)
            else:
                found.append(item)
        return tuple(found)

    def selector(self, value: Any, path: str) -> dict[str, tuple[str, ...]]:
        found = {}
        for key, inner in self.mapping(value, path, None).items():
            at = f"{path}.{key[:64]}"
            words = self.words(inner, at, fault_of_alternative)
            if (why := fault_of_label(key, words)) is not None:
                self.wrong(at, why)
            found[key] = words
        return found

    def conditions(self, value: Any, side: Side) -> Conditions:
        path = f"spec.{side}"
        known = self.mapping(value, path, (*SELECTORS, *WORDS, "rules"))
        read: dict[str, Any] = {}
        for what in SELECTORS:
            read[what] = self.selector(known.get(what, {}), f"{path}.{what}")
        for what in WORDS:
            read[what] = self.words(
                known.get(what, ()),
                f"{path}.{what}",
                lambda word, what=what: fault_of_word(what, side, word),  # type: ignore[misc]
            )
        return Conditions(rules=self.rules(known.get("rules", ()), f"{path}.rules"), **read)

    def rules(self, value: Any, path: str) -> tuple[Rule, ...]:
        if not isinstance(value, list | tuple) or len(value) > ENTRIES:
            self.wrong(path, f"has to be a list of at most {ENTRIES} rules")
            return ()
        found = []
        for index, item in enumerate(value):
            at = f"{path}[{index}]"
            known = self.mapping(item, at, ("resources", "verbs"))
            if not isinstance(item, Mapping):
                continue
            resources = self.words(known.get("resources"), f"{at}.resources", fault_of_resource)
            verbs = self.words(known.get("verbs"), f"{at}.verbs", fault_of_verb)
            found.append(Rule(resources, verbs))
        return tuple(found)

    def options(self, value: Any) -> Options:
        known = self.mapping(value, "spec.options", OPTIONS)
        seconds = self.duration(known, "max_session_ttl")
        if seconds is not None and seconds < LEAST_SESSION_SECONDS:
            self.wrong("spec.options.max_session_ttl", "has to be 1m or more")
        return Options(
            max_session_seconds=MAX_SESSION_SECONDS if seconds is None else seconds,
            client_idle_seconds=self.duration(known, "client_idle_timeout") or None,
            disconnect_expired_cert=bool(self.flag(known, "disconnect_expired_cert")),
            pin_source_ip=bool(self.flag(known, "pin_source_ip")),
            port_forwarding=self.flag(known, "port_forwarding"),
            forward_agent=self.flag(known, "forward_agent"),
            strict_locks=self.lock_mode(known) == "strict",
            audit_queries=bool(self.flag(known, "audit_queries")),
        )

    def lock_mode(self, known: Mapping[str, Any]) -> str | None:
        value = known.get("lock")
        if value is not None and value not in LOCK_MODES:
            self.wrong("spec.options.lock", "has to be strict or best_effort")
            return None
        return value

    def duration(self, known: Mapping[str, Any], key: str) -> float | None:
        value = known.get(key)
        seconds = durations.read(value) if isinstance(value, str) else None
        if value is not None and seconds is None:
            self.wrong(f"spec.options.{key}", "has to be a duration such as 30m or 30h0m0s")
        return seconds

    def flag(self, known: Mapping[str, Any], key: str) -> bool | None:
        value = known.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(f"spec.options.{key}", "has to be true or false")
            return None
        return value
