"""What a watcher of the API hears: the whole state, then each change, then that we live.

1. A snapshot is taken at a revision and told first. One who comes back with the revision of
   the last line that it heard is spared it, where the store still knows what came after.
2. Each change of a role, a lock, a user, an authority or a setting of the cluster is one
   line, in the order of revisions, none lost and none twice. Of users the roles and traits
   are told, to hosts alone: these decide by them. To gateways the end of each web session at
   an application is told as well, by its id.
3. Every 15 seconds something is said, so that silence means trouble.
4. A lock on the watcher itself, or its certificate's end, ends the watch with a last line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.auth import moves, networking, resources
from tlsgate.auth.appsessions import PREFIX as SESSIONS
from tlsgate.auth.authorities import PREFIX as AUTHORITIES
from tlsgate.auth.cookies import id_of
from tlsgate.auth.feed import Feed
from tlsgate.auth.kinds import KINDS, as_json, defaults
from tlsgate.auth.parts import Parts
from tlsgate.auth.principal import GATEWAY, Principal
from tlsgate.auth.rights import rights_of
from tlsgate.core.keeping import Event, Item
from tlsgate.errors import Compacted, Forbidden, GateError
from tlsgate.interfaces import IWatch

#: How long nothing may be said.
ALIVE_SECONDS: Final = 15.0

Heard = Callable[[Mapping[str, Any]], None]

_MOVES: Final = moves.KEY
_SINGLE: Final = {
    resources.PREFIXES[kind]: kind for kind in (networking.NETWORKING, networking.PREFERENCE)
}
_USERS: Final = resources.PREFIXES["user"]
_MANY: Final = {resources.PREFIXES[kind]: kind for kind in ("role", "lock")}
#: Where what is told stands, beside the settings.
_TOLD: Final = (AUTHORITIES, _USERS, *_MANY)


@implementer(IWatch)
class StateWatch:
    """One watcher.

    Args:
        since: the revision that it knows; None: none.
        heard: takes each line; never called from within this call.
        feed: what it has in common with the others.
    """

    log = Logger()

    def __init__(
        self, parts: Parts, principal: Principal, since: int | None, heard: Heard, feed: Feed
    ) -> None:
        self._parts = parts
        self._feed = feed
        #: Heard before the snapshot is told; None: it has been told.
        self._early: list[Event] | None = []
        self._following = False
        self._principal = principal
        self._heard = heard
        self._over = False
        self._revision = since or 0
        self._watch: IWatch | None = None
        self._alive: IDelayedCall | None = None
        self._start: IDelayedCall | None = parts.clock.callLater(0, self._begin, since)

    def stop(self) -> None:
        self._over = True
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        for call in (self._alive, self._start):
            if call is not None and call.active():
                call.cancel()
        self._alive = self._start = None

    def _begin(self, since: int | None) -> None:
        beginning = Deferred.fromCoroutine(self._run(since))
        beginning.addErrback(self._fail)

    async def _run(self, since: int | None) -> None:
        await rights_of(self._principal, self._parts)
        if self._principal.kind not in ("host", "local"):
            raise Forbidden(str(self._principal), "watch", "this is for hosts of the cluster")
        if since is not None and since <= await self._parts.store.revision():
            try:
                self._early = None
                self._follow(since)
            except Compacted:
                self._early = []
            else:
                self._say_alive()
                return
        if self._over:
            return
        self._watch = following = self._feed.follow(self._changed)
        self._following = True
        revision, snapshot = await self._feed.snapshot(following, self._hears_users)
        self._revision = revision
        self._tell(snapshot)
        self._rest()
        early, self._early = self._early or [], None
        self._changed([event for event in early if event.revision > revision])

    @property
    def _hears_users(self) -> bool:
        return self._principal.kind == "host"

    @property
    def _hears_sessions(self) -> bool:
        return self._principal.kind == "host" and GATEWAY in self._principal.system_roles

    def _follow(self, revision: int) -> None:
        if not self._over:
            self._watch = self._parts.store.watch("", revision, self._changed)

    def _changed(self, events: Sequence[Event]) -> None:
        if self._early is not None:
            self._early += events
            return
        for event in events:
            if self._over:
                return
            self._revision = max(self._revision, event.revision)
            if event.key.startswith(AUTHORITIES):
                self._authority_changed(event)
                continue
            if event.key.startswith(_USERS) and not self._hears_users:
                continue
            if event.key.startswith(SESSIONS) and not self._hears_sessions:
                continue
            try:
                line = self._feed.line(event, partial(_told, event))
            except GateError:  # nobody can go on without what cannot be read
                self._fail(Failure())
                return
            if line is not None:
                self._tell(line)
                if line["resource_kind"] == "lock":
                    self._check_own()

    def _authority_changed(self, event: Event) -> None:
        name = event.key.removeprefix(AUTHORITIES)
        public = self._parts.authorities.public().get(name)
        if public is None or public["revision"] < event.revision:
            # Its owner reads it again; what it says then is told under its own revision.
            self._parts.clock.callLater(0, self._authority, name, event.revision, _ROUNDS)
        else:
            self._tell(_event(event.revision, "cert_authority", name, public))

    def _authority(self, name: str, revision: int, rounds: int) -> None:
        """Tell of an authority when what this process knows of it is new enough."""
        if self._over:
            return
        public = self._parts.authorities.public().get(name)
        if rounds and (public is None or public["revision"] < revision):
            again = (name, revision, rounds - 1)
            self._parts.clock.callLater(_ROUND_SECONDS, self._authority, *again)
            return
        if public is None:  # of a type that a newer version has
            return
        self._tell(_event(self._revision, "cert_authority", name, public))

    def _check_own(self) -> None:
        """End the watch of one who may not watch any more."""
        checking = Deferred.fromCoroutine(rights_of(self._principal, self._parts))
        checking.addErrback(self._fail)

    def _say_alive(self) -> None:
        if self._following:  # which hears less than there is
            self._revision = max(self._revision, self._feed.revision)
        self._tell({"kind": "alive", "revision": self._revision})
        self._check_own()
        self._rest()

    def _rest(self) -> None:
        if not self._over:
            self._alive = self._parts.clock.callLater(ALIVE_SECONDS, self._say_alive)

    def _tell(self, line: Mapping[str, Any]) -> None:
        if not self._over:
            self._heard(line)

    def _fail(self, failure: Failure) -> None:
        """Say the last line."""
        error = failure.value
        if self._over:
            return
        if not isinstance(error, GateError):
            self.log.failure("api: a watch failed", failure=failure)
        reason = error.reason if isinstance(error, GateError) else "error"
        message = str(error) if isinstance(error, GateError) else "a bug of tlsgate"
        heard = self._heard
        self.stop()
        heard({"kind": "end", "reason": reason, "message": message})


#: How long an authority's owner has to read what has changed: 50 rounds of 20 ms.
_ROUNDS = 50
_ROUND_SECONDS = 0.02


def feed_of(parts: Parts) -> Feed:
    """What all watchers of a cluster have in common."""

    async def snapshot(revision: int, people: bool) -> dict[str, Any]:
        store = parts.store
        users: dict[str, Any] = {}
        if people:
            users["users"] = [_person(one) async for one in resources.all_of(store, _USERS)]
        setting = await networking.current(store, networking.NETWORKING)
        preference = await networking.current(store, networking.PREFERENCE)
        return {
            "kind": "snapshot",
            "revision": revision,
            "cluster": parts.cluster,
            "authorities": await _authorities(parts),
            "roles": [_line(one) async for one in resources.all_of(store, "roles/")],
            "locks": [_line(one) async for one in resources.all_of(store, "locks/")],
            "networking": as_json(setting),
            "auth_preference": as_json(preference),
            "moves": _advice(await store.get(_MOVES)),
            **users,
        }

    return Feed(parts.store, snapshot, _matters)


async def _authorities(parts: Parts) -> Mapping[str, Any]:
    """What is told of authorities, not older than what the store has now.

    Their owner hears of a change as watchers do: who begins in between would miss it.
    """
    for left in reversed(range(_ROUNDS)):
        public = parts.authorities.public()
        items = await parts.store.scan(AUTHORITIES)
        named = {item.key.removeprefix(AUTHORITIES): item.revision for item in items}
        if all(one["revision"] >= named.get(name, 0) for name, one in public.items()):
            break
        if left:
            await deferLater(parts.clock, _ROUND_SECONDS)
    return public


def _matters(event: Event) -> bool:
    key = event.key
    return key in _SINGLE or key == _MOVES or key.startswith(_TOLD) or _ends_a_session(event)


def _ends_a_session(event: Event) -> bool:
    return event.item is None and event.key.startswith(SESSIONS)


def _told(event: Event) -> dict[str, Any] | None:
    """What a watcher gets to hear of a change; None: nothing."""
    key, item = event.key, event.item
    if key in _SINGLE:
        kind = _SINGLE[key]
        name = KINDS[kind].singleton or key
        resource = _line(item) if item else as_json(defaults(kind))
        return _event(event.revision, kind, name, resource)
    if key == _MOVES:
        return _event(event.revision, "agent_moves", moves.NAME, _advice(item))
    if key.startswith(_USERS):
        name = key.removeprefix(_USERS)
        if item is None:
            return _event(event.revision, "user", name, None)
        told = _person(item)
        person = {"metadata": {"name": told.pop("name")}, "spec": told}
        return _event(event.revision, "user", name, person)
    if _ends_a_session(event):
        return _event(event.revision, "app_session", id_of(key), None)
    for prefix, kind in _MANY.items():
        if key.startswith(prefix):
            line = None if item is None else _line(item)
            return _event(event.revision, kind, key.removeprefix(prefix), line)
    return None


def _advice(item: Item | None) -> dict[str, Any] | None:
    return None if item is None else moves.advice_in(item.value).told()


def _event(revision: int, kind: str, name: str, resource: Any) -> dict[str, Any]:
    line = {"kind": "event", "revision": revision, "resource_kind": kind}
    return {**line, "name": name, "resource": resource}


def _person(item: Item) -> dict[str, Any]:
    """A user, as far as hosts need to know: nothing but what a certificate says too."""
    person = resources.person_in(item)
    traits = {key: list(values) for key, values in person.traits.items()}
    return {"name": person.name, "roles": list(person.roles), "traits": traits}


def _line(item: Item) -> dict[str, Any]:
    """A resource as a watcher gets it; a lock's end is a number, as clocks are compared."""
    resource = resources.shown(item)
    if resource.get("kind") == "lock":
        resource["spec"] = {**resource.get("spec", {}), "expires": item.expires}
    return resource
