"""Host names in one spelling, for SNI, Host headers and configuration alike (S04).

Two names are the same name exactly when `normal` gives the same text for both.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tlsgate.errors import BadName

#: The longest name that a ClientHello or a certificate may carry (RFC 6066 section 3).
NAME_LIMIT = 255

_LABEL = r"(?!-)[a-z0-9_-]{1,63}+(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: A name that ends in a number is an IPv4 address to somebody (RFC 1123 section 2.1,
#: https://url.spec.whatwg.org/#ends-in-a-number-checker).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@lru_cache(maxsize=1024)
def normal(name: str | bytes) -> str:
    """Give *name* in its one spelling.

    Lower case; one trailing dot is stripped; labels are LDH or A-labels (RFC 5890
    section 2.3.1), of at most 63 bytes, and may hold "_" too. A U-label is refused:
    who sends one has not encoded it, and we would guess.

    Raises:
        BadName: it is empty, too long, an IP address, or holds any other byte.
    """
    try:
        text = name.decode("ascii") if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        raise _bad(name, "not ASCII; an A-label (xn--...) is wanted") from None
    if len(text) > NAME_LIMIT:
        raise _bad(text, f"longer than {NAME_LIMIT} bytes")
    if not text.isascii():  # before lower(): U+212A would become an honest "k"
        raise _bad(text, "not ASCII; an A-label (xn--...) is wanted")
    text = text.lower().removesuffix(".")
    if _NAME.fullmatch(text) is None:
        raise _bad(text, "labels have 1 to 63 letters, digits, '-' or '_'")
    if _NUMBER.fullmatch(text, text.rfind(".") + 1) is not None:
        raise _bad(text, "an IP address is not a name")
    return text


def _bad(name: str | bytes, why: str) -> BadName:
    text = name if isinstance(name, str) else name.decode("latin-1")
    return BadName(f"name {text[:64]!a}", why)
