"""The kinds of values that settings have: text from the file in, a value or a sentence out.

Every validator takes what `marks` read (text, list, mapping or nothing) and raises
ValueError with what would be right; pydantic collects them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from attrs import frozen
from pydantic import BeforeValidator

from tlsgate.config.findings import nearest
from tlsgate.core.names import normal
from tlsgate.errors import BadName

_TRUE = frozenset({"yes", "true", "on"})
_FALSE = frozenset({"no", "false", "off"})


@frozen
class Unserved:
    """Marks a key that Teleport knows and this version does not act upon."""

    why: str


def kind(value: Any) -> str:
    """How messages call what stands in the file."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return repr(str(value)) if len(value) <= 64 else f"{str(value)[:64]!r}..."


def text(value: Any) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str):
        raise ValueError(f"has to be text, not {kind(value)}")
    if not value:
        raise ValueError("is empty")
    return str(value)


def _written(value: Any) -> str:
    """The text of a scalar; "" for what is none, which no kind below takes."""
    return str(value) if isinstance(value, str) else ""


def flag(value: Any) -> bool:
    """`yes` or `no`; true, false, on and off are the same words."""
    word = _written(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"has to be yes or no, not {kind(value)}")


def words(*known: str, same: dict[str, str] | None = None) -> Callable[[Any], str]:
    """One of *known*, in any case; *same* names other spellings."""
    other = same or {}

    def word(value: Any) -> str:
        written = _written(value).lower()
        written = other.get(written, written)
        if written in known:
            return written
        listed = " or ".join((", ".join(known[:-1]), known[-1]) if len(known) > 1 else known)
        hint = nearest(written, known)
        raise ValueError(
            f"has to be {listed}, not {kind(value)}" + (f"; did you mean {hint}?" if hint else "")
        )

    return word


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from *low* to *high*."""

    def number(value: Any) -> int:
        written = _written(value)
        if not re.fullmatch(r"[0-9]{1,12}", written) or not low <= int(written) <= high:
            raise ValueError(f"has to be a whole number from {low} to {high}, not {kind(value)}")
        return int(written)

    return number


def seconds(value: Any) -> float:
    """A number of seconds above zero, up to a year."""
    written = _written(value)
    if re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,6})?", written):
        if 0 < float(written) <= 31_536_000:
            return float(written)
    raise ValueError(f"has to be a number of seconds above 0, such as 5 or 0.5, not {kind(value)}")


def seconds_or_none(value: Any) -> float:
    """A number of seconds, or 0: not at all."""
    if re.fullmatch(r"0+(\.0+)?", _written(value)):
        return 0.0
    try:
        return seconds(value)
    except ValueError as e:
        raise ValueError(f"{e}; 0 means not at all") from None


def seconds_or_off(value: Any) -> float | None:
    """A number of seconds, or `off`."""
    if isinstance(value, str) and value.lower() == "off":
        return None
    try:
        return seconds(value)
    except ValueError as e:
        raise ValueError(f"{e}; off switches it off") from None


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:h|ms|us|µs|ns|m|s))+")
_PART = re.compile(r"([0-9.]+)(h|ms|us|µs|ns|m|s)")


def duration(value: Any) -> float:
    """A duration as Teleport writes it (`1h30m`, `10s`, `0`), in seconds."""
    written = _written(value)
    if written == "0":
        return 0.0
    if not _DURATION.fullmatch(written):
        raise ValueError(f"has to be a duration such as 30s, 10m or 1h30m, not {kind(value)}")
    parts = _PART.findall(written)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts), 9)


def network(value: Any) -> IPv4Network | IPv6Network:
    """An address range in CIDR form, or one address."""
    written = _written(value)
    try:
        return ip_network(written)
    except ValueError:
        pass
    try:
        right = ip_network(written, strict=False)
    except ValueError:
        raise ValueError(
            f"has to be an address range such as 10.0.0.0/8, not {kind(value)}"
        ) from None
    raise ValueError(f"has bits set beyond its prefix; {right} is the range that holds it")


def one_or_more(value: Any) -> Any:
    """One value, or a list of them; gives the list."""
    if isinstance(value, dict):
        raise ValueError("has to be one value or a list of them, not a mapping")
    return [value] if isinstance(value, str) else value


def a_list(value: Any) -> Any:
    """A list; what is in it is another validator's."""
    if not isinstance(value, list):
        raise ValueError(f"has to be a list (- one, - two), not {kind(value)}")
    return value


