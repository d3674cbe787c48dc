"""One client at an agent: dialled for, opened for, carried, and cut.

1. A name is looked up once; its addresses are dialled in turn.
2. The target's opening (`targets.base`) does what comes before the relay.
3. Bytes flow until one side ends.

It can be cut at each step, so all of them stand here, in more than 400 lines.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tlsgate.core.addresses import host_port
from tlsgate.core.certroutes import DB_NAME, DB_USER
from tlsgate.core.dialrules import is_literal, may_mean
from tlsgate.core.offers import Asked
from tlsgate.errors import (
    GateError,
    TargetDenied,
    TargetRefused,
    TargetSilent,
    TunnelBroken,
)
from tlsgate.net.dial import Dial, Target
from tlsgate.net.ends import End, NoEnd
from tlsgate.net.lease import Lease
from tlsgate.net.relay import Flow, Pair, Waits, watched
from tlsgate.service.judging import Case
from tlsgate.targets.base import Arrived, Watch, nothing

if TYPE_CHECKING:
    from tlsgate.service.requests import Requests

#: Of the addresses of one name.
_ADDRESSES: Final = 16
#: What an opening may take at most, whatever its own deadlines are.
OPENING_SECONDS: Final = 60.0

Found = list[tuple[Any, ...]]


@frozen(eq=False)
class _Place:
    """One address to dial."""

    family: int
    address: Any = field()


class Served:
    """One client, from the decision to the end."""

    def __init__(self, requests: Requests, case: Case, request: Any) -> None:
        self.case = case
        self._requests = requests
        self._request: Any = request
        self._dial: Dial | None = None
        self._looking: Deferred[Found] | None = None
        self._places: list[_Place] = []
        self._place: _Place | None = None  #: that was dialled last
        self._pair: Pair | None = None
        self._error: GateError = TargetRefused(self._where, "the name has no address")
        self._began = requests.means.now()
        self._moved = (0, 0)
        #: Of the opening: the target's socket, the client's end once it is accepted, and
        #: what stops it.
        self._lease: Lease | None = None
        self._client: End | None = None
        self._halt: Callable[[], None] = nothing
        self._watch: Watch | None = None
        self.slot = 0

    @property
    def _where(self) -> str:
        return host_port(self.case.host, self.case.port)

    def start(self) -> None:
        """Find the target's address, and dial it."""
        case = self.case
        if is_literal(case.host):
            family = socket.AF_INET6 if ":" in case.host else socket.AF_INET
            self._places = [_Place(family, (case.host, case.port))]
            self._next()
            return
        looking = self._looking = self._requests.resolve(case.host, case.port)
        looking.addTimeout(self._requests.timeouts().dial_seconds, self._requests.means.reactor)
        looking.addCallbacks(self._found, self._not_found)

    def cancel(self) -> None:
        """The client has gone before the target was reached."""
        self._request = None
        self._stop()

    def cut(self, why: str) -> None:
        """End it now: it would be refused."""
        requests, case = self._requests, self.case
        requests.log.info("cut off {user} {target}: {why}", why=why, **fields_of(case.asked))
        if self._pair is not None:
            self._pair.abort("locked")
            return
        request, self._request = self._request, None
        self._stop()
        if request is not None:
            where = f"{case.asked.kind} {case.asked.name}"
            requests.refuse(case.asked, request, TargetDenied(case.asked.user, where, why))

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        return {
            "stage": self._stage,
            **self._summary(),
        }

    @property
    def _stage(self) -> str:
        if self._pair is not None:
            return "relay"
        return "dialling" if self._lease is None else "opening"

    # -- dialling --

    def _found(self, found: Found) -> None:
        self._looking = None
        host, port = self.case.host, self.case.port
        seen: set[str] = set()
        for family, _, _, _, address in found[:_ADDRESSES]:
            if address[0] in seen or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            seen.add(address[0])
            if may_mean(host, address[0]):
                # The address that was judged, and no second look at the name.
                self._places.append(_Place(family, address))
            else:
                why = f"{host} means {address[0]} now, which is not dialled by a name"
                where = f"{host}:{port}"
                self._error = TargetDenied(self.case.asked.user, where, why)
        self._next()

    def _not_found(self, failure: Failure) -> None:
        if self._looking is None:
            return
        self._looking = None
        self._error = TargetRefused(self._where, "its name cannot be looked up")
        self._next()

    def _next(self) -> None:
        """Dial the next address, or tell of the last failure."""
        if not self._places:
            request, self._request = self._request, None
            self._stop()
            if request is not None:
                self._requests.refuse(self.case.asked, request, self._error)
            return
        self._place = self._places.pop(0)
        self._dial_place(self._reached, self._missed)

    def _dial_place(
        self, reached: Callable[[Lease, object], None], missed: Callable[[GateError], None]
    ) -> None:
        place, means = self._place, self._requests.means
        assert place is not None
        self._dial = Dial(
            Target(self._where, place.family, place.address),
            b"",
            self._requests.timeouts().dial_seconds,
            means.reactor,
            means.poller,
            means.wheel,
            reached,
            missed,
        )
        self._dial.start()

    def _missed(self, error: GateError) -> None:
        self._dial = None
        if isinstance(error, TargetSilent):
            self._places.clear()  # the client has waited long enough
        self._error = error
        self._next()

    def _reached(self, lease: Lease, _: object) -> None:
        self._dial = None
        requests, case = self._requests, self.case
        self._lease = lease
        request = self._request
        if request is None or not request.open:
            self._stop()
            return
        try:
            settings = requests.settings(case.offer.kind, case.offer.name)
            opening = requests.openings[case.offer.kind, settings.protocol]
            stop = opening(
                Arrived(
                    asked=case.asked,
                    offer=case.offer,
                    settings=settings,
                    identity=case.identity,
                    decision=case.decision,
                    lease=lease,
                    host=case.host,
                    port=case.port,
                    means=requests.means,
                    timeouts=requests.timeouts(),
                    door=requests.door,
                    serving=self,
                )
            )
        except GateError as error:
            self._fail(error)
        except Exception:
            requests.log.failure("an opening failed; this is a bug")
            self._fail(TargetRefused(self._where, "the agent has failed; see its log"))
        else:
            if self._opening:  # else it has done its part at once
                self._halt = stop
                requests.means.wheel.arm(self, OPENING_SECONDS)

    # -- what the opening asks for, see `targets.base.Arrived` --

    def accept(self) -> End:
        """See `Serving`."""
        request, self._request = self._request, None
        if request is None:
            raise TunnelBroken("the client has gone")
        client: End = request.accept()
        self._client = client
        return client

    def refuse(self, error: GateError) -> None:
        """See `Serving`."""
        request, self._request = self._request, None
        self._halt = nothing
        self._stop()
        if request is not None:
            self._requests.refuse(self.case.asked, request, error)

    def carry(
        self, client: End, target: End, to_client: bytes, to_target: bytes, watch: Watch | None
    ) -> None:
        """See `Serving`."""
        if not self._opening:
            return  # it was cut in the same turn
        self._couple(client, target, watch)
        requests = self._requests
        fields = fields_of(self.case.asked)
        requests.audit.emit("agent.connect", {**fields, "target": self._where})
        assert self._pair is not None
        self._pair.start(to_target, to_client)

    def give_up(self, words: bytes, error: GateError) -> None:
        """See `Serving`."""
        client, lease = self._client, self._lease
        if not self._opening or client is None or lease is None:
            return
        requests, told = self._requests, {**fields_of(self.case.asked), "error": str(error)}
        requests.log.info("gave up on {user} {target}: {error}", **told)
        requests.audit.emit("agent.deny", {**told, "reason": error.reason})
        lease.abort()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
        # A relay from nobody: the client takes its words as slowly as it likes, and has to
        # say that it ends before the stream is reset.
        self._couple(client, NoEnd(), None)
        pair = self._pair
        assert pair is not None
        pair.start(b"", words)
        if pair.open:
            pair.to_client.pump()

    def redial(self, reached: Callable[[Lease], None], missed: Callable[[GateError], None]) -> None:
        """See `Serving`."""
        if not self._opening or self._lease is None:
            return
        self._lease.abort()

        def found(lease: Lease, _: object) -> None:
            self._dial, self._lease = None, lease
            reached(lease)

        def lost(error: GateError) -> None:
            self._dial = None
            missed(error)

        self._dial_place(found, lost)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `Serving`."""
        self._requests.audit.emit(event, {**fields_of(self.case.asked), **fields})

    def due(self, now: float) -> float | None:
        """The wheel calls this: the opening takes too long."""
        self._fail(TargetSilent(self._where, OPENING_SECONDS))
        return None

    @property
    def _opening(self) -> bool:
        """Whether the target is dialled, and neither carried nor given up."""
        return self._lease is not None and self._pair is None

    def _fail(self, error: GateError) -> None:
        """End an opening that cannot do it by itself."""
        halt, self._halt = self._halt, nothing
        halt()
        if self._client is None:
            self.refuse(error)
        else:
            self.give_up(b"", error)

    def _couple(self, client: End, target: End, watch: Watch | None) -> None:
        requests, decision = self._requests, self.case.decision
        means, timeouts = requests.means, requests.timeouts()
        lifetime = timeouts.lifetime_seconds
        if decision.until is not None:
            left = max(decision.until - means.time(), 0.0)
            lifetime = left if lifetime is None else min(left, lifetime)
        waits = Waits(
            idle_seconds=decision.idle_seconds,
            write_stall_seconds=timeouts.write_stall_seconds,
            close_seconds=timeouts.close_seconds,
            lifetime_seconds=lifetime,
        )
        means.wheel.drop(self)
        self._halt = nothing
        self._client = self._lease = None
        flow = functools.partial(_Flow, over=self._over)
        self._pair = Pair(client, target, means.slab, waits, means.wheel, means.now, flow)
        self._watch = watch
        if watch is not None and (see := watch.to_target) is not None:
            self._pair.to_target.fill = watched(client, see)
        if watch is not None and (see := watch.to_client) is not None:
            self._pair.to_client.fill = watched(target, see)

    # -- the end --

    def _over(self) -> None:
        """The pair is closed: both of its flows say so."""
        if self not in self._requests.served:
            return
        pair = self._pair
        assert pair is not None
        self._requests.served.discard(self)
        summary = {
            "event": "agent.end",
            "time": self._requests.means.time(),
            **self._summary(),
            "cause": pair.cause,
        }
        self._pair = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.over()
        self._requests.journal(summary)
        self._requests.audit.emit("agent.end", summary)

    def _stop(self) -> None:
        """End what is under way before there is a pair; it is never called with one."""
        self._requests.served.discard(self)
        self._places.clear()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()
        halt, self._halt = self._halt, nothing
        halt()
        lease, self._lease = self._lease, None
        client, self._client = self._client, None
        self._requests.means.wheel.drop(self)
        if lease is not None:
            lease.abort()
        if client is not None:
            client.lease.abort()

    def _summary(self) -> dict[str, Any]:
        asked, pair = self.case.asked, self._pair
        if pair is not None:
            self._moved = (pair.to_target.moved, pair.to_client.moved)
        return {
            "listener": "tunnel",
            "peer": asked.client,
            "route": f"{asked.kind}/{asked.name}",
            "identity": self.case.identity.name,
            "target": self._where,
            "sni": None,
            "alpn": None,
            "trace": asked.trace,
            "to_target": self._moved[0],
            "to_client": self._moved[1],
            "seconds": round(self._requests.means.now() - self._began, 6),
        }


class _Flow(Flow):
    """A flow that says when its pair is over."""

    __slots__ = ("_over",)

    def __init__(self, pair: Pair, source: End, sink: End, over: Callable[[], None]) -> None:
        super().__init__(pair, source, sink)
        self._over = over

    def drop(self) -> None:
        """See `Flow.drop`."""
        self._over()


def fields_of(asked: Asked) -> Mapping[str, Any]:
    """What log and audit say of a request."""
    return {
        "user": asked.user,
        "target": f"{asked.kind}/{asked.name}" + (f" ({asked.address})" if asked.address else ""),
        "client": asked.client,
        "route": asked.route,
        "trace": asked.trace,
        **{key: asked.details[key] for key in (DB_USER, DB_NAME) if key in asked.details},
    }
