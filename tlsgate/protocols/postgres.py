"""PostgreSQL: TLS by SSLRequest or at once, and errors that psql prints.

The gateway answers the requests before TLS itself; what it carries to the target of a
static route begins with the client's StartupMessage, in the clear of the inner side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.core.addresses import host_port, split
from tlsgate.core.wire import postgres
from tlsgate.errors import (
    Denied,
    Draining,
    Fault,
    GateError,
    NoCertificate,
    NoRoute,
    NotServed,
    TooMany,
)
from tlsgate.interfaces import ListenerSpec, Opening, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.words import told


class Postgres(GateProtocol):
    """PostgreSQL behind static routes; access to databases by role is not built yet.

    Args:
        name: what routes call it; a copy under another name is another protocol.
        alpn: its tokens.
        listener: its separate port.
    """

    stands_alone = False
    advice = (
        "PostgreSQL on a port of its own is not part of this release; "
        'use a static route of the TLS port: psql "host=GATEWAY port=443 sslmode=verify-full '
        'sslcert=CERT sslkey=KEY"'
    )

    def __init__(
        self,
        name: str = "postgres",
        alpn: tuple[bytes, ...] = (b"tlsgate-postgres", b"postgresql"),
        listener: ListenerSpec | None = None,
    ) -> None:
        self.name = name
        self.alpn = alpn
        self.listener = listener or ListenerSpec(
            key="postgres_listen_addr", port=5432, public_key="postgres_public_addr"
        )
        self.openings = (
            Opening(
                name=f"{name}-sslrequest",
                protocol=name,
                match=postgres.is_ssl_request,
                then=Then.TLS,
                consumes=postgres.REQUEST_SIZE,
                answer=postgres.ACCEPT,
            ),
            Opening(
                name=f"{name}-gssencrequest",
                protocol=name,
                match=postgres.is_gssenc_request,
                then=Then.AGAIN,
                consumes=postgres.REQUEST_SIZE,
                answer=postgres.DECLINE,
            ),
            # Taken only where a route is open without TLS; else refused in clear words.
            Opening(
                name=f"{name}-startup", protocol=name, match=postgres.is_startup, then=Then.TAKE
            ),
            # A cancel has no TLS and names a key of the server's, which nobody maps yet.
            Opening(
                name=f"{name}-cancel",
                protocol=name,
                match=postgres.is_cancel_request,
                then=Then.REFUSE,
            ),
        )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where PostgreSQL clients dial.

        The public address falls back to the public host, with the port of the separate
        listener where there is one.
        """
        own = open_listeners.get("postgres")
        public = first(settings.public.postgres)
        web = first(settings.public.web)
        if public is None and own is not None and web is not None:
            public = host_port(split(web)[0], split(own)[1] or 5432)
        return {
            "db": present(
                postgres_listen_addr=listen_addr(settings, open_listeners, "postgres"),
                postgres_public_addr=public,
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Make a FATAL ErrorResponse; a client shows it once it has sent its StartupMessage."""
        if isinstance(error, NoRoute):
            # Under TLS there would have been an alert: this one came in the clear.
            text = "this gateway takes PostgreSQL under TLS only; use sslmode=verify-full"
            return postgres.error_response("28000", text)
        default = "08006" if error.fault is Fault.TARGET else "XX000"
        return postgres.error_response(_SQLSTATES.get(type(error), default), told(error))


#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES: dict[type[GateError], str] = {
    Denied: "28000",  # invalid_authorization_specification
    NoCertificate: "28000",
    NotServed: "0A000",  # feature_not_supported
    TooMany: "53300",  # too_many_connections
    Draining: "57P03",  # cannot_connect_now
}
