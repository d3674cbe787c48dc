"""One request and its answer, from whoever asks to the target and back.

1. Who sends it: the client's certificate, or the session of its cookie (`session`), else the
   answer is the session's own: a login, or a refusal.
2. Which application its name means now, and whether that user may reach it now: asked of the
   cluster for every request, so that a lock or a role counts from the next one on.
3. A kept connection of the same identity, or a new one through an agent.
4. The request is written anew (`core.http.forward`), its body follows as the target takes it,
   and the answer goes back as the client takes it.
5. A 101 that fits (S27) makes both sides a relay; any other answer is an answer.

A request that met a kept connection which the target was just closing is asked once more where
asking twice does no harm.

One file, though a long one: a reader sees at which steps a client or a target may go, and that
each of them leaves nothing behind.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from tlsgate.core.access import Decision, Identity
from tlsgate.core.http import forward
from tlsgate.core.http.chunks import announced, passing
from tlsgate.core.http.fields import Field, Fields
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.http.responses import ResponseHead, is_accepted
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.errors import (
    Fault,
    GateError,
    NoAgent,
    TargetBroken,
    TargetDenied,
    TargetSilent,
)
from tlsgate.interfaces import IReach
from tlsgate.protocols.apps import refusals
from tlsgate.protocols.apps.line import Line
from tlsgate.protocols.apps.link import Link
from tlsgate.protocols.apps.pool import Key, fingerprint
from tlsgate.protocols.apps.session import Acting, Reply, Shown, strip
from tlsgate.tls.fast import Slab

if TYPE_CHECKING:
    from tlsgate.protocols.apps.visit import Session, Visit

#: Asked twice, these do no more than once (RFC 9110 section 9.2.2).
_SAFE_AGAIN: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
#: Others take a connection only that has just been used.
_FRESH_SECONDS: Final = 1.0


class Client(Protocol):
    """Who asks: one request of a connection of HTTP/1.1, or a stream of HTTP/2."""

    def head(
        self, status: int, fields: list[Field], length: int | None, *, more: bool = False
    ) -> None:
        """Send the head of the answer.

        Args:
            length: of its body, or None: it ends when it ends.
            more: some of the body is here, and follows before the reactor's next turn.
        """

    def data(self, data: bytes) -> None:
        """Send a piece of the answer's body."""

    @property
    def straight(self) -> bool:
        """Whether `pour` may be called for a body whose length was said."""

    def pour(self, slab: Slab, count: int) -> int:
        """Send a piece of the answer's body from the slab; gives how many bytes may follow."""

    def interim(self, status: int, fields: list[Field]) -> None:
        """Send an answer before the real one, such as early hints."""

    def end(self, trailers: Fields = ()) -> None:
        """The answer is whole; *trailers* stand behind a body of no length."""

    def cut(self) -> None:
        """The answer broke off: the client must not take it for whole."""

    def carry_on(self) -> None:
        """Let the client send its body: it waits for 100."""

    def pause(self) -> None:
        """Take no more of the request's body for now."""

    def resume(self) -> None:
        """Take it again."""

    def switch(
        self, link: Link, head: bytes, limits: Decision, acting: Acting | None, session: Session
    ) -> None:
        """The bytes are the application's from now on; *head* is the client's first.

        Args:
            acting: ends them when it ends.
            session: has them counted.
        """


