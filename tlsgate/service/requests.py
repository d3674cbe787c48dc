"""What an agent does with a request: decide by itself, dial, carry, and cut.

1. The user's certificate is verified against what this agent's own view knows; the name in it
   has to be the one that the gateway says. Locks, roles and labels are held against it here
   too: a gateway that was taken opens no door (design section 7).
2. The address comes from the agent's own offer. A name is looked up once.
3. The target is dialled; bytes flow until one side ends.
4. When a lock, a role, a user or a label changes, everybody who is served, or about to be, is
   decided about again, in the same turn of the reactor.

More than 400 lines: that second decision looks at every step of the first one.

Judging, dialling and cutting stand in one file, so that a reader sees that nothing is carried
which was not judged, and that whatever is carried is judged again.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.config.settings import Timeouts
from tlsgate.core.access import Decision, Identity
from tlsgate.core.addresses import host_port, split
from tlsgate.core.dialrules import address_of, is_literal, may_mean
from tlsgate.core.offers import Answered, Asked, Offer
from tlsgate.core.rolevalues import Target as Wanted
from tlsgate.core.wire.sshcert import parse_line
from tlsgate.errors import (
    BadBytes,
    BadCertificate,
    GateError,
    TargetDenied,
    TargetRefused,
    TargetSilent,
)
from tlsgate.interfaces import IAudit
from tlsgate.net.dial import Dial, Target
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.relay import Flow, Pair, Waits
from tlsgate.tls.holder import Users
from tlsgate.tunnel.dialling import Means

#: Of the addresses of one name.
_ADDRESSES: Final = 16

Found = list[tuple[Any, ...]]
Resolve = Callable[[str, int], Deferred[Found]]


@frozen(eq=False, kw_only=True)
class Case:
    """One request that was allowed."""

    asked: Asked
    identity: Identity
    host: str
    port: int
    decision: Decision


class Judge:
    """Decides about requests.

    Args:
        view: the agent's own `ClusterView`.
        offer: what is offered now of a kind, by name; None: nothing.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        view: Any,
        offer: Callable[[str, str], Offer | None],
        now: Callable[[], float],
    ) -> None:
        self._view = view
        self._offer = offer
        self._now = now
        self._users = Users()

    def case(self, asked: Asked) -> Case:
        """Decide.

        Raises:
            GateError: it is refused; the sentence is for the user.
        """
        offer = self._offer(asked.kind, asked.name)
        where = f"{asked.kind} {asked.name}"
        if offer is None:
            raise TargetDenied(asked.user, where, "the agent does not offer it any more")
        identity = self._identity(asked)
        claims = identity.claims
        if claims is None or claims.kind != "user" or claims.name != asked.user:
            raise TargetDenied(asked.user, where, "the certificate is somebody else's")
        decision = self.decide(asked, identity, offer)
        if not decision.allowed:
            raise TargetDenied(asked.user, where, decision.why)
        host, port = address_of(asked, offer)
        return Case(asked=asked, identity=identity, host=host, port=port, decision=decision)

    def stands(self, case: Case) -> str:
        """Why *case* would be refused now; "" where it would not."""
        offer = self._offer(case.asked.kind, case.asked.name)
        if offer is None:
            return "the agent does not offer it any more"
        try:
            address_of(case.asked, offer)
        except GateError as error:
            return str(error)
        decision = self.decide(case.asked, case.identity, offer, again=True)
        return "" if decision.allowed else decision.why

    def decide(
        self, asked: Asked, identity: Identity, offer: Offer, *, again: bool = False
    ) -> Decision:
        """What the agent's own view of the cluster says."""
        if not again and identity.not_after <= self._now():
            return Decision(False, "the certificate has ended; log in again: tgsh login")
        wanted = Wanted(kind=offer.kind, name=offer.name, labels=offer.labels)
        decision: Decision = self._view.decide_target(identity, wanted, _host(asked.client))
        return decision

    def _identity(self, asked: Asked) -> Identity:
        """Whose certificate the gateway has seen."""
        state = self._view.state
        where = f"{asked.kind} {asked.name}"
        if state is None:
            why = "its agent has not heard the auth service yet; try again"
            raise TargetDenied(asked.user, where, why)
        try:
            if asked.certificate:
                cas = state.authorities["user"]
                return self._users.user(asked.certificate, cas, self._now())
            identity: Identity = self._view.ssh_identity(parse_line(asked.ssh_certificate))
        except (BadBytes, BadCertificate) as error:
            why = f"the agent refuses the certificate: {getattr(error, 'why', error)}"
            raise TargetDenied(asked.user, where, why) from error
        return identity


