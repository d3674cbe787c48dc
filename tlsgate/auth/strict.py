"""JSON as the API takes it: one meaning for every text, and bounds before any work.

RFC 8259 leaves open what two equal names in one object mean and says nothing of depth;
Python's reader takes the last name, NaN, lone surrogates and whatever depth the stack bears.
Two programs that read such a text differently are how a check and a use come apart.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from tlsgate.errors import BadAsk

#: How much one request may say.
BODY_BYTES: Final = 1 << 20
#: How deep objects and lists may stand in one another.
DEPTH: Final = 32
#: Longer numbers than any of ours; Python's reader takes quadratic time over long ones.
DIGITS: Final = 40


def read_json(wire: bytes) -> Any:
    """Read the one value that *wire* holds.

    Raises:
        BadAsk: with a sentence that never quotes what was read.
    """
    if len(wire) > BODY_BYTES:
        raise BadAsk(f"the body is longer than {BODY_BYTES} bytes")
    try:
        text = wire.decode("utf-8")
    except UnicodeDecodeError as e:
        raise BadAsk("the body is not UTF-8") from e
    _check_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_fraction,
        )
    except BadAsk:
        raise
    except (ValueError, RecursionError) as e:
        raise BadAsk("the body is no JSON") from e
    if _HALF.search(text):
        _check_texts(value)
    return value


#: A whole string (or what is left of one that never ends), or one bracket.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)


def _check_depth(text: str) -> None:
    """Count brackets outside of strings, before a reader recurses over them."""
    if text.count("[") + text.count("{") <= DEPTH:
        return
    depth = 0
    for found in _TOKENS.finditer(text):
        one = found[0]
        if one in "[{":
            depth += 1
            if depth > DEPTH:
                raise BadAsk(f"the body is deeper than {DEPTH} levels")
        elif one in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadAsk("the body has the same name twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadAsk("the body has a number that JSON does not know")


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise BadAsk("the body has a number that is too long")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > DIGITS:
        raise BadAsk("the body has a number that is too long")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadAsk("the body has a number that is too large")
    return number


#: Only an escape can make a half character: UTF-8 has none.
_HALF = re.compile(r"\\u[dD]")


def _check_texts(value: Any) -> None:
    r"""Refuse halves of surrogate pairs ("\\ud800"): no encoder of ours could write them."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if not one.isascii():
                try:
                    one.encode("utf-8")
                except UnicodeEncodeError as e:
                    raise BadAsk("the body has half a character") from e
        elif isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
