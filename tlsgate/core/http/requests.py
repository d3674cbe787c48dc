"""A client's request: one value for HTTP/1.1 and HTTP/2, or a refusal.

Whatever could mean two things to two readers is refused and never mended (S25, S35): the
answer is 400, and the connection ends.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from attrs import field, frozen

from tlsgate.core.http.fields import (
    FIELD_LIMIT,
    NAME_LIMIT,
    TOKEN,
    VALUE,
    Fields,
    among,
    is_chunked,
    length_of,
    values,
    words,
)
from tlsgate.core.names import normal
from tlsgate.errors import BadBytes, BadName

#: Below this, no path reaches an application.
RESERVED: Final = b"/x-tlsgate-"
_NAME: Final = RESERVED[1:]

_AUTHORITY: Final = re.compile(rb"([A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?")
_TARGET: Final = re.compile(rb"/[!\"$-~]*")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]+)([/?].*)?", re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
#: The fields that say what a request is.
_TELLING: Final = frozenset(
    {b"host", b"transfer-encoding", b"content-length", b"expect", b"connection"}
)
#: So many times at most: to see through more takes long, and nobody's address has them.
_ESCAPED: Final = 8
#: TRACE gives a client back what the gateway has added; CONNECT is for proxies.
_REFUSED: Final = frozenset({b"CONNECT", b"TRACE", b"TRACK", b"PRI"})


@frozen(kw_only=True)
class RequestHead:
    """What a client asks for.

    Attributes:
        method: as it was sent.
        target: "/path?query".
        name: the host name, normalised.
        authority: "name[:port]" as it was sent.
        fields: names in lower case, in order; none begins with ":".
        length: of the body; None: it comes in chunks, or its end is a frame's.
        expects: the client waits for 100 before it sends the body.
        upgrade: b"websocket", where it would change to that; b"": it goes on as HTTP.
        keeps: the client may use the connection again.
        version: b"1.0", b"1.1" or b"2".
    """

    method: bytes
    target: bytes = field(repr=False)
    name: str
    authority: bytes
    fields: Fields = field(repr=False)
    length: int | None = 0
    expects: bool = False
    upgrade: bytes = b""
    keeps: bool = True
    version: bytes = b"1.1"

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    @property
    def has_body(self) -> bool:
        """Whether a body comes."""
        return self.length is None or self.length > 0


def judge(method: bytes, target: bytes, fields: Fields, version: bytes) -> RequestHead:
    """Make a request of what an HTTP/1 parser gave.

    Raises:
        BadBytes: refused.
    """
    if len(fields) > FIELD_LIMIT:
        raise _bad(f"more than {FIELD_LIMIT} fields")
    # Of many fields these few are asked for again and again.
    telling = among(fields, _TELLING)
    hosts = values(telling, b"host")
    if len(hosts) != 1:
        raise _bad("no Host, or more than one")
    chunked = is_chunked(telling, version, "request")
    length = length_of(telling, "request")
    expect = values(telling, b"expect")
    if expect and (len(expect) > 1 or expect[0].lower() != b"100-continue" or version == b"1.0"):
        raise _bad("an Expect that nobody can meet")
    hops = words(telling, b"connection")
    head = RequestHead(
        method=_method(method),
        target=_origin(target, hosts[0]),
        name=_name(hosts[0]),
        authority=hosts[0],
        fields=fields,
        length=None if chunked else (length or 0),
        expects=bool(expect),
        upgrade=_upgrade(method, fields, hops, version, chunked or bool(length)),
        keeps=version == b"1.1" and b"close" not in hops,
        version=version,
    )
    _check_path(head.path)
    return head


def judge_h2(fields: Fields, *, ended: bool) -> RequestHead:
    """Make a request of the fields of an HTTP/2 stream (RFC 9113 section 8.3.1).

    Args:
        fields: with pseudo fields first, as a decoder gave them.
        ended: no body follows.

    Raises:
        BadBytes: refused.
    """
    if len(fields) > FIELD_LIMIT:
        raise _bad(f"more than {FIELD_LIMIT} fields")
    pseudo: dict[bytes, bytes] = {}
    plain: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name[:1] == b":":
            if plain or name in pseudo:
                raise _bad("pseudo fields in disorder")
            pseudo[name] = value
        elif TOKEN.fullmatch(name) is None or name != name.lower() or len(name) > NAME_LIMIT:
            raise _bad("a field's name that is none")
        elif VALUE.fullmatch(value) is None or value.strip(b" \t") != value:
            raise _bad("a field's value that is none")
        else:
            plain.append((name, value))
    if pseudo.keys() != {b":method", b":scheme", b":path", b":authority"}:
        raise _bad("pseudo fields that are not those of a request")
    if pseudo[b":scheme"] != b"https":
        raise _bad("another scheme than https")
    rest = tuple(plain)
    for name in (b"connection", b"transfer-encoding", b"upgrade", b"keep-alive", b"host"):
        told = values(rest, name)
        if told and (name != b"host" or told != [pseudo[b":authority"]]):
            raise _bad("a field that HTTP/2 does not have, or another Host")
    if any(value != b"trailers" for value in values(rest, b"te")):
        raise _bad("a TE other than trailers")
    length = length_of(rest, "request")
    if ended and length:
        raise _bad("a length and no body")
    authority = pseudo[b":authority"]
    head = RequestHead(
        method=_method(pseudo[b":method"]),
        target=_origin(pseudo[b":path"], authority),
        name=_name(authority),
        authority=authority,
        fields=_one_cookie(rest),
        length=0 if ended else length,
        expects=False,
        version=b"2",
    )
    _check_path(head.path)
    return head


def _one_cookie(fields: Fields) -> Fields:
    """HTTP/2 clients cut the Cookie field in pieces (RFC 9113 section 8.2.3)."""
    pieces = values(fields, b"cookie")
    if len(pieces) < 2:
        return fields
    rest = tuple(one for one in fields if one[0] != b"cookie")
    return (*rest, (b"cookie", b"; ".join(pieces)))


def _method(method: bytes) -> bytes:
    if TOKEN.fullmatch(method) is None or len(method) > 32 or method.upper() in _REFUSED:
        raise _bad("a method that is not taken here")
    return method


def _name(authority: bytes) -> str:
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not 0 < int(found[2] or 443) < 65536:
        raise _bad("a Host that is no name")
    try:
        return normal(found[1])
    except BadName:
        raise _bad("a Host that is no name") from None


def _origin(target: bytes, host: bytes) -> bytes:
    """The target in origin form; one that names its host has to name the same."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        if absolute[1].lower() != host.lower():
            raise _bad("a target that names another host")
        target = absolute[2] or b"/"
        target = target if target[:1] == b"/" else b"/" + target
    if _TARGET.fullmatch(target) is None:
        raise _bad("a target that is no path")
    return target


