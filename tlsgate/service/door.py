"""The door of a gateway to an auth service in its own process: calls, and no bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from zope.interface import implementer

from tlsgate.auth.api import Api
from tlsgate.auth.calls import Ask
from tlsgate.auth.principal import Principal, itself, nobody
from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch


@implementer(IWatch)
class _Watch:
    """A watch that goes on as long as there is an API, whichever it is."""

    def __init__(self, door: LocalDoor, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._door = door
        self._heard = heard
        self._inner: IWatch | None = None

    def begin(self, api: Api, me: Principal) -> None:
        self._inner = api.watch(me, None, self._heard)

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
    """

    def __init__(self, cluster: str, name: str) -> None:
        self._me = itself(cluster, name)
        self._watches: list[_Watch] = []
        self.api: Api | None = None

    def open(self, api: Api) -> None:
        """The auth service is up."""
        self.api = api
        for watch in self._watches:
            watch.begin(api, self._me)

    def close(self) -> None:
        """The auth service goes; whoever asks now is told to ask again."""
        self.api = None
        for watch in self._watches:
            watch.pause()

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
        if self.api is not None:
            watch.begin(self.api, self._me)
        return watch

    def forget(self, watch: _Watch) -> None:
        """Begin *watch* no more."""
        if watch in self._watches:
            self._watches.remove(watch)
