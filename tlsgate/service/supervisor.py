"""N worker processes that serve the sockets of this one, which holds no TLS.

1. `begin` starts one worker; when it serves, the configuration is known to be good, and
   what a first start makes on disk is made; then the others start.
2. A worker that ends is replaced at once; one that cannot even start, with growing waits.
3. A reload has two phases: every worker prepares, and only then all of them swap.
4. Each worker hears of our end by the end of its channel, and drains.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.errors import GateError, ReloadRefused, WorkerFailed
from tlsgate.service import counts
from tlsgate.service.channel import Channel, connect, error_of
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.listeners import Bound
from tlsgate.service.spawn import Child, Command, spawn

#: How long a worker may take to start, or to prepare a reload.
READY_SECONDS = 60.0
#: Waits before the next try when workers do not even start.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 10.0
#: How long a worker may outlive the end of its drain.
_GRACE_SECONDS = 5.0


@define(eq=False)
class Member:
    """One worker process."""

    index: int
    orders: Orders
    started: float
    child: Child
    channel: Channel
    ready: Deferred[None]
    serves: bool = False
    leaving: bool = False
    why: GateError | None = None
    tally: dict[str, Any] | None = field(default=None, repr=False)


@implementer(ICrew)
class Supervisor:
    """See the module.

    Args:
        reactor: Twisted's.
        command: how to start a worker.
        count: how many.
        log_output: where the workers' lines go.
    """

    log = Logger()

    def __init__(self, reactor: Any, command: Command, count: int, log_output: str) -> None:
        self._reactor = reactor
        self._command = command
        self._count = count
        self._log_output = log_output
        self._orders: Orders | None = None
        self._next: Orders | None = None
        self._members: dict[int, Member] = {}
        #: Workers that serve no more and have connections still.
        self._leaving: set[Member] = set()
        self._begun = False
        self._ending = False
        self._failures = 0
        self._cut = 0
        self._drained: Deferred[int] | None = None
        #: What workers that are gone had counted.
        self._past: list[dict[str, Any]] = []

    # -- ICrew -----------------------------------------------------------------------------

    async def begin(self, orders: Orders) -> None:
        self._orders = orders
        await self._start(0).ready
        started = [self._start(index).ready for index in range(1, self._count)]
        for one in started:
            await one
        self._begun = True

    async def prepare(self, orders: Orders) -> Sequence[str]:
        members = [one for one in self._members.values() if one.serves]
        if len(members) < self._count:
            raise ReloadRefused(["a worker is just being replaced; try again"])
        answers = [self._prepare(member, orders) for member in members]
        remarks: list[str] = []
        failed: GateError | None = None
        for _, result in await DeferredList(answers, consumeErrors=True):
            if not isinstance(result, Failure):
                remarks = result
            elif failed is None:
                failed = _as_error(result)
        if failed is None and any(not member.serves for member in members):
            failed = ReloadRefused(["a worker has ended meanwhile"])
        if failed is not None:
            self.abort()
            raise failed
        self._next = orders
        return remarks

    def commit(self) -> None:
        self._orders, self._next = self._next or self._orders, None
        for member in list(self._members.values()):
            if member.serves:
                member.orders = self._orders  # type: ignore[assignment]
                member.channel.tell("commit")
            else:
                # It is starting with orders that are old by now.
                member.child.kill("KILL")

    def abort(self) -> None:
        self._next = None
        for member in self._members.values():
            if member.serves:
                member.channel.tell("abort")

    def stop_accepting(self, finish: bool) -> None:
        self._ending = True
        for member in self._members.values():
            member.channel.tell("stop", finish=finish)

    def drain(self, seconds: float) -> Deferred[int]:
        self._ending = True
        drained = self._drained = Deferred()
        for member in (*self._members.values(), *self._leaving):
            if member.serves or member.leaving:
                asked = member.channel.ask("drain", seconds=seconds)
                asked.addCallbacks(self._add_cut, lambda _: None)
            else:
                member.child.kill("KILL")
        self._reactor.callLater(seconds + _GRACE_SECONDS, self._kill_all)
        self._look_for_end()
        return drained

    def cut(self) -> None:
        for member in (*self._members.values(), *self._leaving):
            member.channel.tell("cut")
        self._reactor.callLater(1.0, self._kill_all)

    def reopen_logs(self) -> None:
        for member in (*self._members.values(), *self._leaving):
            member.channel.tell("reopen")

    async def connections(self) -> list[dict[str, Any]]:
        return [
            {"worker": member.index, **one}
            for member, said in await self._ask_all("connections")
            for one in said
        ]

    async def tally(self) -> dict[str, Any]:
        for member, said in await self._ask_all("tally"):
            member.tally = said
        known = [one.tally for one in (*self._members.values(), *self._leaving)]
        return counts.fields(counts.merged([*self._past, *filter(None, known)]))

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        for member in self._members.values():
            if member.serves:
                said: dict[str, Any] = await member.channel.ask(
                    "explain", listener=listener, sni=sni, alpn=list(alpn), cert_pem=cert_pem
                )
                return said
        raise WorkerFailed(0, "none runs")

    def members(self) -> list[dict[str, Any]]:
        return [
            {
                "worker": member.index,
                "pid": member.child.pid,
                "started": member.started,
                "ready": member.serves,
                "draining": member.leaving,
            }
            for member in (*self._members.values(), *self._leaving)
        ]

    # -- workers ---------------------------------------------------------------------------

    def _start(self, index: int) -> Member:
        """Start a worker; its `ready` fires when it serves, or fails.

        Raises:
            WorkerFailed: no process can be started.
        """
        orders = self._orders
        assert orders is not None

        async def hear(word: str, fields: dict[str, Any], descriptors: list[int]) -> Any:
            self._heard(member, word, fields)

        try:
            child, end = spawn(
                self._reactor,
                self._command,
                role="worker",
                sockets=orders.sockets,
                claim=None,
                fields={"text": orders.text, "worker": index, "log": self._log_output},
                ended=lambda code: self._ended(member, code),
            )
        except OSError as e:
            raise WorkerFailed(index, str(e)) from e
        channel = connect(self._reactor, end, hear, lambda: None)
        member = Member(index, orders, time.time(), child, channel, Deferred())
        self._members[index] = member
        limit = self._reactor.callLater(READY_SECONDS, child.kill, "KILL")

        def settled(result: Any) -> Any:
            if limit.active():
                limit.cancel()
            return result

        member.ready.addBoth(settled)
        return member

    def _heard(self, member: Member, word: str, fields: dict[str, Any]) -> None:
        if word == "ready":
            member.serves = True
            self._failures = 0
            member.ready.callback(None)
        elif word == "failed":
            member.why = error_of(fields["error"])
        elif word == "leaving":
            # Somebody has told this one worker to end: its place is filled at once.
            if self._members.get(member.index) is member:
                del self._members[member.index]
                self._leaving.add(member)
                member.serves, member.leaving = False, True
                self._replace(member.index)

    def _ended(self, member: Member, code: int) -> None:
        if member.tally is not None:
            self._past = [counts.fields(counts.merged([*self._past, member.tally]))]
        self._leaving.discard(member)
        served = member.serves or member.leaving
        member.serves = False
        how = f"signal {-code}" if code < 0 else f"code {code}"
        error = member.why or WorkerFailed(member.index, f"it ended with {how}")
        begins = not self._begun
        if self._members.get(member.index) is member:
            del self._members[member.index]
            if not self._ending and not begins:
                self.log.error("{error}; it is replaced", error=str(error))
                if not served:
                    self._failures += 1
                self._replace(member.index)
        if not member.ready.called:
            member.ready.errback(Failure(error))
        self._look_for_end()

    def _replace(self, index: int) -> None:
        if self._ending:
            return
        if not self._failures:
            self._try_start(index)
            return
        wait = min(_FIRST_WAIT_SECONDS * 2 ** min(self._failures, 10), _LONGEST_WAIT_SECONDS)
        self._reactor.callLater(wait, self._try_start, index)

    def _try_start(self, index: int) -> None:
        if self._ending or index in self._members:
            return
        try:
            member = self._start(index)
        except WorkerFailed as e:
            self.log.error("{error}", error=str(e))
            self._failures += 1
            self._replace(index)
            return
        member.ready.addCallbacks(
            lambda _: self.log.info("worker {index} serves", index=index), lambda _: None
        )

    def _prepare(self, member: Member, orders: Orders) -> Deferred[Any]:
        """Give *member* new orders, with the sockets that it does not have yet."""
        table, descriptors = [], []
        for name, bound in orders.sockets.items():
            have = _name_of(bound, member.orders.sockets)
            if have is None:
                assert bound.socket is not None
                descriptors.append(bound.socket.fileno())
            table.append([name, bound.endpoint, bound.inode, have])
        asked = member.channel.ask("prepare", descriptors, text=orders.text, sockets=table)
        return asked.addTimeout(READY_SECONDS, self._reactor)

    async def _ask_all(self, word: str) -> list[tuple[Member, Any]]:
        members = [
            one for one in (*self._members.values(), *self._leaving) if one.serves or one.leaving
        ]
        asked = [one.channel.ask(word).addTimeout(_GRACE_SECONDS, self._reactor) for one in members]
        answers = await DeferredList(asked, consumeErrors=True)
        return [
            (member, said) for member, (good, said) in zip(members, answers, strict=True) if good
        ]

    # -- the end ---------------------------------------------------------------------------

    def _add_cut(self, cut: int) -> None:
        self._cut += cut

    def _look_for_end(self) -> None:
        if self._drained is not None and not self._members and not self._leaving:
            drained, self._drained = self._drained, None
            drained.callback(self._cut)

    def _kill_all(self) -> None:
        for member in (*self._members.values(), *self._leaving):
            if member.child.alive:
                self._cut += 1
                member.child.kill("KILL")


def _name_of(bound: Bound, sockets: Mapping[str, Bound]) -> str | None:
    return next((name for name, one in sockets.items() if one is bound), None)


def _as_error(failure: Failure) -> GateError:
    if isinstance(failure.value, GateError):
        return failure.value
    return ReloadRefused([f"a worker did not answer: {failure.value}"])
