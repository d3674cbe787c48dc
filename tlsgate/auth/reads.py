"""Several items of a store at once: one trip to its thread instead of many."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, FirstError, gatherResults

from tlsgate.core.keeping import Item
from tlsgate.interfaces import IStore


async def read_all(store: IStore, keys: Iterable[str]) -> list[Item | None]:
    """Get the items of *keys*, in their order; None where there is none.

    They need not be of one revision: who changes them says what they have to be.

    Raises:
        StoreFailed: one of them could not be read.
    """
    begun = [Deferred.fromCoroutine(store.get(key)) for key in keys]
    try:
        return await gatherResults(begun, consumeErrors=True)
    except FirstError as e:
        e.subFailure.raiseException()