def _check_path(path: bytes) -> None:
    """Nobody may read a path of ours where the gateway reads another one (S35)."""
    plain, turns = path, 0
    while b"%" in plain and (unescaped := _ESCAPE.sub(_unescaped, plain)) != plain:
        plain, turns = unescaped, turns + 1
        if turns > _ESCAPED:
            raise _bad("a path that is escaped too often")
    if b"\x00" in plain:
        raise _bad("a NUL in the path")
    if path.startswith(RESERVED) or _NAME not in plain.lower():
        return
    if _flat(plain).startswith(RESERVED):
        raise _bad("a path of the gateway's own in another spelling")


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode("ascii"))


def _flat(plain: bytes) -> bytes:
    """*plain* as a server reads it that is kind about slashes, dots, parameters and case."""
    found: list[bytes] = []
    for segment in re.split(rb"[/\\]+", plain.lower()):
        name = segment.partition(b";")[0]
        if name == b"..":
            del found[-1:]
        elif name not in (b"", b"."):
            found.append(name)
    return b"/" + b"/".join(found)


def _upgrade(
    method: bytes, fields: Fields, hops: list[bytes], version: bytes, has_body: bool
) -> bytes:
    """The protocol that the client asks to change to, where the request may do so (S27)."""
    if b"upgrade" not in hops:
        return b""
    told = words(fields, b"upgrade")
    if not told or version != b"1.1" or told == [b"h2c"]:
        return b""
    if len(told) > 1 or has_body or method != b"GET":
        raise _bad("an upgrade that is not one")
    if told[0] != b"websocket":
        # Behind some of them HTTP goes on (h2, TLS), and nobody would look at its fields.
        return b""
    keys = values(fields, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise _bad("a WebSocket without its key")
    if values(fields, b"sec-websocket-version") != [b"13"]:
        raise _bad("another version of WebSocket than 13")
    return told[0]


def _is_key(key: bytes) -> bool:
    """RFC 6455 section 4.1: sixteen bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _bad(why: str) -> BadBytes:
    return BadBytes("request", why)
