"""N worker processes that serve the sockets of this one, which holds no TLS.

1. `service.hands` starts processes that load everything and wait; `_employ` makes one a
   worker. `begin` employs one; when it serves, the configuration is known to be good, and
   what a first start makes on disk is made; then the others follow.
2. A worker that ends is replaced by the spare process in no time. One that cannot even start
   is tried again with growing waits.
3. A reload has two phases: every worker prepares, and only then all of them swap.
4. Each process hears of our end by the end of its channel, and drains.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.config.closing import fields
from tlsgate.config.settings import Settings
from tlsgate.core.migration import SEPARATE
from tlsgate.errors import GateError, ProcessGone, ReloadRefused, WorkerFailed
from tlsgate.service import counts
from tlsgate.service.authsockets import API, TLS
from tlsgate.service.channel import Channel
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.hands import Hand, Hands
from tlsgate.service.listeners import Bound
from tlsgate.service.logs import Log
from tlsgate.service.spawn import Child, Command

#: The place of the auth service among the workers.
AUTH = -1
#: How long a worker may take to start, or to prepare a reload.
READY_SECONDS = 60.0
#: Waits before the next try when workers do not even start.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 10.0
#: How long a worker may outlive the end of its drain.
_GRACE_SECONDS = 5.0
#: How long after a replacement the next spare process starts, off the busiest moment.
_SPARE_SECONDS = 1.0
#: A reload that meets a replacement looks so often, so many times.
_REPLACING_SECONDS, _REPLACING_LOOKS = 0.1, 100


@define(eq=False)
class Member:
    """One worker: a place that a process fills.

    Attributes:
        ready: fires when it serves, or fails.
        asked: it has its orders; before that they may still change.
    """

    index: int
    orders: Orders
    started: float
    hand: Hand
    ready: Deferred[None]
    asked: bool = False
    serves: bool = False
    leaving: bool = False
    why: GateError | None = None
    tally: dict[str, Any] | None = field(default=None, repr=False)

    def sockets(self, orders: Orders) -> Mapping[str, Bound]:
        """Those of *orders* that are its business."""
        its = (API, TLS) if self.index == AUTH else orders.sockets.keys() - {API, TLS}
        return {name: one for name, one in orders.sockets.items() if name in its}

    @property
    def channel(self) -> Channel:
        """The wire to its process."""
        return self.hand.channel

    @property
    def child(self) -> Child:
        """Its process."""
        return self.hand.child


@implementer(ICrew)
class Supervisor:
    """See the module.

    Args:
        reactor: Twisted's.
        command: how to start a worker.
        count: how many.
        log: where this process's lines go, and the workers' too.
        data_dir: the data directory.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, command: Command, count: int, log: Log, data_dir: Path
    ) -> None:
        self._reactor = reactor
        self._count = self._count_all = count
        self._hands = Hands(reactor, command, log, data_dir, self._heard, self._gone)
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
        # All of them load meanwhile; the first one alone tries the orders.
        auth = [self._hands.spawn()] if API in orders.sockets else []
        hands = [self._hands.spawn() for _ in range(self._count)]
        for hand in auth:
            # Workers ask it before they serve.
            await self._start(AUTH, hand).ready
            self._count_all += 1
        await self._start(0, hands[0]).ready
        started = [self._start(index, hands[index]).ready for index in range(1, self._count)]
        for one in started:
            await one
        self._begun = True
        self._hands.keep_spare()

    async def prepare(self, orders: Orders) -> Sequence[str]:
        members = await self._all_serve()
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

    async def commit(self) -> None:
        self._orders, self._next = self._next or self._orders, None
        swapping = []
        for member in list(self._members.values()):
            if member.serves:
                member.orders = self._orders  # type: ignore[assignment]
                swapping.append(member)
            elif member.asked:
                # It is starting with orders that are old by now.
                member.child.kill("KILL")
        await self._tell_all(swapping, "commit")

    def abort(self) -> None:
        self._next = None
        for member in self._members.values():
            if member.serves:
                member.channel.tell("abort")

    async def stop_accepting(self, finish: bool) -> None:
        self._ending = True
        await self._tell_all(list(self._members.values()), "stop", finish=finish)

    def drain(self, seconds: float) -> Deferred[int]:
        self._ending = True
        self._hands.dismiss()
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
        self._hands.tell_spare("reopen")

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
            if member.serves and member.index != AUTH:
                said: dict[str, Any] = await member.channel.ask(
                    "explain", listener=listener, sni=sni, alpn=list(alpn), cert_pem=cert_pem
                )
                return said
        raise WorkerFailed(0, "none runs")

    async def cluster(self) -> dict[str, Any] | None:
        said = [one for _, one in await self._ask_all("cluster") if one is not None]
        if not said:
            return None
        ages = [one["age_seconds"] for one in said]
        # The worker that knows least says how well the daemon serves.
        told = [one.get("mode_age_seconds") for one in said]
        # Ports stay as long as clients of any worker are told to use them.
        separate = [{"mode": SEPARATE} for one in said if one.get("mode") == SEPARATE]
        return {
            **said[0],
            **(separate[0] if separate else {}),
            "away": any(one["away"] for one in said),
            "age_seconds": None if None in ages else max(ages),
            "strict": any(one["strict"] for one in said),
            # Of all clients those count that were told the other one last.
            "mode_age_seconds": min((age for age in told if age is not None), default=None),
        }

    async def foresee(self, text: str, settings: Settings) -> dict[str, Any] | None:
        member = self._members.get(AUTH)
        if member is None or not member.serves:
            return None
        asked = member.channel.ask("foresee", text=text).addTimeout(READY_SECONDS, self._reactor)
        try:
            said: dict[str, Any] | None = await asked
        except (DeferTimeout, ProcessGone):
            return None  # it may be what an upgrade is to heal; a reload waits for it
        return said

    def members(self) -> list[dict[str, Any]]:
        return [
            {
                "worker": "auth" if member.index == AUTH else member.index,
                "pid": member.child.pid,
                "started": member.started,
                "ready": member.serves,
                "draining": member.leaving,
            }
            for member in (*self._members.values(), *self._leaving)
        ]

    # -- workers ---------------------------------------------------------------------------

    def _heard(self, hand: Hand, word: str) -> None:
        member = self._of(hand)
        if word == "leaving" and member is not None:
            # Somebody has told this one worker to end: its place is filled at once.
            if self._members.get(member.index) is member:
                del self._members[member.index]
                self._leaving.add(member)
                member.serves, member.leaving = False, True
                self._replace(member.index)

    def _gone(self, hand: Hand, code: int) -> None:
        """A process has ended."""
        if (member := self._of(hand)) is not None:
            self._ended(member, code)

    def _of(self, hand: Hand) -> Member | None:
        """The worker that *hand* is, if it is one."""
        members = (*self._members.values(), *self._leaving)
        return next((member for member in members if member.hand is hand), None)

    def _start(self, index: int, hand: Hand | None = None) -> Member:
        """Fill a place; the member's `ready` fires when it serves, or fails.

        Raises:
            WorkerFailed: no process can be started.
        """
        if hand is None:
            hand = self._hands.take()
        assert self._orders is not None
        member = Member(index, self._orders, time.time(), hand, Deferred())
        self._members[index] = member
        limit = self._reactor.callLater(READY_SECONDS, hand.child.kill, "KILL")

        def settled(result: Any) -> None:
            if limit.active():
                limit.cancel()
            if isinstance(result, Failure):
                member.ready.errback(result)
            else:
                member.ready.callback(None)

        Deferred.fromCoroutine(self._employ(member)).addBoth(settled)
        return member

    async def _employ(self, member: Member) -> None:
        """Give *member* the orders in force; done when it serves.

        Raises:
            GateError: it cannot; its process ends.
        """
        hand = member.hand
        try:
            await hand.is_here()
            orders = member.orders = self._orders or member.orders
            member.asked = True
            sockets = member.sockets(orders)
            table = [[name, one.endpoint, one.inode] for name, one in sockets.items()]
            await hand.channel.ask(
                "serve",
                [one.socket.fileno() for one in sockets.values() if one.socket is not None],
                text=orders.text,
                worker=member.index,
                sockets=table,
                closing=fields(orders.settings.closing),
            )
        except ProcessGone:
            raise WorkerFailed(member.index, _how(await hand.is_gone())) from None
        except GateError as e:
            member.why = e
            raise
        member.serves = True
        self._failures = 0
        if self._begun:
            self.log.info("{who} serves", who=_called(member.index))
            self._reactor.callLater(_SPARE_SECONDS, self._hands.keep_spare)

    def _ended(self, member: Member, code: int) -> None:
        """The process of *member* has ended."""
        if member.tally is not None:
            ended = counts.ended(member.tally)
            self._past = [counts.fields(counts.merged([*self._past, ended]))]
        self._leaving.discard(member)
        served = member.serves or member.leaving
        member.serves = False
        if self._members.get(member.index) is member:
            del self._members[member.index]
            if self._begun and not self._ending:
                error = member.why or WorkerFailed(member.index, _how(code))
                self.log.error("{error}; it is replaced", error=str(error))
                if not served:
                    self._failures += 1
                self._replace(member.index)
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
            self._start(index).ready.addErrback(lambda _: None)  # its end tells
        except WorkerFailed as e:
            self.log.error("{error}", error=str(e))
            self._failures += 1
            self._replace(index)

    async def _all_serve(self) -> list[Member]:
        """Every worker, once none is being replaced.

        Raises:
            ReloadRefused: one still is, after a while.
        """
        for _ in range(_REPLACING_LOOKS):
            members = [one for one in self._members.values() if one.serves]
            if len(members) == self._count_all:
                return members
            await deferLater(self._reactor, _REPLACING_SECONDS)
        raise ReloadRefused(["a worker is just being replaced; try again"])

    def _prepare(self, member: Member, orders: Orders) -> Deferred[Any]:
        """Give *member* new orders, with the sockets that it does not have yet."""
        table, descriptors = [], []
        for name, bound in member.sockets(orders).items():
            have = _name_of(bound, member.orders.sockets)
            if have is None:
                assert bound.socket is not None
                descriptors.append(bound.socket.fileno())
            table.append([name, bound.endpoint, bound.inode, have])
        asked = member.channel.ask(
            "prepare",
            descriptors,
            text=orders.text,
            sockets=table,
            closing=fields(orders.settings.closing),
        )
        return asked.addTimeout(READY_SECONDS, self._reactor)

    async def _tell_all(self, members: Sequence[Member], word: str, **fields: Any) -> None:
        """Tell *word*, and wait until all have done it; who does not is killed."""
        asked = [
            member.channel.ask(word, **fields).addTimeout(_GRACE_SECONDS, self._reactor)
            for member in members
        ]
        answers = await DeferredList(asked, consumeErrors=True)
        for member, (good, _) in zip(members, answers, strict=True):
            if not good:
                member.child.kill("KILL")

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


def _called(index: int) -> str:
    return "the auth service" if index == AUTH else f"worker {index}"


def _how(code: int) -> str:
    return f"it ended with signal {-code}" if code < 0 else f"it ended with code {code}"


def _name_of(bound: Bound, sockets: Mapping[str, Bound]) -> str | None:
    return next((name for name, one in sockets.items() if one is bound), None)


def _as_error(failure: Failure) -> GateError:
    if isinstance(failure.value, GateError):
        return failure.value
    return ReloadRefused([f"a worker did not answer: {failure.value}"])
