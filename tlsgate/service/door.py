"""The door of a gateway to an auth service in its own process: calls, and no bytes.

Until the auth service is there for the first time it is `Coming`: a process that takes another
one's place serves before it has the store. Whoever asks meanwhile waits, and is answered.

Once another process has taken the auth service over, the door leads there: who is carried here
still is cut by locks, and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from zope.interface import implementer

from tlsgate.auth.api import Api, refusal
from tlsgate.auth.calls import Ask, Reply
from tlsgate.auth.principal import Principal, itself, nobody
from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch

#: How long a question waits for an auth service that is coming, and how many do.
COMING_SECONDS: Final = 10.0
MOST_WAITING: Final = 1024


class Coming:
    """Stands for the API until it is there, in the eyes of whoever has come so early.

    Args:
        clock: for the longest wait.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._api: Api | None = None
        self._waiting: list[Deferred[None]] = []
        #: What to call at the API's end; each has what takes it back, once the API is there.
        self._endings: dict[Callable[[], None], Callable[[], object] | None] = {}

    def came(self, api: Api | None) -> None:
        """It is there; None: it will never be."""
        self._api = api
        for ending in list(self._endings):
            if api is None:
                ending()
            else:
                self._endings[ending] = api.on_end(ending)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def on_end(self, ending: Callable[[], None]) -> Callable[[], None]:
        """See `Api.on_end`."""
        if self._api is not None:
            return self._api.on_end(ending)
        self._endings[ending] = None

        def forget() -> None:
            if (taken_back := self._endings.pop(ending, None)) is not None:
                taken_back()

        return forget

    async def call(self, principal: Principal, ask: Ask) -> Reply:
        """See `Api.call`; waits."""
        if self._api is None and len(self._waiting) < MOST_WAITING:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            late = self._clock.callLater(COMING_SECONDS, self._late, waiting)
            await waiting
            if late.active():
                late.cancel()
        if self._api is None:
            return refusal(Unreachable("the auth service", "it is starting; try again"))
        return await self._api.call(principal, ask)

    def watch(
        self, principal: Principal, since: int | None, heard: Callable[[Mapping[str, Any]], None]
    ) -> IWatch:
        """See `Api.watch`; nobody may before a call was answered."""
        assert self._api is not None
        return self._api.watch(principal, since, heard)

    def _late(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            waiting.callback(None)


@implementer(IWatch)
class _Watch:
    """A watch that goes on as long as there is an API, whichever it is."""

    def __init__(self, door: LocalDoor, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._door = door
        self._heard = heard
        self._inner: IWatch | None = None

    def begin(self, api: Api | Coming, me: Principal) -> None:
        self._inner = api.watch(me, None, self._heard)

    def go_on(self, successor: IAuthDoor) -> None:
        self.pause()
        self._inner = successor.watch(self._heard)

    def pause(self) -> None:
        if self._inner is not None:
            self._inner.stop()
            self._inner = None

    def stop(self) -> None:
        self.pause()
        self._door.forget(self)


@implementer(IAuthDoor)
class LocalDoor:
    """Asks the API of this process, as a gateway of its cluster.

    Args:
        cluster: its name.
        name: of this gateway.
        clock: for waiting until the auth service is up; None: nobody waits.
        successor: makes a door to the auth service of the process that takes this one's place;
            None: there will be none.
    """

    def __init__(
        self,
        cluster: str,
        name: str,
        clock: Any = None,
        successor: Callable[[], IAuthDoor] | None = None,
    ) -> None:
        self._me = itself(cluster, name)
        self._watches: list[_Watch] = []
        self._coming = None if clock is None else Coming(clock)
        self.api: Api | Coming | None = self._coming
        self._successor = successor
        self._after: IAuthDoor | None = None

    def open(self, api: Api) -> None:
        """The auth service is up."""
        self.api = api
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.came(api)
        for watch in self._watches:
            watch.begin(api, self._me)

    def close(self) -> None:
        """The auth service goes; whoever asks now is told to ask again."""
        self.api = None
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.came(None)
        if self._after is None:
            for watch in self._watches:
                watch.pause()

    def hand_over(self) -> None:
        """Close, because another process has the auth service: whoever asks now asks that one."""
        self.close()
        if self._successor is not None and self._after is None:
            self._after = self._successor()
            for watch in self._watches:
                watch.go_on(self._after)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        """See `IAuthDoor.ask`."""
        if self._after is not None:
            return await self._after.ask(method, path, body, address=address, as_anyone=as_anyone)
        if self.api is None:
            raise Unreachable("the auth service", "it is starting or stopping; try again")
        path, _, query = path.partition("?")
        ask = Ask(
            method=method,
            path=path,
            query=dict(parse_qsl(query)),
            body=None if body is None else dict(body),
            address=address,
        )
        who = nobody(address) if as_anyone else self._me
        reply = await self.api.call(who, ask)
        return reply.status, reply.body

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        """See `IAuthDoor.watch`."""
        watch = _Watch(self, heard)
        self._watches.append(watch)
        if self._after is not None:
            watch.go_on(self._after)
        elif self.api is not None and self._coming is None:
            watch.begin(self.api, self._me)
        return watch

    def forget(self, watch: _Watch) -> None:
        """Begin *watch* no more."""
        if watch in self._watches:
            self._watches.remove(watch)
