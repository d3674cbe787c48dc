"""Web sessions: a cookie that only its browser knows, and a bearer that its own pages know.

Of the cookie a digest is kept, under `sessions/` (`cookies`). The bearer is worked out from
the cookie by HMAC: a page of ours gets it in an answer, a foreign page that can make the
browser send the cookie does not (S29), and there is nothing of it to keep. Every look-up
reads the store, so an ended session is refused by the next request; `on_end` tells those who
hold something open for it (S31).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from attrs import field, frozen
from twisted.logger import Logger

from tlsgate.auth.appsessions import AppSessions, Limits
from tlsgate.auth.cookies import bucket_of, id_of, new_cookie, place_of
from tlsgate.auth.opaque import digest, pack, same, unpack
from tlsgate.core.keeping import ABSENT, Change, Delete, Event, Item, Put
from tlsgate.errors import Conflict
from tlsgate.interfaces import IStore, IWatch

__all__ = ["Limits", "NewSession", "Session", "Sessions", "bearer_of"]

#: Sessions of one user; one more ends the oldest.
PER_USER: Final = 32

_PREFIX = "sessions/"
_BEARER = b"tlsgate web bearer"

#: Logins that cross an `end_all` may make more than one page; so many pages are ended.
_ROUNDS = 8

#: A session's last use is written again after this part of the idle limit.
_FRESH = 1 / 10


@frozen(kw_only=True)
class NewSession:
    """A session that has been made; what it is known by is shown once."""

    id: str
    user: str
    cookie: str = field(repr=False)
    bearer: str = field(repr=False)
    expires: float


@frozen(kw_only=True)
class Session:
    """A session that a request has shown.

    Attributes:
        id: for `on_end` and audit events; lets nobody in.
        proved: the bearer was shown too; what changes anything asks for that.
        expires: when it ends if it is not used again.
    """

    id: str
    user: str
    proved: bool
    expires: float
    created: float
    address: str | None = None


class Sessions:
    """Makes, finds and ends sessions.

    Args:
        now: seconds since the epoch.

    Attributes:
        apps: the sessions at applications.
    """

    _log = Logger()

    def __init__(
        self, store: IStore, now: Callable[[], float], limits: Limits | None = None
    ) -> None:
        self._store = store
        self._now = now
        self._limits = Limits() if limits is None else limits
        #: Those at applications, which end with the session that they were begun from.
        self.apps = AppSessions(store, now, self._limits)
        self._watch: IWatch | None = None
        self._callbacks: dict[object, Callable[[str], None]] = {}

    def start(self) -> None:
        """Hear from now on which sessions end."""
        self.stop()
        self._watch = self._store.watch(_PREFIX, None, self._heard)

    def stop(self) -> None:
        """Hear no more; may be called again."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_end(self, callback: Callable[[str], None]) -> Callable[[], object]:
        """Call *callback* with the id of each session that has ended; give what ends that."""
        mine = object()
        self._callbacks[mine] = callback
        return partial(self._callbacks.pop, mine, None)

    async def make(self, user: str, address: str | None, *, pinned: bool = False) -> NewSession:
        """Begin a session of *user*, who has just logged in.

        Args:
            address: of the browser.
            pinned: the session is good from there only.
        """
        cookie, now = new_cookie(user), self._now()
        expires = self._end(now, now)
        value = {
            "user": user,
            "address": address,
            "pinned": pinned,
            "created": now,
            "used": now,
        }
        key = self.key_of(cookie)
        assert key is not None
        others = sorted(await self._of(user), key=lambda item: _created(item))
        changes: list[Change] = [Put(key, pack(value), ABSENT, expires)]
        changes += [Delete(item.key) for item in others[: max(0, len(others) + 1 - PER_USER)]]
        await self._store.commit(changes)
        return NewSession(
            id=id_of(key), user=user, cookie=cookie, bearer=bearer_of(cookie), expires=expires
        )

    async def find(
        self, cookie: str, bearer: str | None = None, address: str | None = None
    ) -> Session | None:
        """Give the session of *cookie*, and count this as a use; None: there is none.

        Args:
            bearer: None: the request has none; a wrong one finds nothing.
            address: of the browser, for sessions that are pinned to theirs.
        """
        key, now = self.key_of(cookie), self._now()
        if key is None:
            return None
        item = await self._store.get(key)
        if item is None:
            return None
        found = unpack("a session", item.value)
        expires = self._end(found["created"], found["used"])
        if expires <= now or found["used"] > now + self._limits.idle_seconds:
            return None
        if bearer is not None and not same(digest(bearer), digest(bearer_of(cookie))):
            return None
        if found["pinned"] and found["address"] != address:
            return None
        if now - found["used"] > self._limits.idle_seconds * _FRESH:
            expires = self._end(found["created"], now)
            try:
                await self._store.commit(
                    [Put(key, pack({**found, "used": now}), item.revision, expires)]
                )
            except Conflict:
                # Another request of it was faster, or it has just ended: look once more.
                if await self._store.get(key) is None:
                    return None
        return Session(
            id=id_of(key),
            user=found["user"],
            proved=bearer is not None,
            expires=expires,
            created=found["created"],
            address=found["address"],
        )

    async def end(self, cookie: str) -> str | None:
        """End the session of *cookie*, and all at applications that were begun from it.

        Gives its user, None where there was none.
        """
        key = self.key_of(cookie)
        if key is None:
            return None
        item = await self._store.get(key)
        if item is not None:
            await self._store.commit([Delete(key)])
        await self.apps.end_below(key)  # also of a login that was idle for too long
        return None if item is None else str(unpack("a session", item.value)["user"])

    async def end_at(self, key: str) -> int:
        """End the login at *key*, and what was begun from it; give how many there were."""
        item = await self._store.get(key)
        await self._store.commit([Delete(key)])
        return (item is not None) + await self.apps.end_below(key)

    def key_of(self, cookie: str) -> str | None:
        """Where the session of *cookie* would stand; None: it is no cookie."""
        return place_of(_PREFIX, cookie)

    async def end_all(self, user: str) -> int:
        """End every session of *user*, at applications too; give how many logins there were."""
        ended = 0
        for _ in range(_ROUNDS):
            keys = [item.key for item in await self._of(user)]
            if not keys:
                break
            await self._store.commit([Delete(key) for key in keys])
            ended += len(keys)
        await self.apps.end_all(user)
        return ended

    async def _of(self, user: str) -> list[Item]:
        """The sessions of *user*; at most a few more than `PER_USER`, for makes may cross."""
        items = await self._store.scan(f"{_PREFIX}{bucket_of(user)}/", "", 3 * PER_USER)
        return [item for item in items if unpack("a session", item.value)["user"] == user]

    def _end(self, created: float, used: float) -> float:
        limits = self._limits
        return float(min(created + limits.lifetime_seconds, used + limits.idle_seconds))

    def _heard(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.item is None:
                for callback in list(self._callbacks.values()):
                    try:
                        callback(id_of(event.key))
                    except Exception:  # the others must hear of it nevertheless
                        self._log.failure("the end of a session was not taken up")


def bearer_of(cookie: str) -> str:
    """Work out the bearer that goes with *cookie*."""
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), _BEARER, hashlib.sha256).hexdigest()


def _created(item: Item) -> float:
    return float(unpack("a session", item.value)["created"])
