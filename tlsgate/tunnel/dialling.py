"""One connection of an agent to a gateway: dialled, looked at, greeted.

1. The socket is dialled (through an HTTP proxy, where the environment names one).
2. TLS with the agent's certificate; the tunnel's token is offered, and has to be confirmed
   where other protocols share the port.
3. Before a byte of ours is under TLS the server shows that it is a gateway of the cluster. Which
   one does not matter to an agent: every gateway may do the same.
4. Our HELLO, the gateway's HELLO; then the connection is handed over.

All of it has one deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from cryptography import x509

from tlsgate.core.frames import Frame, FrameKind, message, only, read_message
from tlsgate.core.greetings import AgentHello, GatewayHello
from tlsgate.core.tunnelway import Way
from tlsgate.errors import BadBytes, GateError, TargetSilent, TunnelBroken, Unreachable
from tlsgate.net.dial import Dial, Target
from tlsgate.net.lease import Lease
from tlsgate.net.outbound import way_out
from tlsgate.net.poller import READ, WRITE, Poller
from tlsgate.net.wheel import Wheel
from tlsgate.tls import peer
from tlsgate.tls.contexts import member_context
from tlsgate.tls.fast import BLOCKED, Slab
from tlsgate.tls.handshake import DONE, Handshake
from tlsgate.tls.keypair import LoadedPair
from tlsgate.tunnel.speaking import Speaking

TOKEN: Final = b"tlsgate-reversetunnel"
#: From the dial to the gateway's HELLO.
SECONDS: Final = 15.0


@frozen(eq=False, kw_only=True)
class Means:
    """What connections of an agent stand on, one of each for a process."""

    reactor: Any
    poller: Poller
    wheel: Wheel
    slab: Slab
    now: Callable[[], float]  #: of a monotonic clock
    time: Callable[[], float]  #: seconds since the epoch
    environ: Mapping[str, str]


@frozen(eq=False, kw_only=True)
class Badge:
    """Who the agent is, and whom it believes."""

    pair: LoadedPair
    cluster: str
    cas: tuple[x509.Certificate, ...]


Met = Callable[[GatewayHello, Speaking], None]


class Dialling:
    """See the module.

    Args:
        way: where.
        worker: of the gateway, which is asked for by name; None: any.
        hello: what the agent says.
        met: called once with the gateway's HELLO and the connection, which is paused there.
        failed: called once instead.
    """

    def __init__(
        self,
        means: Means,
        badge: Badge,
        way: Way,
        worker: str | None,
        hello: AgentHello,
        met: Met,
        failed: Callable[[GateError], None],
    ) -> None:
        self._means = means
        self._badge = badge
        self._way = way
        self._worker = None if worker is None else TOKEN + b"/" + worker.encode()
        self._hello = hello
        self._met = met
        self._failed = failed
        self._over = False
        self._dial: Dial | None = None
        self._lease: Lease | None = None
        self._tls: Handshake | None = None
        self._speaking: Speaking | None = None
        self.slot = 0

    def start(self) -> None:
        """Begin; `met` or `failed` may be called before this returns."""
        means, way = self._means, self._way
        means.wheel.arm(self, SECONDS)

        def endpoint(reactor: Any) -> Any:
            return way_out(reactor, way.host, way.port, SECONDS, environ=means.environ)

        target = Target(str(way), endpoint=endpoint)
        self._dial = Dial(
            target,
            b"",
            SECONDS,
            means.reactor,
            means.poller,
            means.wheel,
            self._connected,
            self._miss,
        )
        self._dial.start()

    def cancel(self) -> None:
        """Give up; neither is called any more."""
        if not self._over:
            self._stop()

    def due(self, now: float) -> float | None:
        """The wheel calls this: it takes too long."""
        self._miss(TargetSilent(str(self._way), SECONDS))
        return None

    def _miss(self, error: GateError) -> None:
        if not self._over:
            self._stop()
            self._failed(error)

    def _stop(self) -> None:
        self._over = True
        self._means.wheel.drop(self)
        if self._speaking is not None:
            self._speaking.abort()
        elif self._lease is not None:
            self._lease.abort()
        elif self._dial is not None:
            self._dial.cancel()

    # -- TLS --

    def _connected(self, lease: Lease, _: object) -> None:
        self._lease = lease
        try:
            context = member_context(TOKEN, self._badge.pair, before=self._worker)
            self._tls = Handshake.dial(context, lease.socket, self._way.host, str(self._way))
        except GateError as error:
            self._miss(error)
            return
        lease.on_ready = self._shake
        self._shake(0)

    def _shake(self, mask: int) -> None:
        assert self._lease is not None and self._tls is not None
        try:
            outcome = self._tls.step()
            if outcome == DONE:
                self._look(self._tls.negotiated, self._tls.chain)
        except GateError as error:
            self._miss(error)
            return
        if outcome == DONE:
            self._lease.want(0)
            self._greet()
        else:
            self._lease.want(WRITE if outcome == BLOCKED else READ)

    def _look(self, negotiated: bytes, chain: Sequence[x509.Certificate]) -> None:
        """Make sure that a gateway of the cluster answers, and serves tunnels.

        Raises:
            Untrusted: somebody else does.
            Unreachable: it serves none.
        """
        badge = self._badge
        peer.check_gateway(chain, badge.cluster, badge.cas, self._means.time())
        if self._way.alpn and negotiated not in (TOKEN, self._worker):
            raise Unreachable(f"the gateway at {self._way}", "it serves no tunnels there")

    # -- HELLO --

    def _greet(self) -> None:
        assert self._lease is not None and self._tls is not None
        self._speaking = Speaking(
            self._lease,
            self._tls.session(),
            self._means.slab,
            limit_of=only(FrameKind.HELLO),
            heard=self._heard,
            lost=self._lost,
        )
        self._speaking.write(message(FrameKind.HELLO, self._hello.told()))
        if not self._over:
            self._speaking.start()

    def _heard(self, frame: Frame) -> None:
        assert self._speaking is not None
        try:
            said = GatewayHello.read(read_message(frame))
        except BadBytes as error:
            self._miss(error)
            return
        if said.error:
            self._miss(TunnelBroken(f"the gateway {said.gateway} refuses: {said.error}"))
            return
        self._over = True
        self._means.wheel.drop(self)
        self._speaking.pause()
        self._met(said, self._speaking)

    def _lost(self, why: str) -> None:
        self._miss(
            TunnelBroken(
                f"before the HELLO of the gateway at {self._way}: {why}; it may have refused our "
                "certificate, and its log says why"
            )
        )
