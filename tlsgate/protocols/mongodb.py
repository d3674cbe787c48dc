"""MongoDB: the client speaks first, and reads only answers to what it asked.

So its own listener, while nobody has routed it, serves a refusal to the first message
instead of saying it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core.routing import CertRule
from tlsgate.core.wire import mongodb
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IRouteContext, ListenerSpec, Opening, RelayTo, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.lastword import LastWord
from tlsgate.protocols.words import told

_HEADER_BYTES = 16


class MongoDB(GateProtocol):
    """MongoDB behind static routes; access to databases by role is not built yet.

    Nothing but the refusal is behind the own listener, so it asks for no certificate, and
    there is no token yet that would lead here without a static route.
    """

    name = "mongodb"
    client_cert = CertRule.NONE
    listener = ListenerSpec(key="mongo_listen_addr", port=27017, public_key="mongo_public_addr")
    openings = (
        Opening(
            name="mongodb-message", protocol="mongodb", match=mongodb.is_message, then=Then.TAKE
        ),
    )
    advice = (
        "MongoDB on a port of its own is not part of this release; "
        "use a static route of the TLS port: mongosh --tls --host NAME --port 443"
    )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where MongoDB clients dial; the listen address never follows the mode."""
        return {
            "db": present(
                mongo_listen_addr=listen_addr(
                    settings, open_listeners, "mongo", follows_mode=False
                ),
                mongo_public_addr=first(settings.public.mongo),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """An answer to a request that is not known; few drivers read it."""
        return mongodb.error_reply(b"", told(error))

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Relay to the route's target, or answer the first message with a refusal."""
        try:
            return relay(self, context)
        except NotServed as error:
            words = told(error)

            def reply(head: bytes) -> bytes | None:
                if len(head) < _HEADER_BYTES:
                    return None
                return mongodb.error_reply(head, words)

            seconds = context.settings.waits(context.listener).opening_seconds
            return LastWord(reply, context.clock, seconds)
