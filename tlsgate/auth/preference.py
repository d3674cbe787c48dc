"""How people log in, as `cluster_auth_preference` says now.

`start` reads it and follows the store: what an operator changes counts for the next login.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from tlsgate.auth import networking
from tlsgate.auth.kinds import Resource, defaults, read_resource
from tlsgate.auth.opaque import unpack
from tlsgate.auth.resources import key_of
from tlsgate.core.keeping import Event
from tlsgate.errors import GateError
from tlsgate.interfaces import IStore, IWatch

_KEY = key_of(networking.PREFERENCE, "")


class Preference:
    """See the module."""

    log = Logger()

    def __init__(self, store: IStore) -> None:
        self._store = store
        self._watch: IWatch | None = None
        self._one_factor = False

    async def start(self) -> None:
        """Read what is set, and follow it.

        Raises:
            GateError: it cannot be read, or the store does not answer.
        """
        revision = await self._store.revision()
        self._take(await networking.current(self._store, networking.PREFERENCE))
        self._watch = self._store.watch(_KEY, revision, self._heard)

    def stop(self) -> None:
        """Follow the store no more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def one_factor(self) -> bool:
        """Whether a password alone is a login."""
        return self._one_factor

    def _heard(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.key != _KEY:
                continue
            item = event.item
            try:
                self._take(
                    defaults(networking.PREFERENCE)
                    if item is None
                    else read_resource(unpack(item.key, item.value))
                )
            except GateError as error:
                self._one_factor = False  # the stricter of the two
                self.log.error("cluster_auth_preference cannot be read: {why}", why=str(error))

    def _take(self, resource: Resource) -> None:
        self._one_factor = resource.spec.get("second_factor") == "off"
