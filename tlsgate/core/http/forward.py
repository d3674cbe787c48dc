"""What goes on to the target, and what comes back: written anew, never as it came.

1. Fields of one hop go, and those that `Connection` names (S20).
2. Whatever a client could say in our name goes (S19, S21), and what the operator sets.
3. Then our own are set, and the operator's after them.

Of an answer, a cookie stays at the host that has set it: with a `Domain` it would reach the other
applications and the console, and an application could plant one there. Whatever is for somebody
who has shown who they are is for no cache that others share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from tlsgate.core.appsession import ours
from tlsgate.core.http.chunks import announced
from tlsgate.core.http.fields import (
    HOP_BY_HOP,
    TOKEN,
    VALUE,
    Field,
    Fields,
    folded,
    is_ours,
    without_hops,
    words,
)
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.http.responses import ResponseHead
from tlsgate.core.templates import expand

USER: Final = b"x-tlsgate-user"
ROLES: Final = b"x-tlsgate-roles"
TOKEN_FIELD: Final = b"x-tlsgate-jwt-assertion"

#: These say how the message itself goes on its way, and are written by us alone.
_FRAMING: Final = frozenset({b"host", b"content-length", b"expect"})
#: An operator's rule may set any other field.
_UNSETTABLE: Final = frozenset(
    {
        *(b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer"),
        *(b"expect", b"keep-alive", b"proxy-connection", b"http2-settings"),
    }
)
#: Of what a target says, these are about its own address and not about the gateway's; and the
#: last ones would have caches in front of us keep what is one user's.
_TARGETS_OWN: Final = frozenset(
    {
        *(b"alt-svc", b"content-length"),
        *(b"cdn-cache-control", b"surrogate-control", b"edge-control"),
    }
)
#: What a shared cache goes by (RFC 9111 section 5.2.2).
_SHARED: Final = frozenset({b"public", b"private", b"s-maxage", b"proxy-revalidate"})
_PHRASES: Final = {
    100: b"Continue",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    206: b"Partial Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    416: b"Range Not Satisfiable",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_URL: Final = re.compile(rb"(https?):(//)([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)


@frozen
class Rules:
    """What the operator has the gateway change for one application.

    Attributes:
        hosts: in redirects, these are the application's own address.
        fields: name in lower case, and a template for its value.
    """

    hosts: frozenset[str] = frozenset()
    fields: tuple[tuple[bytes, str], ...] = ()
    dropped: frozenset[bytes] = field(init=False)

    @dropped.default
    def _find_dropped(self) -> frozenset[bytes]:
        return frozenset(folded(name) for name, _ in self.fields)


@lru_cache(maxsize=256)
def read_rules(redirect: str, headers: str) -> Rules:
    """Read an offer's "rewrite_redirect" and "rewrite_headers".

    What is no rule is left out: the agent has told the operator so.

    Args:
        redirect, headers: JSON lists of text; "" is an empty one.
    """
    fields = []
    for line in _texts(headers):
        name, colon, value = line.partition(":")
        key = name.strip().lower().encode("utf-8", "replace")
        if colon and TOKEN.fullmatch(key) and key not in _UNSETTABLE:
            fields.append((key, value.strip()))
    return Rules(frozenset(host.lower() for host in _texts(redirect)), tuple(fields))


def _texts(told: str) -> list[str]:
    try:
        found = json.loads(told) if told else []
    except ValueError:
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


@frozen(kw_only=True)
class Who:
    """For whom the gateway speaks.

    Attributes:
        user, roles, traits: as the certificate says; in traits "logins" as well.
        address: the client's, without a port; "" where it has none.
        token: a signed token about the user; b"" where there is none.
    """

    user: str
    roles: Sequence[str] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    address: str = ""
    token: bytes = field(default=b"", repr=False)


def request_bytes(head: RequestHead, fields: Fields, who: Who, rules: Rules) -> bytes:
    """Write a request for the target.

    Args:
        fields: the client's, as far as they may go on (cookies of ours are out already).
    """
    host = head.authority
    own = _own(host, who.user, tuple(who.roles), who.address, who.token)
    for name, template in rules.fields:
        given = [(name, _plain(one)) for one in expand(template, who.traits)]
        if name == b"host":
            host = given[0][1] if given else host
        else:
            own = (*(one for one in own if one[0] != name), *given)
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (head.method, head.target, host)]
    named, dropped = words(fields, b"connection"), rules.dropped
    lines += [
        b"%b: %b\r\n" % one
        for one in fields
        if _goes_on(one[0]) and one[0] not in named and not (dropped and folded(one[0]) in dropped)
    ]
    lines += [b"%b: %b\r\n" % one for one in own]
    if head.length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
        if trailing := announced(head.fields):
            lines.append(b"trailer: %b\r\n" % b", ".join(trailing))
    elif head.length or head.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d\r\n" % head.length)
    if head.expects and head.has_body:
        lines.append(b"expect: 100-continue\r\n")
    if head.upgrade:
        lines.append(b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade)
    elif takes_trailers(head):
        lines.append(b"connection: te\r\nte: trailers\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


@lru_cache(maxsize=256)
def _own(
    authority: bytes, user: str, roles: tuple[str, ...], address: str, token: bytes
) -> tuple[Field, ...]:
    """What the gateway says of a request: the same of most that one client sends."""
    own = [
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", authority),
        (b"x-forwarded-port", authority.partition(b":")[2] or b"443"),
        (b"x-forwarded-ssl", b"on"),
        (USER, _plain(user)),
        (ROLES, b",".join(_plain(role) for role in roles)),
    ]
    if address:
        told = address.encode("ascii", "replace")
        own += [(b"x-forwarded-for", told), (b"x-real-ip", told)]
    if token:
        own.append((TOKEN_FIELD, token))
    return tuple(own)


@lru_cache(maxsize=2048)
def _goes_on(name: bytes) -> bool:
    """Whether a client's field *name* is one that may reach a target."""
    return name not in HOP_BY_HOP and name not in _FRAMING and not is_ours(name)


