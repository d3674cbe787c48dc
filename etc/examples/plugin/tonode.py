"""tonode: a line that names a node, and from then on whatever the node's sshd says."""

from __future__ import annotations

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.nodes import find_node
from tlsgate.protocols.words import told


def answer(error: GateError | None) -> bytes:
    """The client's first line, or its last one."""
    return b"+\n" if error is None else f"-{told(error)}\n".encode()


class Asking(LineReceiver):
    """Reads one line, and hands over."""

    delimiter = b"\n"
    MAX_LENGTH = 256
    context: IRouteContext

    def lineReceived(self, line: bytes) -> None:
        context, host = self.context, line.decode("ascii", "replace").strip()
        unread = self.clearLineBuffer()
        try:
            if context.identity is None:
                raise NotServed("tonode", "it needs the certificate of a user")
            der = context.certificate()
            found = find_node(context, context.identity, host, 22, certificate=der)
        except GateError as error:
            context.refuse(error, answer(error), target=f"node/{host}")
            return
        context.relay(found.reach, answer, unread, target=found.target, limits=found.limits)


class ToNode(GateProtocol):
    """By the token `tonode`, for users of the cluster."""

    name = "tonode"
    alpn = (b"tonode",)
    holders = ("user",)
    shows_cluster = True

    def refusal(self, error: GateError) -> bytes:
        """Say it as `answer` does."""
        return answer(error)

    def build(self, context: IRouteContext) -> Factory:
        """Serve one client until its node has it."""
        return Factory.forProtocol(lambda: _asking(context))


def _asking(context: IRouteContext) -> Asking:
    asking = Asking()
    asking.context = context
    return asking


tonode = ToNode()
