"""Where the cluster's gateways are reached, as those in other processes have told.

An auth service that has no gateway beside it cannot know from its own file under which
addresses users come. Each gateway tells its own when it fetches its certificate; the item
ends with that. Where the auth service's file has public addresses, those alone count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from tlsgate.auth.opaque import pack, unpack
from tlsgate.core.keeping import ANY, Event, Item, Put
from tlsgate.errors import GateError
from tlsgate.interfaces import IStore, IWatch

PREFIX: Final = "gateways/"


class Gateways:
    """The addresses of gateways elsewhere.

    Args:
        store: where they are kept.
        own: "host:port" under which the gateway of the auth service's own file is reached.
    """

    def __init__(self, store: IStore, own: Callable[[], Sequence[str]]) -> None:
        self._store = store
        self._own = own
        self._told: dict[str, tuple[str, ...]] = {}
        self._watch: IWatch | None = None
        #: Called when there are other addresses than before.
        self.changed: Callable[[], None] = _nobody

    async def start(self) -> None:
        """Read what is kept, and follow it."""
        revision = await self._store.revision()
        for item in await self._store.scan(PREFIX):
            self._take(item.key, item)
        self._watch = self._store.watch(PREFIX, revision, self._changed)

    def stop(self) -> None:
        """Follow no more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    @property
    def fixed(self) -> bool:
        """True where the auth service's own file says what the addresses are."""
        return bool(self._own())

    def addresses(self) -> tuple[str, ...]:
        """Every "host:port", the file's first."""
        told = (one for name in sorted(self._told) for one in self._told[name])
        return tuple(dict.fromkeys((*self._own(), *told)))

    async def tell(self, name: str, addresses: Sequence[str], until: float) -> None:
        """Keep under which *addresses* the gateway *name* is reached, until its certificate ends.

        Raises:
            StoreFailed: they cannot be kept.
        """
        if tuple(addresses):
            await self._store.commit(
                [Put(PREFIX + name, pack({"public": list(addresses)}), ANY, until)]
            )
            before = self.addresses()
            self._told[PREFIX + name] = tuple(addresses)
            if self.addresses() != before:
                self.changed()

    def _changed(self, events: Sequence[Event]) -> None:
        before = self.addresses()
        for event in events:
            self._take(event.key, event.item)
        if self.addresses() != before:
            self.changed()

    def _take(self, key: str, item: Item | None) -> None:
        self._told.pop(key, None)
        if item is None:
            return
        try:
            said: Any = unpack(key, item.value).get("public", ())
        except GateError:
            return  # nobody reaches it by what cannot be read
        self._told[key] = tuple(str(one) for one in said)


def _nobody() -> None:
    return
