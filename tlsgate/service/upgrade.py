"""Hand the sockets to a new process of the installed code.

Old process: 1. start the new one with every socket and the claim; 2. wait until it says
"ready" and answer "go on"; 3. wait until it says "named"; 4. accept no more, and drain. If it
ends, complains or says nothing for too long, it is killed and everything is as before.

New process: 1. open by itself what its file has besides; 2. serve; 3. say "ready" and wait
for "go on", or for the old one's end; 4. take over the names (pid file, admin socket) and
say "named". For a moment both serve, so nobody ever waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

import tlsgate
from tlsgate.config.closing import closing, closing_of, fields
from tlsgate.config.settings import Closing, Settings
from tlsgate.errors import UpgradeFailed
from tlsgate.service.channel import Channel, connect, error_of
from tlsgate.service.listeners import Bound
from tlsgate.service.spawn import Command, spawn

#: How long a new process may take until it serves.
READY_SECONDS = 60.0


async def succeed(
    reactor: Any,
    command: Command,
    sockets: Mapping[str, Bound],
    claim: int,
    background: bool,
    listeners: Mapping[str, Any],
    wanted: Callable[[], bool] = lambda: True,
    ready_seconds: float = READY_SECONDS,
) -> dict[str, Any]:
    """Start a successor on *sockets*; done when it serves.

    Args:
        claim: the descriptor that holds the data directory.
        background: nobody sees stderr.
        listeners: what they are, see `handed`.
        wanted: false once this process has been told to stop; then nobody shall succeed it.

    Returns:
        pid and version of the new process, as `IDaemon.upgrade` gives them.

    Raises:
        UpgradeFailed: it does not; it is gone.
    """
    outcome: Deferred[dict[str, Any]] = Deferred()
    channel: Channel | None = None
    said: dict[str, Any] = {}

    def settle(value: dict[str, Any] | None, why: str = "") -> None:
        if not outcome.called:
            if value is not None:
                outcome.callback(value)
            else:
                outcome.errback(UpgradeFailed(why))

    async def hear(word: str, heard: dict[str, Any], descriptors: list[int]) -> Any:
        if word == "ready":
            if not wanted():
                settle(None, "the daemon is stopping")
                return
            said.update(heard)
            if channel is not None:
                channel.tell("go on")
        elif word == "named":
            settle(said)
        elif word == "failed":
            settle(None, str(error_of(heard["error"])))

    def ended(code: int) -> None:
        settle(None, f"it ended with code {code}")

    def lost() -> None:
        # "failed" is often the last thing that it says, and its end follows.
        reactor.callLater(1.0, settle, None, "it hung up")

    try:
        child, end = spawn(
            reactor,
            command,
            role="successor",
            sockets=sockets,
            claim=claim,
            fields={"background": background, **listeners},
            ended=ended,
        )
    except OSError as e:
        raise UpgradeFailed(str(e)) from e
    channel = connect(reactor, end, hear, lost)
    limit = reactor.callLater(ready_seconds, settle, None, f"not ready in {ready_seconds:g} s")
    try:
        return dict(await outcome)
    except UpgradeFailed:
        child.kill("KILL")
        channel.hang_up()
        raise
    finally:
        if limit.active():
            limit.cancel()


def handed(settings: Settings) -> dict[str, Any]:
    """What a successor has to know of the listeners, in JSON types."""
    served = [Closing(listener=one, since=0.0, until=0.0) for one in settings.listeners]
    return {"served": fields(served), "closing": fields(settings.closing)}


def taken_over(settings: Settings, said: Mapping[str, Any], now: float) -> Settings:
    """*settings* of a successor, with the listeners that they close or that refused before."""
    served = [one.listener for one in closing_of(said.get("served", ()))]
    known = closing_of(said.get("closing", ()))
    return evolve(settings, closing=closing(served, known, settings, now))


class Predecessor:
    """The old process, as its successor sees it.

    Args:
        reactor: Twisted's.
        descriptor: our end of the channel.
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._released: Deferred[None] = Deferred()
        self._channel = connect(reactor, descriptor, self._hear, self._free)

    async def released(self) -> None:
        """Say that we serve; done when the old process accepts no more, or is gone."""
        self._channel.tell("ready", pid=os.getpid(), version=tlsgate.__version__)
        await self._released

    def named(self) -> None:
        """Say that the names are ours."""
        self._channel.tell("named")

    async def _hear(self, word: str, heard: dict[str, Any], descriptors: list[int]) -> None:
        if word == "go on":
            self._free()

    def _free(self) -> None:
        if not self._released.called:
            self._released.callback(None)