class Requests:
    """See the module.

    Args:
        means: what the agent's connections stand on.
        judge: who decides.
        timeouts: of dials and of what is carried.
        resolve: `socket.getaddrinfo` in a thread.
        audit: where who came and went is recorded.
    """

    log = Logger()

    def __init__(
        self,
        means: Means,
        judge: Judge,
        timeouts: Callable[[], Timeouts],
        resolve: Resolve,
        audit: IAudit,
    ) -> None:
        self.means = means
        self.judge = judge
        self.timeouts = timeouts
        self.resolve = resolve
        self.audit = audit
        self.served: set[Served] = set()

    def asked(self, asked: Asked, request: Any) -> None:
        """Take a request of a stream: accept it later, or refuse it."""
        try:
            case = self.judge.case(asked)
        except GateError as error:
            self.refuse(asked, request, error)
            return
        except Exception:
            # Whatever it is, nobody comes in by it, and the stream goes on (S58).
            self.log.failure("a request failed; this is a bug")
            request.refuse(Answered(reason="error", message="the agent has failed; see its log"))
            return
        served = Served(self, case, request)
        self.served.add(served)
        request.cancelled = served.cancel
        served.start()

    def refuse(self, asked: Asked, request: Any, error: GateError) -> None:
        """Tell the user why, and the log."""
        told = {**_fields(asked), "error": str(error), "reason": error.reason}
        self.log.info("refused {user} {target}: {error}", **told)
        self.audit.emit("agent.deny", told)
        request.refuse(Answered(reason=error.reason, message=str(error)[:1024]))

    def look(self) -> None:
        """What is known has changed: end those who would not be let in any more."""
        for one in list(self.served):
            try:
                why = self.judge.stands(one.case)
            except Exception:
                # Who cannot be decided about does not stay, and those behind are looked at (S58).
                self.log.failure("a second look failed; this is a bug")
                why = "the agent has failed; see its log"
            if why:
                one.cut(why)

    def told(self) -> list[dict[str, Any]]:
        """Who is served, as JSON types."""
        return [one.told() for one in self.served]


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
        self._pair: Pair | None = None
        self._error: GateError = TargetRefused(self._where, "the name has no address")
        self._began = requests.means.now()
        self._moved = (0, 0)

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
        requests.log.info("cut off {user} {target}: {why}", why=why, **_fields(case.asked))
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
            "stage": "dialling" if self._pair is None else "relay",
            **self._summary(),
        }

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
        place, means = self._places.pop(0), self._requests.means
        self._dial = Dial(
            Target(self._where, place.family, place.address),
            b"",
            self._requests.timeouts().dial_seconds,
            means.reactor,
            means.poller,
            means.wheel,
            self._reached,
            self._missed,
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
        requests, request = self._requests, self._request
        if request is None or not request.open:
            lease.abort()
            self._stop()
            return
        self._request = None
        decision, timeouts = self.case.decision, requests.timeouts()
        lifetime = timeouts.lifetime_seconds
        if decision.until is not None:
            left = max(decision.until - requests.means.time(), 0.0)
            lifetime = left if lifetime is None else min(left, lifetime)
        waits = Waits(
            idle_seconds=decision.idle_seconds,
            write_stall_seconds=timeouts.write_stall_seconds,
            close_seconds=timeouts.close_seconds,
            lifetime_seconds=lifetime,
        )
        client: End = request.accept()
        means = requests.means
        flow = functools.partial(_Flow, over=self._over)
        self._pair = Pair(client, PlainEnd(lease), means.slab, waits, means.wheel, means.now, flow)
        fields = _fields(self.case.asked)
        requests.log.debug("{user} has reached {target}", **fields)
        requests.audit.emit("agent.connect", {**fields, "target": self._where})
        self._pair.start()

    # -- the end --

    def _over(self) -> None:
        """The pair is closed: both of its flows say so."""
        if self not in self._requests.served:
            return
        pair = self._pair
        assert pair is not None
        self._requests.served.discard(self)
        summary = {**self._summary(), "cause": pair.cause}
        self._pair = None
        self._requests.log.info(
            "{identity} has left {target}: {cause}, {to_target} bytes to it, {to_client} from it",
            **summary,
        )
        self._requests.audit.emit("agent.end", summary)

    def _stop(self) -> None:
        """End what is under way before there is a pair."""
        self._requests.served.discard(self)
        self._places.clear()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()

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


def _fields(asked: Asked) -> Mapping[str, Any]:
    return {
        "user": asked.user,
        "target": f"{asked.kind}/{asked.name}" + (f" ({asked.address})" if asked.address else ""),
        "client": asked.client,
        "route": asked.route,
        "trace": asked.trace,
    }


def _host(client: str) -> str | None:
    """The client's address without its port, as pinned certificates are held against it."""
    return split(client)[0] or None
