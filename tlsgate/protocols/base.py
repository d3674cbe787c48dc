"""What most protocols have in common: defaults for `IGateProtocol`, and the plain relay.

Deriving from `GateProtocol` is a convenience for built-ins and drop-ins alike; the
registry asks for the interface and never for this class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.internet.interfaces import IProtocolFactory
from twisted.plugin import IPlugin
from zope.interface import implementer

from tlsgate.core.routing import CertRule
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import (
    IGateProtocol,
    IRouteContext,
    ITunnels,
    ListenerSpec,
    Opening,
    RelayTo,
)


@implementer(IPlugin, IGateProtocol)
class GateProtocol:
    """A protocol without tokens, names, openings or listener, which relays to its route's target.

    Closed by default: a certificate is required until a subclass says otherwise.
    """

    name: str = ""
    alpn: tuple[bytes, ...] = ()
    client_cert: CertRule = CertRule.REQUIRED
    openings: tuple[Opening, ...] = ()
    listener: ListenerSpec | None = None
    stands_alone: bool = True
    holders: tuple[str, ...] = ()
    shows_cluster: bool = False
    at_auth: bool = False
    name_alpn: tuple[bytes, ...] = ()
    web_alpn: tuple[bytes, ...] = ()
    own_login: bool = False
    advice: str = ""

    #: Keys that `settings` takes; a subclass with settings of its own overrides both.
    setting_names: ClassVar[tuple[str, ...]] = ()

    def server_names(self, public: Sequence[str]) -> Sequence[str]:
        """Claim no name."""
        return ()

    def stands_for(self, server_name: str, public: Sequence[str], tunnels: ITunnels) -> str | None:
        """Claim no name at run time either."""
        return None

    def settings(self, raw: Mapping[str, Any]) -> object:
        """Take no settings.

        Raises:
            ValueError: there is one.
        """
        refuse_unknown(self.name, raw, self.setting_names)
        return None

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Say nothing in the ping document."""
        return {}

    def refusal(self, error: GateError) -> bytes:
        """Say nothing: the connection just closes."""
        return b""

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Relay to the route's target.

        Raises:
            NotServed: the route has none; that is the own listener of a protocol
                which nobody has routed.
        """
        return relay(self, context)


def relay(protocol: GateProtocol, context: IRouteContext) -> RelayTo:
    """Carry the bytes of *context* to its route's target.

    Raises:
        NotServed: the route has no target.
    """
    target = context.route.target
    if target is None:
        raise NotServed(protocol.name, protocol.advice or "ask the operator for a route")
    return RelayTo(target=target)


def refuse_unknown(name: str, raw: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check the keys that an operator wrote under `proxy_service.protocols.<name>`.

    Raises:
        ValueError: one is not in *known*; the sentence lists those that are.
    """
    for key in raw:
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{key} is not a setting of {name}; {takes}")
