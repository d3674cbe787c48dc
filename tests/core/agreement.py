"""What OpenSSL reads in a ClientHello, to hold our own reading against it.

The server side of a connection over memory BIOs, with callbacks that note the name and
the offers that the library saw. Nothing is answered to anybody.
"""

from __future__ import annotations

from functools import lru_cache

import trustme
from attrs import define
from OpenSSL import SSL

from tlsgate.core.hello import Hello, read_hello
from tlsgate.core.names import normal
from tlsgate.core.outcome import More
from tlsgate.errors import BadHello, BadName


@define
class Seen:
    """What the library made of some bytes."""

    parsed: bool = False  #: it had a whole hello and has looked at its extensions
    failed: bool = False  #: it has ended the handshake
    server_name: bytes | None = None
    alpn: tuple[bytes, ...] | None = None  #: None: it has not asked which offer to take
    version: int = 0  #: the chosen one, when it asked for the offer


def look(*pieces: bytes) -> Seen:
    """Feed *pieces* to a TLS server, one after the other, until it answers or fails."""
    seen = Seen()
    connection = SSL.Connection(_context(), None)
    connection.set_app_data(seen)
    connection.set_accept_state()
    for piece in filter(None, pieces):
        connection.bio_write(piece)
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            continue
        except SSL.Error:
            seen.failed = True
            break
    return seen


def disagreement(wire: bytes) -> str | None:
    """Say how our reading of *wire* differs from the library's; None: it does not.

    We may refuse what the library takes, never read something else in it, and never
    say "not yet" when it has read a hello, or the other way round.
    """
    try:
        ours = read_hello(wire)
    except BadHello:
        return None
    if isinstance(ours, More):
        return "we want more, it does not" if look(wire).parsed else None
    return _compare(ours, wire)


def _compare(ours: Hello, wire: bytes) -> str | None:
    if look(wire[: ours.length - 1]).parsed:
        return "it has a hello before our last byte"
    seen = look(wire[: ours.length])
    if not seen.parsed:
        return None if seen.failed else "it wants more, we do not"
    try:
        server_name = None if seen.server_name is None else normal(seen.server_name)
    except BadName as error:
        return f"it took a name that is none: {error}"
    if server_name != ours.server_name:
        return f"it read the name {server_name!r}, we {ours.server_name!r}"
    if seen.alpn is not None and seen.alpn != ours.alpn:
        return f"it read the offers {seen.alpn!r}, we {ours.alpn!r}"
    if seen.version and seen.version not in ours.versions and seen.version > max(ours.versions):
        return f"it took version {seen.version:#06x}, we read {ours.versions!r}"
    return None


def _note_name(connection: SSL.Connection) -> None:
    seen: Seen = connection.get_app_data()
    seen.parsed = True
    seen.server_name = connection.get_servername()


def _note_offers(connection: SSL.Connection, offers: list[bytes]) -> bytes:
    seen: Seen = connection.get_app_data()
    seen.alpn = tuple(offers)
    seen.version = connection.get_protocol_version()
    return offers[0]


@lru_cache(maxsize=1)
def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    trustme.CA().issue_cert("gw.example.com").configure_cert(context)
    context.set_tlsext_servername_callback(_note_name)
    context.set_alpn_select_callback(_note_offers)
    return context