def free_mapping(value: Any) -> dict[str, Any]:
    """A mapping whose keys are somebody else's."""
    if not isinstance(value, dict):
        raise ValueError(f"has to be a mapping (key: value), not {kind(value)}")
    return value


#: Letters, digits, - _ . / : *, as Teleport's labels have them.
_LABEL = re.compile(r"[A-Za-z0-9\-_./:*]+")


def labels(value: Any) -> dict[str, str]:
    """Labels: names to text."""
    for name, label in free_mapping(value).items():
        if not _LABEL.fullmatch(name):
            raise ValueError(f"label {name!r}: letters, digits and -_./:* only")
        if label is not None and not isinstance(label, str):
            raise ValueError(f"label {name!r} has to be text, not {kind(label)}")
    return {str(name): str(label or "") for name, label in value.items()}


def server_name(value: Any) -> str:
    """A server name in its one spelling; a leading "*." stands for one label."""
    written = text(value)
    if written == "*":
        raise ValueError("has to be a name or *.name; leave the key out for any name")
    star, rest = ("*.", written[2:]) if written.startswith("*.") else ("", written)
    if "*" in rest:
        raise ValueError(f"{kind(value)}: a * may only be the whole first label")
    try:
        return star + normal(rest)
    except BadName as e:
        raise ValueError(f"{kind(value)}: {e.why}") from None


def token(value: Any) -> str:
    """An ALPN token (RFC 7301 section 3.1: 1 to 255 bytes)."""
    written = text(value)
    if len(written.encode()) > 255:
        raise ValueError("an ALPN token has at most 255 bytes")
    return written


def common_name(value: Any) -> str:
    """A subject's common name (RFC 5280 appendix A.1, ub-common-name)."""
    written = text(value)
    if len(written.encode()) > 64:
        raise ValueError("a common name has at most 64 bytes")
    return written


def uri(value: Any) -> str:
    """A URI in a certificate."""
    written = text(value)
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", written):
        raise ValueError("has to be a URI such as spiffe://...; for a DNS name write dns:")
    return written


def pin(value: Any) -> str:
    """The pin of a host authority, or the path of a file that holds it."""
    written = text(value)
    if written.startswith("/"):
        return written
    if not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", written):
        raise ValueError("has to be sha256: and 64 hex digits, as `tgctl status` shows it")
    return written.lower()


def identifier(pattern: str, words: str) -> Callable[[Any], str]:
    """Text that matches *pattern*, which *words* describe."""

    def checked(value: Any) -> str:
        written = text(value)
        if not re.fullmatch(pattern, written):
            raise ValueError(f"has to be {words}, not {kind(value)}")
        return written

    return checked


Text = Annotated[str, BeforeValidator(text)]
Flag = Annotated[bool, BeforeValidator(flag)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(one_or_more)]
TextList = Annotated[tuple[Text, ...], BeforeValidator(a_list)]
Seconds = Annotated[float, BeforeValidator(seconds)]
SecondsOrNone = Annotated[float, BeforeValidator(seconds_or_none)]
SecondsOrOff = Annotated[float | None, BeforeValidator(seconds_or_off)]
Duration = Annotated[float, BeforeValidator(duration)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]
Count = Annotated[int, BeforeValidator(whole(1, 10_000_000))]
Labels = Annotated[dict[str, str], BeforeValidator(labels)]
FreeMapping = Annotated[dict[str, Any], BeforeValidator(free_mapping)]
