"""The kinds of values that resources have: what YAML or JSON gives in, a checked value out.

As in `config.fields` every validator raises ValueError with what would be right; but JSON
has types, so a number is a number here and text is text. Every string is bounded (S56).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from tlsgate.config.blocks import Block
from tlsgate.config.findings import nearest
from tlsgate.core import durations, rolespec

#: The longest text of a resource, in characters; a name has `NAME_LIMIT`.
TEXT_LIMIT: Final = 1024
#: A user's and a role's name stand in certificates (RFC 5280, ub-common-name).
NAME_LIMIT: Final = 64
#: The most entries of one list or mapping.
ENTRIES: Final = rolespec.ENTRIES

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TRUE, _FALSE = frozenset({"yes", "true", "on"}), frozenset({"no", "false", "off"})


def called(value: Any) -> str:
    """How messages call *value*; secrets are no part of resources, yet little is quoted."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case bool():
            return "yes" if value else "no"
    text = str(value)[:65]
    return repr(text) if len(text) <= 64 else f"{text[:64]!r}..."


def text(value: Any) -> str:
    """Text of at most `TEXT_LIMIT` characters without control characters."""
    if not isinstance(value, str):
        quotes = "; write it in quotes" if isinstance(value, bool | int | float) else ""
        raise ValueError(f"has to be text, not {called(value)}{quotes}")
    if len(value) > TEXT_LIMIT:
        raise ValueError(f"has more than {TEXT_LIMIT} characters")
    if _CONTROL.search(value):
        raise ValueError("has a control character")
    return value


def name(value: Any) -> str:
    """A resource's name: it stands in paths, certificates and audit events."""
    written = text(value)
    if not _NAME.fullmatch(written):
        raise ValueError(
            f"{called(written)} is no name: letters, digits and _ . @ + = -, {NAME_LIMIT} at most, "
            "beginning with a letter, a digit or _"
        )
    return written


def flag(value: Any) -> bool:
    """True or false; yes, no, on and off as text are the same."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError(f"has to be yes or no, not {called(value)}")
    return word in _TRUE


def duration(value: Any) -> str:
    """A duration such as `30m`; gives the one way that Go writes it."""
    written = "0" if value == 0 and not isinstance(value, bool) else value
    seconds = durations.read(written) if isinstance(written, str) else None
    if seconds is None:
        raise ValueError(f"has to be a duration such as 30s, 10m or 1h30m, not {called(value)}")
    return durations.write(seconds)


def whole(value: Any, low: int, high: int) -> int:
    """A whole number from *low* to *high*."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"has to be a whole number from {low} to {high}, not {called(value)}")
    return value


def one_of(value: Any, *known: str) -> str:
    """One of *known*, in any case."""
    word = value.lower() if isinstance(value, str) else ""
    if word in known:
        return word
    hint = nearest(word[:64], known)
    meant = f"; did you mean {hint}?" if hint else ""
    raise ValueError(f"has to be {' or '.join(known)}, not {called(value)}{meant}")


def numbered(value: Any, *words: str) -> int:
    """A word, or its number from 0 on, as Teleport's enums are written; gives the number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
        return value
    try:
        return words.index(one_of(value, *words))
    except ValueError:
        listed = " or ".join(f"{word} ({number})" for number, word in enumerate(words))
        raise ValueError(f"has to be {listed}, not {called(value)}") from None


def listed(value: Any) -> Any:
    """A list, or one text for a list of one; bounded."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple):
        raise ValueError(f"has to be a list, not {called(value)}")
    if len(value) > ENTRIES:
        raise ValueError(f"has more than {ENTRIES} entries")
    return value


def mapped(value: Any) -> Any:
    """A mapping with text for keys; bounded."""
    if not isinstance(value, dict):
        raise ValueError(f"has to be a mapping (key: value), not {called(value)}")
    if len(value) > ENTRIES:
        raise ValueError(f"has more than {ENTRIES} keys")
    for key in value:
        if len(text(key)) > rolespec.WORD_LIMIT:
            raise ValueError(f"has a key of more than {rolespec.WORD_LIMIT} characters")
    return value


#: Letters, digits, - _ . / : *, as Teleport's labels have them.
_LABEL = re.compile(r"[A-Za-z0-9\-_./:*]{1,256}")


def labels(value: Any) -> dict[str, str]:
    """Labels of a resource."""
    for key, label in mapped(value).items():
        if not _LABEL.fullmatch(key):
            raise ValueError(f"label {called(key)}: letters, digits and -_./:* only")
        if not isinstance(label, str) or len(label) > rolespec.WORD_LIMIT:
            raise ValueError(
                f"label {called(key)} has to be text of at most {rolespec.WORD_LIMIT} characters"
            )
        text(label)
    return dict(value)


def time(value: Any) -> float:
    """A point in time, as RFC 3339 text or seconds since the epoch; gives the seconds."""
    if isinstance(value, datetime):  # a YAML reader may have been here first
        value = value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < 253402300800:
            return float(value)
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9T:.Z+ -]{6,36}", value):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None and found.year >= 1970:
            return found.timestamp()
    raise ValueError(f"has to be a time such as 2030-01-31T12:00:00Z, not {called(value)}")


def written_time(seconds: float) -> str:
    """*seconds* since the epoch in RFC 3339, UTC."""
    whole_seconds = datetime.fromtimestamp(seconds, UTC)
    return whole_seconds.isoformat(timespec="auto").replace("+00:00", "Z")


class Spec(Block):
    """A mapping with known keys; a key without a value counts as not written."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return {
            key: inner
            for key, inner in mapped(value).items()
            if inner is not None or key not in cls.model_fields
        }


Text = Annotated[str, Field(max_length=TEXT_LIMIT), BeforeValidator(text)]
Name = Annotated[str, Field(max_length=NAME_LIMIT), BeforeValidator(name)]
Flag = Annotated[bool, BeforeValidator(flag)]
Duration = Annotated[str, BeforeValidator(duration)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(listed)]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed)]
Labels = Annotated[dict[str, str], BeforeValidator(labels)]
Time = Annotated[float, BeforeValidator(time), PlainSerializer(written_time, str, when_used="json")]
