"""HTTP in the clear on a TLS port: its verbs, and one constant answer.

A redirect is not sent: who asked in the clear has already said what it wanted in the
clear, and a client that follows hides that for ever.
"""

from __future__ import annotations

#: Methods of RFC 9110 section 9.3 and RFC 5789, and the preface of HTTP/2 (RFC 9113
#: section 3.4).
_VERBS = tuple(
    verb + b" "
    for verb in (
        b"GET",
        b"HEAD",
        b"POST",
        b"PUT",
        b"DELETE",
        b"CONNECT",
        b"OPTIONS",
        b"TRACE",
        b"PATCH",
        b"PRI",
    )
)


def is_request(head: bytes, /) -> bool | None:
    """Tell a request line by its method and the space behind it."""
    if head.startswith(_VERBS):
        return True
    return None if any(verb.startswith(head) for verb in _VERBS) else False


def bad_request(text: str) -> bytes:
    """Write a whole 400 answer with *text*, after which the connection closes.

    Args:
        text: a constant sentence: nothing that the client sent may come back in it.
    """
    body = text.encode() + b"\n"
    return (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n"
        b"Cache-Control: no-store\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"%s" % (len(body), body)
    )
