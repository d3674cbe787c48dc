"""What stands between the dialled target and the relay, as far as every kind of target has it.

1. `service.requests` has decided about a client and dialled the target: that is an `Arrived`.
2. The opening of the target's kind and protocol gets it, and does what comes before bytes may
   flow: nothing, TLS, a start-up exchange.
3. It ends in one of three ways: `refuse` while the client's side has heard nothing, `carry`
   when both ends are ready for the relay, `give_up` in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import field, frozen

from tlsgate.config.settings import OfferSettings, Timeouts
from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import GateError
from tlsgate.interfaces import IAuthDoor
from tlsgate.net.ends import End
from tlsgate.net.lease import Lease
from tlsgate.tunnel.dialling import Means

#: Sees some bytes.
See = Callable[[memoryview], None]


class Watch(Protocol):
    """Who sees what a relay carries, each byte once and in order, before it is written on.

    The views are of the relay's own memory: they are over when the call is. Nothing here may
    raise or wait, and what it keeps has a limit of its own.

    Attributes:
        to_target: gets what the client has sent; None: that is not watched, and costs nothing.
        to_client: the same of what the target has sent.
    """

    @property
    def to_target(self) -> See | None: ...
    @property
    def to_client(self) -> See | None: ...

    def over(self) -> None:
        """The relay has ended; nothing more comes."""


#: Takes the target's socket.
Redialled = Callable[[Lease], None]


class Serving(Protocol):
    """What an `Arrived` asks of who has made it; see there."""

    def accept(self) -> End: ...
    def refuse(self, error: GateError) -> None: ...
    def give_up(self, words: bytes, error: GateError) -> None: ...
    def redial(self, reached: Redialled, missed: Callable[[GateError], None]) -> None: ...
    def emit(self, event: str, fields: Mapping[str, object]) -> None: ...
    def carry(
        self, client: End, target: End, to_client: bytes, to_target: bytes, watch: Watch | None
    ) -> None: ...


@frozen(eq=False, kw_only=True)
class Arrived:
    """One client that may come in, and its target, which is dialled.

    Attributes:
        asked: what the gateway asks, as it was decided about.
        offer: what is offered now, with its labels.
        settings: what the agent's file says of the target.
        identity: who the client is, by a certificate that was verified here.
        decision: of the agent's own view of the cluster.
        lease: the target's socket; nothing has been written or read.
        host, port: as the file names the target.
        means: what the agent's connections stand on.
        timeouts: in force.
        door: how the agent asks the auth service.
    """

    asked: Asked
    offer: Offer
    settings: OfferSettings
    identity: Identity
    decision: Decision
    lease: Lease
    host: str
    port: int
    means: Means
    timeouts: Timeouts
    door: IAuthDoor
    _serving: Serving = field(repr=False)

    def accept(self) -> End:
        """Tell the gateway that the target is reached, and give the client's end; once.

        Raises:
            TunnelBroken: the client has gone. Its opening is cancelled, or will be.
        """
        return self._serving.accept()

    def refuse(self, error: GateError) -> None:
        """Tell the client why not, and close the target; instead of `accept`."""
        self._serving.refuse(error)

    def carry(
        self,
        client: End,
        target: End,
        *,
        to_client: bytes = b"",
        to_target: bytes = b"",
        watch: Watch | None = None,
    ) -> None:
        """Couple both ends; nothing of the opening's may use them any more.

        Args:
            client: what `accept` gave, or what was built around it.
            target: the lease, plain or under TLS.
            to_client, to_target: read and not yet passed on; no watch is shown these.
            watch: sees what is carried; None costs nothing.
        """
        self._serving.carry(client, target, to_client, to_target, watch)

    def give_up(self, words: bytes, error: GateError) -> None:
        """After `accept`: give the client its last *words*, and close in order.

        The target is closed at once; the client gets the words whole, however slow it is.
        """
        self._serving.give_up(words, error)

    def redial(self, reached: Redialled, missed: Callable[[GateError], None]) -> None:
        """Close the target's socket, and dial the same address once more.

        What stops the opening ends this as well; then neither is called.
        """
        self._serving.redial(reached, missed)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """Record *event*; who it is about and which target stand beside *fields*."""
        self._serving.emit(event, fields)


#: Begins, and gives what stops it: called once at most, when the client has gone or is cut,
#: and never after `refuse`, `carry` or `give_up`. Whoever calls it closes both sides.
#: One that remembers what the cluster's authorities have signed has a method `forget()`, which
#: is called when one of them has another key or is in another phase.
Opening = Callable[[Arrived], Callable[[], None]]

#: By kind and protocol.
Openings = Mapping[tuple[str, str], Opening]


def nothing() -> None:
    """Stop what is over already."""
