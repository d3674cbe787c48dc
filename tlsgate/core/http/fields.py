"""Header fields: which ones are of one hop only, and which ones nobody but us may set.

Names are in lower case here. Applications fold more than that: CGI and WSGI make `-`, `_`, `.`
and in places every other mark the same character, so a client's field counts as one of ours
however it is folded (S21).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from tlsgate.errors import BadBytes

Field = tuple[bytes, bytes]
Fields = tuple[Field, ...]

#: Of one head, its empty line counted; and of the fields in it.
HEAD_LIMIT: Final = 32 * 1024
FIELD_LIMIT: Final = 128
#: No honest name is longer, and what is remembered of names has to be bounded.
NAME_LIMIT: Final = 128

#: RFC 9110 section 5.6.2.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
TOKEN: Final = re.compile(_TOKEN)
#: RFC 9110 section 5.5: no control character; bytes above 0x7f are nobody's letters.
VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
#: RFC 9112 sections 2 to 5, without what recipients may be kind about: bare LF, white space
#: before the colon, a line that goes on in the next one.
_REQUEST: Final = re.compile(
    rb"%b [!-~]+ HTTP/1\.[01]\r\n(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*+\r\n" % (_TOKEN, _TOKEN)
)
_RESPONSE: Final = re.compile(
    rb"HTTP/1\.[01] [1-9][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"(?:%b:[\t\x20-\x7e\x80-\xff]*\r\n)*+\r\n" % _TOKEN
)

#: Of one hop (RFC 9110 section 7.6.1), or about the next one.
HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"http2-settings"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info"),
    }
)

#: What the beginning of a folded name says of who has sent what, and where from.
_OWN_PREFIXES: Final = (
    *(b"x-forwarded", b"x-tlsgate", b"tlsgate-", b"teleport-", b"x-teleport-", b"impersonate-"),
    *(b"x-envoy-", b"x-original-", b"x-rewrite-", b"x-auth-request-", b"x-remote-", b"remote-"),
    *(b"x-ssl-", b"ssl-client-", b"x-client-cert", b"x-webauth-", b"x-authenticated-"),
    *(b"x-real-", b"x-client-", b"client-ip", b"client-cert", b"x-cluster-client-"),
    *(b"x-amzn-oidc-", b"x-goog-authenticated-user-", b"x-goog-iap-", b"cf-access-"),
    *(b"x-ms-client-principal", b"x-ms-token-", b"x-pomerium-"),
)
_OWN: Final = frozenset(
    {
        *(b"forwarded", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip"),
        *(b"x-host", b"x-http-host-override", b"x-http-method-override", b"x-url-scheme"),
        *(b"front-end-https", b"x-user", b"x-username", b"x-email", b"x-groups", b"proxy"),
    }
)

_WEIGHTY: Final = frozenset(
    {
        *(b"host", b"content-length", b"content-type", b"cookie", b"authorization", b"expect"),
        *(b"origin", b"referer", b"content-encoding"),
    }
)


def read_request(head: bytes) -> tuple[bytes, bytes, bytes, Fields]:
    """Take a request's head apart: method, target, version ("1.1") and fields.

    Refused is what two readers could read as two things (S25); what is left needs no more than
    to be cut at its line ends and colons.

    Args:
        head: to the end of its empty line.

    Raises:
        BadBytes: it is no request head to the letter.
    """
    if _REQUEST.fullmatch(head) is None:
        raise BadBytes("request", "not written as RFC 9112 says")
    _check_length(head, "request")
    line, *lines = head[:-4].split(b"\r\n")
    method, target, version = line.split(b" ")
    return method, target, version[5:], _fields(lines)


def read_response(head: bytes) -> tuple[int, bytes, Fields]:
    """Take an answer's head apart: status, version and fields.

    Raises:
        BadBytes: it is no response head to the letter.
    """
    if _RESPONSE.fullmatch(head) is None:
        raise BadBytes("answer", "not written as RFC 9112 says")
    _check_length(head, "answer")
    line, *lines = head[:-4].split(b"\r\n")
    return int(line[9:12]), line[5:8], _fields(lines)


def _fields(lines: list[bytes]) -> Fields:
    found = []
    for line in lines:
        name, _, value = line.partition(b":")
        if len(name) > NAME_LIMIT:
            raise BadBytes("head", f"a field's name of more than {NAME_LIMIT} bytes")
        found.append((name.lower(), value.strip(b" \t")))
    return tuple(found)


def _check_length(head: bytes, what: str) -> None:
    """Parsers may make one of two equal lengths; here nobody says it twice."""
    told = _LENGTHS.findall(head)
    if told and (len(told) > 1 or _NUMBER.fullmatch(told[0].strip(b" \t")) is None):
        raise BadBytes(what, "a Content-Length that is no one number")


def head_size(piece: bytes | bytearray) -> int:
    """How long the head at the beginning of *piece* is; 0: its end has not come.

    Raises:
        BadBytes: it is longer than it may be, or a line ends in another way than all do.
    """
    end = piece.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end >= 0:
        return end + 4
    if len(piece) >= HEAD_LIMIT:
        raise BadBytes("head", f"longer than {HEAD_LIMIT} bytes")
    if _ODD_END.search(piece) is not None:
        raise BadBytes("head", "a line that does not end in CR LF")
    return 0


_LENGTHS: Final = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_MARKS: Final = re.compile(rb"[^a-z0-9]")
_ODD_END: Final = re.compile(rb"(?<!\r)\n|\r[^\n]|\x00")


@lru_cache(maxsize=2048)
def folded(name: bytes) -> bytes:
    """*name* as the kindest of applications reads it."""
    return _MARKS.sub(b"-", name.lower())


@lru_cache(maxsize=2048)
def is_ours(name: bytes) -> bool:
    """Whether a client's field *name* could be taken for one that a proxy sets."""
    plain = folded(name)
    if plain.startswith(_OWN_PREFIXES) or plain in _OWN:
        return True
    # What only folding makes a field of weight is nobody's honest field.
    return plain != name.lower() and (plain in HOP_BY_HOP or plain in _WEIGHTY)


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Every value of *name*, in order."""
    return [value for key, value in fields if key == name]


def words(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """The comma-separated words of *name*, in lower case."""
    return cut(values(fields, name))


def cut(told: list[bytes]) -> list[bytes]:
    """The comma-separated words of every value of one field, in lower case."""
    if not told:
        return told
    return [word for value in told for one in value.split(b",") if (word := one.strip().lower())]


def among(fields: Fields, names: frozenset[bytes]) -> list[Field]:
    """Those of *fields* that have one of *names*, for who asks for several of few."""
    return [one for one in fields if one[0] in names]


def without_hops(fields: Fields) -> Fields:
    """*fields* without those of one hop, and without what `Connection` names (S20)."""
    named = words(fields, b"connection")
    drop = HOP_BY_HOP.union(named) if named else HOP_BY_HOP
    return tuple([one for one in fields if one[0] not in drop])


def length_of(fields: Iterable[Field], what: str) -> int | None:
    """What Content-Length says; None: nothing.

    Raises:
        BadBytes: it says it twice, or it is no number.
    """
    told = values(fields, b"content-length")
    if not told:
        return None
    if len(told) > 1 or _NUMBER.fullmatch(told[0]) is None:
        raise BadBytes(what, "a Content-Length that is no one number")
    return int(told[0])


_NUMBER: Final = re.compile(rb"[0-9]{1,18}")


def is_chunked(fields: Iterable[Field], version: bytes, what: str) -> bool:
    """Whether the body comes in chunks.

    Raises:
        BadBytes: another encoding, or one that the version does not have, or a length too.
    """
    told = values(fields, b"transfer-encoding")
    if not told:
        return False
    if len(told) > 1 or told[0].lower() != b"chunked":
        raise BadBytes(what, "a Transfer-Encoding other than chunked")
    if version != b"1.1" or values(fields, b"content-length"):
        raise BadBytes(what, "a Transfer-Encoding where there may be none")
    return True
