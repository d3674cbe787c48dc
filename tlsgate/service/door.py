"""The door of a gateway to an auth service in its own process: calls, and no bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from zope.interface import implementer

from tlsgate.auth.api import Api
from tlsgate.auth.calls import Ask
from tlsgate.auth.principal import itself, nobody
from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch


@implementer(IWatch)
class _Later:
    """A watch that begins when there is an API."""

    def __init__(self, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self.heard = heard
        self.watch: IWatch | None = None
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        if self.watch is not None:
            self.watch.stop()
            self.watch = None


@implementer(IAuthDoor)
class LocalDoor:
    """Asks the API of this process, as a gateway of its cluster.

    Args:
        cluster: its name.
        name: of this gateway.
    """

    def __init__(self, cluster: str, name: str) -> None:
        self._me = itself(cluster, name)
        self._watches: list[_Later] = []
        self.api: Api | None = None

    def open(self, api: Api) -> None:
        """The auth service is up."""
        self.api = api
        for later in self._watches:
            if not later.stopped:
                later.watch = api.watch(self._me, None, later.heard)
        self._watches.clear()

    def close(self) -> None:
        """The auth service goes; whoever asks now is told to ask again."""
        self.api = None

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
        later = _Later(heard)
        if self.api is None:
            self._watches.append(later)
        else:
            later.watch = self.api.watch(self._me, None, heard)
        return later
