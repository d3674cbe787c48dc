"""Web sessions at applications: each for one application, below the login that it came from.

1. The console, with the login's cookie and bearer, has a code made: for one application, one
   `state` of the browser's, once, within a minute (`begin`).
2. The application's own host turns it into a cookie of its own (`redeem`).
3. Each use shows that cookie, and everything that the session is bound to: the application,
   the client's certificate or that there was none, and the address where roles pin it (S31).
4. It ends with the login that it came from, by logging out here or there, or unused. The
   deletion of its key is what the cluster's watchers hear.

Nothing that lets in is kept: digests only, as of `sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from tlsgate.auth.cookies import bucket_of, id_of, new_cookie, place_of
from tlsgate.auth.opaque import digest, new_secret, pack, plausible, same, unpack
from tlsgate.core.keeping import ABSENT, Change, Check, Delete, Item, Put
from tlsgate.errors import BadToken, Conflict
from tlsgate.interfaces import IStore

PREFIX: Final = "appsessions/"
_CODES: Final = "appcodes/"

#: How long a code is good for.
CODE_SECONDS: Final = 60.0
#: Sessions of one user at applications; one more ends the oldest.
PER_USER: Final = 96

#: A session's last use is written again after this part of the idle limit.
_FRESH: Final = 1 / 10
#: Rounds against who uses the same login at the same moment.
_TRIES: Final = 4


@frozen(kw_only=True)
class Limits:
    """How long a session lasts, in seconds: unused, and at all."""

    idle_seconds: float = 1800.0
    lifetime_seconds: float = 12 * 3600.0


@frozen(kw_only=True)
class AppSession:
    """A session at an application.

    Attributes:
        id: what watchers hear when it has ended; lets nobody in.
        expires: when it ends if it is not used again.
        ends: when it ends in any case.
        cookie: where it has just been made, the once; else "".
    """

    id: str
    user: str
    app: str
    expires: float
    ends: float
    cookie: str = field(default="", repr=False)


class AppSessions:
    """Makes, finds and ends sessions at applications.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, store: IStore, now: Callable[[], float], limits: Limits) -> None:
        self._store = store
        self._now = now
        self._limits = limits

    async def begin(self, login: str, app: str, state: str) -> str:
        """Make a code for the application *app*.

        Args:
            login: the key of the login's session, which is there.
            state: what the browser began with; the code is good with it only.

        Raises:
            BadToken: the login has ended.
        """
        item = await self._store.get(login)
        if item is None:
            raise BadToken("session")
        code = new_secret()
        value = {"app": app, "state": digest(state), "login": login}
        place = _CODES + digest(code)
        await self._store.commit([Put(place, pack(value), ABSENT, self._now() + CODE_SECONDS)])
        return code

    async def redeem(
        self, code: str, app: str, state: str, address: str | None, certificate: str | None
    ) -> AppSession:
        """Use a code up and begin the session that it is for.

        Args:
            address: of the browser.
            certificate: SHA-256 of what it shows, in hex; None: it shows none.

        Raises:
            BadToken: the code is unknown, used, over, or for something else; never which.
        """
        place = _CODES + digest(code)
        item = await self._store.get(place) if plausible(code) else None
        if item is None:
            raise BadToken("code")
        try:
            await self._store.commit([Delete(place, item.revision)])
        except Conflict:
            raise BadToken("code") from None
        kept = unpack("a code", item.value)
        if (item.expires or 0.0) <= self._now():
            raise BadToken("code")
        if kept["app"] != app or not same(kept["state"], digest(state)):
            raise BadToken("code")
        for _ in range(_TRIES):
            login = await self._store.get(kept["login"])
            if login is None:
                break
            above = unpack("a session", login.value)
            if above["pinned"] and above["address"] != address:
                break
            try:
                return await self._make(login, above, app, address, certificate)
            except Conflict:
                continue
        raise BadToken("code")

    async def _make(
        self,
        login: Item,
        above: Mapping[str, Any],
        app: str,
        address: str | None,
        certificate: str | None,
    ) -> AppSession:
        user, now = str(above["user"]), self._now()
        cookie = new_cookie(user)
        key = place_of(PREFIX, cookie)
        assert key is not None
        value = {
            "user": user,
            "app": app,
            "login": login.key,
            "address": address,
            "pinned": above["pinned"],
            "certificate": certificate,
            # The login's: nobody is in for longer than a login lasts.
            "created": above["created"],
            "used": now,
        }
        expires = self._end(value)
        changes: list[Change] = [
            Check(login.key, login.revision),
            Put(key, pack(value), ABSENT, expires),
        ]
        others = sorted(await self._of(user), key=lambda item: item.revision)
        for old in others[: max(0, len(others) + 1 - PER_USER)]:
            changes.append(Delete(old.key))
        await self._store.commit(changes)
        return self._session(key, value, cookie=cookie)

    async def find(
        self, cookie: str, app: str, address: str | None, certificate: str | None
    ) -> AppSession | None:
        """Give the session of *cookie*, and count this as a use; None: there is none.

        Who shows another certificate, or none instead of one, has stolen the cookie (S31); so
        has who comes from elsewhere where roles pin.
        """
        key, now = place_of(PREFIX, cookie), self._now()
        item = None if key is None else await self._store.get(key)
        if item is None:
            return None
        found = unpack("a session", item.value)
        if self._end(found) <= now or found["app"] != app:
            return None
        if found["certificate"] != certificate:
            return None
        if found["pinned"] and found["address"] != address:
            return None
        if now - found["used"] > self._limits.idle_seconds * _FRESH:
            found = {**found, "used": now}
            try:
                await self._store.commit(
                    [Put(item.key, pack(found), item.revision, self._end(found))]
                )
            except Conflict:
                # Another request of it was faster, or it has just ended: look once more.
                if await self._store.get(item.key) is None:
                    return None
        return self._session(item.key, found)

    async def end(self, cookie: str) -> tuple[str, str] | None:
        """End the session of *cookie*; give its user and the key of its login.

        None: there was none. The login, and what else was begun from it, is the caller's.
        """
        key = place_of(PREFIX, cookie)
        item = None if key is None else await self._store.get(key)
        if item is None:
            return None
        found = unpack("a session", item.value)
        await self._store.commit([Delete(item.key)])
        return str(found["user"]), str(found["login"])

    async def end_below(self, login: str) -> int:
        """End what was begun from the session at the key *login*; give how many there were."""
        items = await self._in(login.split("/")[-2])
        return await self._end_these([one for one in items if _login(one) == login])

    async def end_all(self, user: str) -> int:
        """End every session of *user* at applications; give how many there were."""
        return await self._end_these(await self._of(user))

    async def _end_these(self, items: list[Item]) -> int:
        if items:
            await self._store.commit([Delete(item.key) for item in items])
        return len(items)

    async def _of(self, user: str) -> list[Item]:
        items = await self._in(bucket_of(user))
        return [item for item in items if unpack("a session", item.value)["user"] == user]

    async def _in(self, bucket: str) -> list[Item]:
        """Those of a bucket; as many as a commit changes, for makes may cross."""
        return list(await self._store.scan(f"{PREFIX}{bucket}/", "", PER_USER + 24))

    def _end(self, kept: Mapping[str, Any]) -> float:
        return float(min(self._last(kept), kept["used"] + self._limits.idle_seconds))

    def _last(self, kept: Mapping[str, Any]) -> float:
        return float(kept["created"] + self._limits.lifetime_seconds)

    def _session(self, key: str, kept: Mapping[str, Any], *, cookie: str = "") -> AppSession:
        return AppSession(
            id=id_of(key),
            user=kept["user"],
            app=kept["app"],
            expires=self._end(kept),
            ends=self._last(kept),
            cookie=cookie,
        )


def _login(item: Item) -> str:
    return str(unpack("a session", item.value)["login"])
