"""A worker: the gateway of one process, on sockets and orders of its supervisor.

It starts without either, loads everything and waits: so a spare one can take the place of
one that has died without anybody waiting for an interpreter to start.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

import tlsgate
from tlsgate.config.closing import closing_of
from tlsgate.config.settings import Settings
from tlsgate.errors import GateError
from tlsgate.service import memory
from tlsgate.service.channel import Channel, connect, error_fields
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.listeners import Bound, adopt
from tlsgate.service.logs import Log
from tlsgate.service.reload import Source
from tlsgate.service.spawn import Heritage


class Worker(Service):
    """Does what the supervisor says, and drains when that is gone.

    Args:
        reactor: Twisted's.
        source: parses the orders' text.
        hire: makes the crew for settings and the worker's number; raises `GateError`.
        log: where this process's lines go.
        reopen: opens log files anew.
        heritage: what the supervisor gave us.
        leave: called with the exit code before the reactor stops.
    """

    name = "tlsgate"
    logger = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        source: Source,
        hire: Callable[[Settings, int], ICrew],
        log: Log,
        reopen: Callable[[], None],
        heritage: Heritage,
        leave: Callable[[int], None],
    ) -> None:
        self.draining = False
        self._crew: ICrew | None = None
        self._orders: Orders | None = None
        self._reactor_stops = False
        self._reactor = reactor
        self._source = source
        self._hire = hire
        self._log = log
        self._reopen = reopen
        self._next: Orders | None = None
        self._new: list[Bound] = []
        self._leave = leave
        self._end = heritage.channel
        self._channel: Channel | None = None
        self._drained: Deferred[int] | None = None

    # -- life --------------------------------------------------------------------------------

    def startService(self) -> None:
        """Twisted calls this."""
        super().startService()
        self._channel = connect(self._reactor, self._end, self._hear, self._supervisor_gone)
        memory.settle()
        self._channel.tell("here", pid=os.getpid(), version=tlsgate.__version__)

    async def _serve(self, fields: dict[str, Any], descriptors: list[int]) -> None:
        """Take the first orders; done when they are served. On an error the process ends."""
        try:
            sockets = {
                name: adopt(endpoint, descriptors.pop(0), tuple(inode) if inode else None)
                for name, endpoint, inode in fields["sockets"]
            }
            settings = self._settings(fields)
            self._log.follow(settings)
            orders = Orders(text=fields["text"], settings=settings, sockets=sockets)
            crew = self._hire(settings, fields["worker"])
            await crew.begin(orders)
        except BaseException:
            self._leave(2)
            self._reactor.callLater(0, self._stop_reactor)
            raise
        self._crew, self._orders = crew, orders
        memory.settle()

    def terminate(self) -> None:
        """SIGTERM: somebody wants this one worker to go; the others stay."""
        if self.draining:
            if self._crew is not None:
                self._crew.cut()
            return
        if self._channel is not None:
            self._channel.tell("leaving")
        self._stop_accepting(False)
        self._stop_reactor()

    def _supervisor_gone(self) -> None:
        if not self.draining:
            if self._crew is not None:
                self.logger.error("the supervisor is gone: draining")
            self._stop_accepting(True)
        self._stop_reactor()

    def stopService(self) -> Deferred[None]:
        """Twisted calls this before the reactor stops, and waits."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        self._stop_accepting(False)
        if self._orders is not None:
            await self._drain(self._orders.settings.timeouts.drain_seconds)
        if self._channel is not None:
            self._channel.hang_up()

    async def _drain(self, seconds: float) -> int:
        """Drain once, however often it is asked for."""
        if self._crew is None:
            return 0
        if self._drained is None:
            self._drained = self._crew.drain(seconds)
            cut = await self._drained
            self._crew = None
            if cut:
                self._leave(1)
            return cut
        waiting: Deferred[int] = Deferred()

        def pass_on(cut: int) -> int:
            waiting.callback(cut)
            return cut

        self._drained.addCallback(pass_on)
        return await waiting

    def _stop_accepting(self, finish: bool) -> None:
        if self.draining:
            return
        self.draining = True
        if self._crew is None or self._orders is None:
            return
        # The gateway of this process does it at once.
        Deferred.fromCoroutine(self._crew.stop_accepting(finish))
        # Whoever starts next needs the ports; names of UNIX sockets are the supervisor's.
        for bound in self._orders.sockets.values():
            bound.close(leave_name=True)

    def _stop_reactor(self) -> None:
        if not self._reactor_stops:
            self._reactor_stops = True
            self._reactor.callWhenRunning(self._reactor.stop)

    # -- orders ------------------------------------------------------------------------------

    async def _hear(self, word: str, fields: dict[str, Any], descriptors: list[int]) -> Any:
        match word:
            case "serve":
                return await self._serve(fields, descriptors)
            case "stop":
                return self._stop_accepting(fields["finish"])
            case "drain":
                self._stop_accepting(False)
                cut = await self._drain(fields["seconds"])
                # The answer leaves before the reactor stops.
                self._reactor.callLater(0, self._stop_reactor)
                return cut
            case "reopen":
                return self._reopen()
        crew = self._crew
        if crew is None:
            return None
        match word:
            case "connections":
                return await crew.connections()
            case "tally":
                return await crew.tally()
            case "cluster":
                return await crew.cluster()
            case "foresee":
                return await crew.foresee(fields["text"], self._source.parse(fields["text"]))
            case "explain":
                return await crew.explain(**fields)
            case "prepare":
                return await self._prepare(crew, fields, descriptors)
            case "commit":
                await self._commit(crew)
            case "abort":
                self._abort(crew)
            case "cut":
                crew.cut()
        return None

    async def _prepare(
        self, crew: ICrew, fields: dict[str, Any], descriptors: list[int]
    ) -> list[str]:
        assert self._orders is not None
        sockets: dict[str, Bound] = {}
        self._new = []
        for name, endpoint, inode, have in fields["sockets"]:
            if have is None:
                bound = adopt(endpoint, descriptors.pop(0), tuple(inode) if inode else None)
                self._new.append(bound)
            else:
                bound = self._orders.sockets[have]
            sockets[name] = bound
        try:
            orders = Orders(text=fields["text"], settings=self._settings(fields), sockets=sockets)
            remarks = list(await crew.prepare(orders))
        except BaseException:
            self._abort(crew)
            raise
        self._next = orders
        return remarks

    def _settings(self, fields: dict[str, Any]) -> Settings:
        """What the orders mean: the file, and which listeners it names no more."""
        gone = closing_of(fields.get("closing", ()))
        return evolve(self._source.parse(fields["text"]), closing=gone)

    async def _commit(self, crew: ICrew) -> None:
        orders, self._next, self._new = self._next, None, []
        if orders is None or self._orders is None:
            return
        await crew.commit()
        stays = {id(bound) for bound in orders.sockets.values()}
        for bound in self._orders.sockets.values():
            if id(bound) not in stays:
                bound.close(leave_name=True)
        self._orders = orders
        self._log.follow(orders.settings)

    def _abort(self, crew: ICrew) -> None:
        crew.abort()
        for bound in self._new:
            bound.close(leave_name=True)
        self._next, self._new = None, []


def tell_failure(descriptor: int, error: GateError) -> None:
    """Tell a parent why this process ends, before there is a reactor or a channel."""
    line = json.dumps({"word": "failed", "fields": {"error": error_fields(error)}})
    with suppress(OSError), socket.socket(fileno=descriptor) as end:
        end.settimeout(1.0)
        end.sendall(line.encode() + b"\n")
