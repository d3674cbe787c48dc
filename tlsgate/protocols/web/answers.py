"""How answers leave: their headers, and the constant text of every error.

Nothing that a client sent comes back in an answer (S30).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from twisted.web.http import datetimeToString
from twisted.web.server import Request

from tlsgate.protocols.web import page

#: What to speak instead, on the web port, in an answer with 426.
UPGRADE = b"TLS/1.2, HTTP/1.1"
JSON_TYPE = b"application/json"
HTML_TYPE = b"text/html; charset=utf-8"

#: Status code to what went wrong, for people.
SENTENCES = {
    400: "This request leaves open what it asks for.",
    403: "You may not do this here.",
    404: "There is nothing at this address.",
    405: "This address takes GET and HEAD only.",
    408: "The gateway has waited long enough for this request.",
    421: "This connection was opened for another name; ask again on a new one.",
    500: "Something went wrong in the gateway; its log says what.",
    502: "The server behind this gateway cannot be reached.",
    503: "The gateway cannot take this now; try again.",
    504: "The server behind this gateway does not answer.",
}

#: Sent with everything. Pages take nothing from anywhere and go in nobody's frame.
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Content-Security-Policy", page.CONTENT_SECURITY_POLICY),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)


def send(request: Request, code: int, kind: bytes, body: bytes) -> None:
    """Answer *request* whole and finish it; a HEAD gets the headers of a GET."""
    request.setResponseCode(code, _phrase(code))
    request.setHeader(b"Date", datetimeToString())
    for name, value in _HEADERS:
        if not request.responseHeaders.hasHeader(name):  # a page with a form has its own policy
            request.setHeader(name, value)
    if not request.responseHeaders.hasHeader(b"cache-control"):
        request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(b"" if request.method == b"HEAD" else body)
    request.finish()


def refuse(request: Request, code: int) -> None:
    """Answer with the constant text for *code*: JSON on the API's paths, else a page."""
    sentence = SENTENCES[code]
    if code == 405:
        request.setHeader(b"Allow", b"GET, HEAD")
    if is_api(request.path):
        send(request, code, JSON_TYPE, error_body(sentence))
    else:
        send(request, code, HTML_TYPE, page.error(code, sentence))


def is_api(path: bytes) -> bool:
    """Whether programs rather than people ask at *path*."""
    return path.startswith((b"/webapi/", b"/v1/")) or path in (b"/webapi", b"/v1")


def json_body(value: object) -> bytes:
    """The bytes of a JSON answer."""
    return json.dumps(value, indent=2, ensure_ascii=True).encode() + b"\n"


def error_body(message: str) -> bytes:
    """An error as clients of /webapi read it."""
    return json_body({"error": {"message": message}})


def whole(code: int, kind: bytes, body: bytes) -> bytes:
    """A complete HTTP/1.1 answer, for a connection that is refused before any request.

    With 426 it names what would be right, as RFC 9110 section 15.5.22 has it.
    """
    lines: list[Any] = [
        b"HTTP/1.1 %d %s" % (code, _phrase(code)),
        b"Server: tlsgate",
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Connection: close" if code != 426 else b"Connection: Upgrade, close",
        *((b"Upgrade: " + UPGRADE,) if code == 426 else ()),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _phrase(code: int) -> bytes:
    """The words beside a status; Twisted has none for 421."""
    return HTTPStatus(code).phrase.encode()