class Exchange:
    """See the module; `Link` calls what is below "the target says"."""

    __slots__ = (
        *("_acting", "_again", "_body_over", "_client", "_head", "_key", "_late"),
        *("_limits", "_link", "_no_body", "_offer", "_over", "_pending", "_reach", "_rules"),
        *("_said", "_session", "_started", "_unwatch", "_visit", "_who", "_wired"),
        *("_address", "_from", "_from_read", "_from_written", "_trailers", "answered_status"),
    )

    def __init__(self, visit: Visit, head: RequestHead, client: Client) -> None:
        self._visit = visit
        self._head = head
        self._address, self._from = visit.client_of(head)
        self._client = client
        self._link: Link | None = None
        self._reach: IReach | None = None
        self._late: IDelayedCall | None = None
        self._key: Key | None = None
        self._limits: Decision | None = None
        self._acting: Acting | None = None
        self._unwatch: Callable[[], object] | None = None
        self._offer: Offer | None = None
        self._who: tuple[Identity, bytes] | None = None
        self._rules = forward.Rules()
        self._pending: list[bytes] = []
        self._body_over = not head.has_body
        self._over = False
        self._said = False  #: the client has the answer's head
        self._again = False
        self._no_body = False
        self._started = False  #: bytes of the body have left
        self._wired = b""
        self._trailers: Fields = ()  #: of the request
        self._session: Session | None = None  #: of the audit log
        self._from_read = self._from_written = 0  #: what the link's line had carried before
        self.answered_status = 0

    def start(self) -> None:
        """Begin; the answer may be there before this returns."""
        if self._head.has_body:
            self._client.pause()
        visit = self._visit
        visit.began(self, self._head.fields)
        deciding = self._decide()
        try:
            waited = deciding.send(None)
        except StopIteration:
            return  # most have nothing to wait for, and Deferreds cost a tenth of a request
        except Exception:
            self._undecided(Failure())
            return
        Deferred.fromCoroutine(_gone_on(deciding, waited)).addErrback(self._undecided)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._over

    # -- the client says -----------------------------------------------------------------

    def body(self, data: bytes) -> None:
        """A piece of the request's body has come."""
        link = self._link
        if link is None or self._over:
            if not self._over:
                self._pending.append(data)
            return
        self._started = True
        if not link.body(data, chunked=self._head.length is None):
            self._client.pause()

    def poured_in(self, slab: Slab, count: int) -> int:
        """A piece of a counted body stands in the slab; gives how many bytes may come next."""
        link = self._link
        if link is None or self._over:
            self.body(bytes(slab.view[:count]))
            return count
        self._started = True
        more = link.pour(slab, count)
        if link.line.is_stuck:
            self._client.pause()
        return more

    def body_ended(self, trailers: Fields = ()) -> None:
        """The request is whole; of *trailers* go on what its head has named."""
        self._body_over = True
        if trailers:
            self._trailers = passing(trailers, announced(self._head.fields))
        if self._link is not None and not self._over:
            self._say_ended(self._link)

    def _say_ended(self, link: Link) -> None:
        link.body_ended(chunked=self._head.length is None, trailers=self._trailers)

    def pause(self) -> None:
        """The client takes the answer too slowly."""
        if self._link is not None:
            self._link.line.pause()

    def resume(self) -> None:
        """The client has taken what there was."""
        if self._link is not None:
            self._link.line.resume()

    def abort(self) -> None:
        """The client is gone."""
        self._stop()

    # -- deciding -------------------------------------------------------------------------

    async def _decide(self) -> None:
        visit, head = self._visit, self._head
        offer = self._offer = visit.find(head.name)
        if offer is None:
            self._answer(refusals.answer(404, refusals.UNKNOWN, NoAgent.reason, head.fields))
            return
        context = visit.context
        identity, certificate = context.identity, visit.certificate
        found = await visit.shared.admit(
            Shown(
                app=offer.name,
                host=head.authority.decode("ascii"),
                address=self._address or None,
                certificate=certificate,
                user=None if identity is None else _user(identity),
                method=head.method,
                target=head.target,
                headers=head.fields,
                upgrade=bool(head.upgrade),
            )
        )
        if self._over:
            return
        if isinstance(found, Reply):
            self._reply(found)
            return
        if found is not None:
            self._acting = found
            identity, certificate = found.identity, found.certificate
        assert identity is not None
        self._who = identity, certificate
        cluster = context.cluster
        assert cluster is not None
        target = Target(kind="app", name=offer.name, labels=offer.labels)
        limits = self._limits = cluster.decide_target(identity, target, self._address or None)
        if not limits.allowed:
            raise TargetDenied(_user(identity), f"app {offer.name}", limits.why)
        self._rules = forward.read_rules(
            offer.facts.get("rewrite_redirect", ""), offer.facts.get("rewrite_headers", "")
        )
        self._session = visit.session(offer, _user(identity))
        if found is not None:
            self._unwatch = found.on_end(self._session_ended)
        if self.is_over:
            return
        self._key = Key(
            offer.name,
            fingerprint(certificate),
            "" if found is None else found.sid,
        )
        here = self._address or None
        token = await visit.shared.token(certificate, offer, head.name, here)
        if not self._over:
            self._connect(token)

    def _undecided(self, failure: Failure) -> None:
        error: Any = failure.value
        if not isinstance(error, GateError):
            self._visit.log.failure("a request to an application failed", failure=failure)
            error = _Bug()
        if not self._over:
            self._fail(error)

    # -- the way ---------------------------------------------------------------------------

    def _connect(self, token: bytes) -> None:
        visit, key = self._visit, self._key
        assert key is not None
        self._wired = self._wire(token)
        if not self._head.upgrade:
            pool = visit.shared.pool
            again = self._head.method in _SAFE_AGAIN and not self._head.has_body
            link = pool.take(key) if again else pool.take(key, fresh_seconds=_FRESH_SECONDS)
            if link is not None:
                self._again = again
                self._ask(link)
                return
        self._open()

    def _open(self) -> None:
        visit, offer, who = self._visit, self._offer, self._who
        context = visit.context
        if (why := context.closed()) is not None:
            self._fail(why)
            return
        assert offer is not None and who is not None
        assert context.tunnels is not None and context.cluster is not None
        identity, certificate = who
        reach = self._reach = context.tunnels.reach(
            Asked(
                kind="app",
                name=offer.name,
                user=_user(identity),
                certificate=certificate,
                client=self._from,
                cluster=context.cluster.name,
                listener=context.listener,
                route=context.route.name,
                trace=context.trace,
            )
        )
        seconds = context.settings.waits(context.listener).dial_seconds
        self._late = context.clock.callLater(seconds, self._too_late, offer.name, seconds)
        reach.start(self._reached, self._missed)

    def _reached(self, end: Any) -> None:
        self._reach = None
        self._in_time()
        visit, offer = self._visit, self._offer
        assert offer is not None
        line = Line(end, visit.context.slab)
        if self._over:
            line.close()
            return
        self._ask(Link(line, offer.name, visit.context.clock.seconds()))

    def _missed(self, error: GateError) -> None:
        self._reach = None
        self._in_time()
        if not self._over:
            self._fail(error)

    def _too_late(self, name: str, seconds: float) -> None:
        self._late = None
        reach, self._reach = self._reach, None
        if reach is not None:
            reach.cancel()
        self._fail(TargetSilent(f"app/{name}", seconds))

    def _in_time(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _wire(self, token: bytes) -> bytes:
        identity, _ = self._who  # type: ignore[misc]
        claims = identity.claims
        who = forward.Who(
            user=_user(identity),
            roles=() if claims is None else claims.roles,
            traits={} if claims is None else claims.traits,
            address=self._address,
            token=token,
        )
        return forward.request_bytes(self._head, tuple(strip(self._head.fields)), who, self._rules)

    def _ask(self, link: Link) -> None:
        self._link = link
        line = link.line
        self._from_read, self._from_written = line.read, line.written
        link.ask(self._head, self._wired, self)
        if self._over:
            return
        for data in self._pending:
            self._started = True
            link.body(data, chunked=self._head.length is None)
        self._pending.clear()
        if self._head.has_body:
            if self._body_over:
                self._say_ended(link)
            elif not link.line.is_stuck:
                self._client.resume()

    # -- the target says --------------------------------------------------------------------

    def answered(self, head: ResponseHead, *, more: bool) -> None:
        """See `link.Answered`."""
        client, asked = self._client, self._head
        if not head.is_final:
            if head.status != 100:
                client.interim(head.status, forward.interim_fields(head))
            elif asked.expects:
                client.carry_on()
            return
        if head.status == 101:
            self._switch(head)
            return
        self._said = True
        self.answered_status = head.status
        fields = forward.response_fields(head, asked, self._rules)
        if head.chunked and forward.takes_trailers(asked) and (named := announced(head.fields)):
            fields.append((b"trailer", b", ".join(named)))
        self._no_body = asked.method == b"HEAD" or head.status in (204, 205, 304)
        length = head.told if self._no_body else head.length
        client.head(head.status, fields, length, more=more)

    def received(self, data: bytes) -> None:
        """See `link.Answered`."""
        self._client.data(data)

    @property
    def straight(self) -> bool:
        """See `link.Answered`."""
        return self._client.straight

    def poured(self, slab: Slab, count: int) -> int:
        """See `link.Answered`."""
        return self._client.pour(slab, count)

    def finished(self, trailers: Fields = ()) -> None:
        """See `link.Answered`."""
        link = self._count()
        if link is not None and self._key is not None and link.idle:
            link.line.resume()
            self._visit.shared.pool.put(self._key, link)
        elif link is not None:
            link.close()
        self._end()
        if trailers and forward.takes_trailers(self._head):
            self._client.end(passing(trailers))
        else:
            self._client.end()

    def failed(self, error: GateError) -> None:
        """See `link.Answered`."""
        link = self._count()
        heard = link is not None and link.heard
        if self._again and not heard and not self._said and not self._started and not self._over:
            self._again = False
            self._open()
            return
        self._fail(error)

    def drained(self) -> None:
        """See `link.Answered`."""
        if not self._body_over and not self._over:
            self._client.resume()

    # -- inside -------------------------------------------------------------------------------

    def _switch(self, head: ResponseHead) -> None:
        link, limits = self._link, self._limits
        session = self._session
        assert link is not None and limits is not None and session is not None
        if not is_accepted(self._head, head):
            self._count()
            link.close()
            self._fail(TargetBroken("the application", "a change of protocol that is none"))
            return
        self._count()
        self._end()
        self._client.switch(
            link,
            forward.switch_bytes(head, self._head.upgrade),
            limits,
            self._acting,
            session,
        )

    def _session_ended(self) -> None:
        """Logged out, locked: nothing of it goes on (S31)."""
        self._unwatch = None
        if self._key is not None:
            sid = self._key.session
            self._visit.shared.pool.drop(lambda key: key.session == sid)
        if not self._over:
            self._stop()
            self._client.cut()

    def _reply(self, reply: Reply) -> None:
        fields = [(name.lower(), value) for name, value in reply.headers]
        if reply.body:
            fields.append((b"content-type", reply.kind))
        self._answer(refusals.Answer(reply.status, tuple(fields), reply.body))

    def _fail(self, error: GateError) -> None:
        if self._said:
            self._stop()
            self._client.cut()
            return
        if self._session is not None:
            self._session.refused += 1
        who = self._who
        self._visit.refused(error, None if who is None else _user(who[0]))
        self._answer(refusals.refusal(error, self._head.fields))

    def _answer(self, answer: refusals.Answer) -> None:
        """Answer in our own words; whatever of the request still comes is for nobody."""
        self._stop()
        self.answered_status = answer.status
        client = self._client
        client.head(answer.status, list(answer.fields), len(answer.body))
        if self._head.method != b"HEAD":
            client.data(answer.body)
        client.end()

    def _count(self) -> Link | None:
        """Give the link up; the session has carried what went over it for this request."""
        link, self._link = self._link, None
        session = self._session
        if link is not None and session is not None:
            line = link.line
            session.to_target += line.written - self._from_written
            session.to_client += line.read - self._from_read
        return link

    def _stop(self) -> None:
        link = self._count()
        if link is not None:
            link.close()
        reach, self._reach = self._reach, None
        if reach is not None:
            reach.cancel()
        self._in_time()
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            unwatch, self._unwatch = self._unwatch, None
            if unwatch is not None:
                unwatch()
            self._pending.clear()
            self._visit.ended(self)


@types.coroutine
def _gone_on(begun: Coroutine[Any, Any, None], waited: Any) -> Generator[Any, Any, None]:
    """The rest of a coroutine that waits for *waited*."""
    while True:
        try:
            try:
                found = yield waited
            except Exception as error:
                waited = begun.throw(error)
            else:
                waited = begun.send(found)
        except StopIteration:
            return


class _Bug(GateError):
    """Something of ours failed; the log says what."""

    fault = Fault.GATE
    reason = "bug"

    def __str__(self) -> str:
        return "the gateway failed"


def _user(identity: Identity) -> str:
    return identity.name if identity.claims is None else identity.claims.name