def takes_trailers(asked: RequestHead) -> bool:
    """Whether the client has said that it reads trailer fields (RFC 9110 section 10.1.4)."""
    return b"trailers" in words(asked.fields, b"te")


def interim_fields(answer: ResponseHead) -> list[Field]:
    """What of an answer before the real one the client gets: hints, and nothing that stays."""
    return [one for one in _passed(answer) if one[0] not in (b"set-cookie", b"cache-control")]


def response_fields(answer: ResponseHead, asked: RequestHead, rules: Rules) -> list[Field]:
    """What of an answer's fields the client gets; its framing is not among them."""
    fields = _passed(answer)
    if rules.hosts:
        fields = [
            (name, _led_here(value, asked.authority, rules))
            if name == b"location"
            else (name, value)
            for name, value in fields
        ]
    if b"cache-control" not in [name for name, _ in fields]:
        fields.append((b"cache-control", b"private"))
    return fields


def _passed(answer: ResponseHead) -> list[Field]:
    found = []
    for name, value in without_hops(answer.fields):
        if name == b"set-cookie":
            if not ours(value):
                found.append((name, _at_home(value)))
        elif name == b"cache-control":
            found.append((name, _unshared(value)))
        elif name not in _TARGETS_OWN:
            found.append((name, value))
    return found


def _at_home(cookie: bytes) -> bytes:
    """A cookie for the host that has set it, and for no other below the same domain."""
    if b"domain" not in cookie.lower():
        return cookie
    pair, *attributes = cookie.split(b";")
    kept = [one for one in attributes if _word(one) != b"domain"]
    return b";".join([pair, *kept])


def _unshared(control: bytes) -> bytes:
    if b"no-store" in control.lower():
        return control
    kept = [one.strip() for one in control.split(b",") if _word(one) not in _SHARED]
    return b", ".join([b"private", *kept])


def _word(directive: bytes) -> bytes:
    return directive.partition(b"=")[0].strip().lower()


def response_bytes(
    status: int, fields: Sequence[Field], length: int | None, *, chunked: bool, close: bool
) -> bytes:
    """Write the head of an answer for a client of HTTP/1."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, phrase(status))]
    lines += [b"%b: %b\r\n" % one for one in fields]
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def switch_bytes(answer: ResponseHead, upgrade: bytes) -> bytes:
    """Write the 101 behind which the bytes are the application's."""
    kept = _passed(answer)
    lines = [b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"]
    lines.append(b"upgrade: %b\r\n" % upgrade)
    lines += [b"%b: %b\r\n" % one for one in kept]
    lines.append(b"\r\n")
    return b"".join(lines)


def phrase(status: int) -> bytes:
    """The words beside a status; clients go by the number."""
    return _PHRASES.get(status, b"Answer")


def _led_here(url: bytes, authority: bytes, rules: Rules) -> bytes:
    """A redirect to one of the application's own addresses is one to where the client is."""
    found = _URL.fullmatch(url)
    if found is None:
        return url
    host = found[3].rpartition(b"@")[2].lower().decode("latin-1")
    if host not in rules.hosts and host.partition(":")[0] not in rules.hosts:
        return url
    return b"https://" + authority + found[4]


def _plain(text: str) -> bytes:
    """*text* as a field's value; what cannot stand in one becomes a question mark."""
    value = text.encode("utf-8", "replace")
    if VALUE.fullmatch(value) is not None and value.isascii():
        return value.strip()
    return bytes(one if 0x20 <= one < 0x7F else 0x3F for one in value).strip()
