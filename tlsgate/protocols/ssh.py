"""SSH, end to end: the gateway carries it, and looks at what names its target only.

1. `tlsgate-ssh`: a user of the cluster shows a certificate and says one HTTP/1.1 CONNECT.
   The node is found and decided about, its agent asked; 200, and from there on the bytes
   are SSH. Every refusal is an answer of HTTP whose body is the sentence for the user.
2. In a cluster, "SSH-" on the web port and whatever comes to the port of its own reaches the
   jump host (`protocols.jump`).
3. A static route with `protocol: ssh` is reached by its own token, inside TLS, or, where it
   is open to anyone, by the client's "SSH-" on a shared port.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.core.outcome import More
from tlsgate.core.wire import connect, ssh
from tlsgate.errors import (
    AgentBusy,
    AgentRefused,
    BadBytes,
    Denied,
    Draining,
    GateError,
    ListenerClosed,
    Locked,
    NoAgent,
    NotOffered,
    NotServed,
    TargetDenied,
    TargetSilent,
    TooLate,
)
from tlsgate.interfaces import IRouteContext, ListenerSpec, Opening, RelayTo, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.jump.host import Jump
from tlsgate.protocols.nodes import find_node
from tlsgate.protocols.words import told

#: What users of a closed port do.
_HEALS: Final = "run `tgsh config` again and use what it prints, or `tgsh ssh`"


class Ssh(GateProtocol):
    """SSH to agents' nodes by name, and behind static routes."""

    name = "ssh"
    alpn = (b"tlsgate-ssh",)
    holders = ("user",)
    shows_cluster = True
    own_login = True
    listener = ListenerSpec(
        key="listen_addr",
        port=3023,
        versions=frozenset({"v1"}),
        public_key="ssh_public_addr",
        speaks_first=True,
    )
    advice = (
        "the SSH jump host is for users of a cluster, and this gateway is in none; "
        "connect through the TLS port: ssh -o ProxyCommand='openssl s_client -quiet "
        "-alpn TOKEN -cert CERT -key KEY -connect GATEWAY:443' HOST"
    )
    openings = (Opening(name="ssh-banner", protocol="ssh", match=ssh.is_banner, then=Then.TAKE),)

    def __init__(self) -> None:
        #: Lives as long as the daemon: it remembers addresses.
        self._jump = Jump()

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where SSH clients dial."""
        return {
            "ssh": present(
                listen_addr=listen_addr(settings, open_listeners, "ssh"),
                ssh_public_addr=first(settings.public.ssh),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Disconnect with a reason, which ssh prints."""
        if isinstance(error, ListenerClosed):
            return ssh.disconnect(f"{told(error)}: {_HEALS}")
        return ssh.disconnect(told(error))

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Be the jump host, relay to a static route's target, or read the CONNECT."""
        if context.route.own_login:
            return self._jump.build(context)
        if context.route.target is not None:
            return relay(self, context)
        return Connects(context)


@implementer(IProtocolFactory)
class Connects:
    """A factory for one connection with `tlsgate-ssh`."""

    def __init__(self, context: IRouteContext) -> None:
        self._context = context

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Make the connection's protocol."""
        return ConnectOnce(self._context)


class ConnectOnce(Protocol):
    """Reads one CONNECT, and hands over or refuses."""

    def __init__(self, context: IRouteContext) -> None:
        self._context = context
        self._head = b""
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Twisted calls this; the request has to come in time."""
        context = self._context
        seconds = context.settings.waits(context.listener).opening_seconds
        self._late = context.clock.callLater(seconds, self._give_up, seconds)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        if self._late is None:
            return
        self._head += data
        try:
            asked = connect.read_connect(self._head)
        except BadBytes as error:
            self._refuse(error)
            return
        if not isinstance(asked, More):
            self._hand_over(asked)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this; the client is gone."""
        self._over()

    def _hand_over(self, asked: connect.Connect) -> None:
        self._over()
        context = self._context
        wanted = f"node/{asked.host}"
        context.came_by(asked.program)
        try:
            if context.identity is None:
                raise NotServed("ssh", "it needs the certificate of a user")
            found = find_node(
                context,
                context.identity,
                asked.host,
                asked.port,
                certificate=context.certificate(),
            )
        except GateError as error:
            self._refuse(error, wanted)
            return
        unread, self._head = self._head[asked.length :], b""
        say = functools.partial(answer, ping_seconds=context.ping_seconds)
        context.relay(found.reach, say, unread, target=found.target, limits=found.limits)

    def _give_up(self, seconds: float) -> None:
        self._refuse(TooLate("opening_seconds", seconds))

    def _refuse(self, error: GateError, target: str = "") -> None:
        self._over()
        self._head = b""
        self._context.refuse(error, answer(error), target=target)

    def _over(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()


_STATUS: Final[Mapping[type[GateError], HTTPStatus]] = {
    TargetDenied: HTTPStatus.FORBIDDEN,
    NoAgent: HTTPStatus.NOT_FOUND,
    NotOffered: HTTPStatus.NOT_FOUND,
    TooLate: HTTPStatus.REQUEST_TIMEOUT,
    TargetSilent: HTTPStatus.GATEWAY_TIMEOUT,
    NotServed: HTTPStatus.SERVICE_UNAVAILABLE,
    AgentBusy: HTTPStatus.SERVICE_UNAVAILABLE,
    Draining: HTTPStatus.SERVICE_UNAVAILABLE,
}


#: Reasons of an agent that has decided, and not failed.
_DENIALS: Final = frozenset({TargetDenied.reason, Denied.reason, Locked.reason})


def answer(error: GateError | None, ping_seconds: float | None = None) -> bytes:
    """What the client reads first: that the target is there, or why it is not."""
    if error is None:
        return connect.established(ping_seconds)
    status = _STATUS.get(type(error), HTTPStatus.BAD_GATEWAY)
    if isinstance(error, BadBytes):
        status = HTTPStatus.BAD_REQUEST
    elif isinstance(error, AgentRefused) and error.said in _DENIALS:
        status = HTTPStatus.FORBIDDEN
    return connect.refused(status.value, status.phrase, told(error))
