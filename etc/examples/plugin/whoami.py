"""whoami: tells a client, line by line, who the gateway takes it for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from tlsgate.errors import Denied, GateError
from tlsgate.interfaces import IRouteContext, ListenerSpec
from tlsgate.protocols.base import GateProtocol, refuse_unknown
from tlsgate.protocols.words import told


class Clerk(LineReceiver):
    """Answers `who` and `quit`; one serves one client."""

    delimiter = b"\n"
    MAX_LENGTH = 512
    name = b"nobody"
    transport: Any

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # who reads no answers is read no more
        self.sendLine(b"+ask who")

    def lineReceived(self, line: bytes) -> None:
        match line.strip():
            case b"who":
                self.sendLine(b"+" + self.name)
            case b"quit":
                self.transport.unregisterProducer()
                self.transport.loseConnection()
            case _:
                self.sendLine(b"-who or quit")


class Whoami(GateProtocol):
    """By the token `whoami` on the TLS port, and on a port of its own."""

    name = "whoami"
    alpn = (b"whoami",)
    listener = ListenerSpec(key="listeners.whoami", port=7043)

    def settings(self, raw: Mapping[str, Any]) -> frozenset[str]:
        """Take `deny`, the names of those who are not served."""
        refuse_unknown(self.name, raw, ("deny",))
        return frozenset(raw.get("deny", ()))

    def refusal(self, error: GateError) -> bytes:
        """Say it as this protocol says no: a line that begins with a dash."""
        return f"-{told(error)}\n".encode()

    def build(self, context: IRouteContext) -> Factory:
        """Serve one client, unless it is one of those."""
        who = context.identity.name if context.identity else "nobody"
        if who in context.own_settings:  # type: ignore[operator]  # what `settings` gave
            raise Denied(context.route.name, who, "deny names it")
        return Factory.forProtocol(lambda: _clerk(who))


def _clerk(who: str) -> Clerk:
    clerk = Clerk()
    clerk.name = who.encode()
    return clerk


whoami = Whoami()
