"""The auth service of this process: the store, what stands on it, and the API over all.

1. `start` opens the store, makes what a new cluster has (authorities, the preset roles),
   takes up what the configuration file says of the cluster, and puts the API together.
2. The door of the gateway beside it opens, and with it its watch.
3. `stop` closes the door first, then what follows the store, then the store; `finish` does
   so when what has been asked is answered.

A little over 400 lines: here is where all parts of the auth service are put together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

import tlsgate
from tlsgate.auth import moves, networking
from tlsgate.auth.api import Api
from tlsgate.auth.authorities import Authorities
from tlsgate.auth.gatewayreports import Reports
from tlsgate.auth.gateways import Gateways
from tlsgate.auth.inventory import Inventory
from tlsgate.auth.invites import Invites
from tlsgate.auth.issue import Issuer
from tlsgate.auth.ledger import Ledger
from tlsgate.auth.lockout import Lockout
from tlsgate.auth.locks import Locks
from tlsgate.auth.migration import Migration, Own
from tlsgate.auth.parts import Parts
from tlsgate.auth.passwords import Passwords
from tlsgate.auth.preference import Preference
from tlsgate.auth.presets import presets
from tlsgate.auth.resources import key_of, packed
from tlsgate.auth.seal import Seal
from tlsgate.auth.sessions import Sessions
from tlsgate.auth.tokens import StaticToken, Tokens, static_token
from tlsgate.auth.users import Users
from tlsgate.config.settings import Settings
from tlsgate.core.keeping import ABSENT, Put
from tlsgate.core.names import normal
from tlsgate.errors import BadName, BadResource, Conflict, StoreFailed
from tlsgate.interfaces import IStore
from tlsgate.service.audit import AuditLog
from tlsgate.service.door import LocalDoor
from tlsgate.service.trail import Trail
from tlsgate.store.sqlite import SqliteStore

#: Below the data directory.
STORE = "store"

#: How often a successor looks whether the store is free.
_LOOK_SECONDS = 0.05
#: How long what has been asked may take before the store is left to a successor.
_FINISH_SECONDS = 2.0

_log = Logger()


class AuthService:
    """One cluster's auth service.

    Args:
        settings: gives the settings in force.
        reactor: Twisted's.
        door: of the gateway beside it.
        audit: the trail.
        in_thread: see `service.local.InThread`.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        reactor: Any,
        door: LocalDoor,
        audit: AuditLog,
        in_thread: Callable[..., Deferred[Any]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._door = door
        self._audit = audit
        self._in_thread = in_thread
        self._now = now
        self._followers: list[Any] = []
        self._store: SqliteStore | None = None
        self.api: Api | None = None
        self._gateways: Gateways | None = None
        self._migration: Migration | None = None
        #: Called when gateways elsewhere are reached by other addresses than before.
        self.on_gateways: Callable[[], None] = lambda: None
        #: Sentences for the operator.
        self.remarks: Sequence[str] = ()

    async def start(self) -> Api:
        """Open everything.

        Raises:
            GateError: the store or the seal cannot be opened, or the file's part of the
                cluster's settings cannot be taken.
        """
        settings = self._settings()
        data_dir, cluster, now = settings.data_dir, settings.cluster_name, self._now
        reactor = self._reactor
        folder = data_dir / STORE
        seal = Seal.open(data_dir, fresh=_is_empty(folder))
        store = self._store = await self._in_thread(
            lambda: SqliteStore(folder, now=now, from_thread=reactor.callFromThread)
        )
        try:
            api = await self._put_together(store, seal, cluster, data_dir)
            self._door.open(api)
            return api
        except BaseException:
            self.stop()
            raise

    async def _put_together(
        self, store: SqliteStore, seal: Seal, cluster: str, data_dir: Path
    ) -> Api:
        now, settings = self._now, self._settings()
        authorities = Authorities(store, seal, now, cluster)
        await authorities.start()
        self._followers.append(authorities)
        await self._make_presets(store)
        remarks = list(await self._take_settings(store, settings))
        preference = Preference(store)
        await preference.start()
        self._followers.append(preference)
        one_factor = preference.one_factor
        passwords = Passwords(self._in_thread)
        invites = Invites(
            store, passwords, seal, now, issuer=cluster, unsafe_no_second_factor=one_factor
        )
        sessions = Sessions(store, now)
        sessions.start()
        self._followers.append(sessions)
        locks = Locks(store, now)
        await locks.start()
        self._followers.append(locks)
        gateways = Gateways(store, lambda: self._settings().public.web)
        await gateways.start()
        gateways.changed = lambda: self.on_gateways()
        self._gateways = gateways
        self._followers.append(gateways)
        tokens = Tokens(store, now, static=await self._static_tokens(settings))
        remarks += tokens.warnings
        users = Users(
            store,
            passwords,
            seal,
            now,
            self._audit,
            invites=invites,
            sessions=sessions,
            lockout=Lockout(store, now),
            locks=locks,
            unsafe_no_second_factor=one_factor,
        )
        ledger = Ledger()
        reports = Reports(store, ledger)
        await reports.start()
        moving = self._migration = Migration(
            store,
            reports,
            now,
            version=tlsgate.__version__,
            settle_seconds=lambda: self._settings().settle_seconds,
            file=lambda: str(self._settings().file),
            host=lambda: self._settings().node_name,
            own=self._own,
            seconds=self._reactor.seconds,
        )
        moving.told = self._tell_step
        await moving.start()
        self._followers.append(moving)
        inventory = Inventory()
        moving.agents = lambda: moves.agent_rows(inventory.rows(now()))
        moving.advise = lambda: self._advise(store)
        self.remarks = tuple(remarks)
        self.api = Api(
            Parts(
                store=store,
                users=users,
                tokens=tokens,
                locks=locks,
                sessions=sessions,
                authorities=authorities,
                issuer=Issuer(authorities, cluster, now),
                audit=self._audit,
                cluster=cluster,
                now=now,
                clock=self._reactor,
                version=tlsgate.__version__,
                public_addresses=lambda: (
                    *gateways.addresses(),
                    *self._settings().auth.public,
                ),
                gateways=gateways,
                inventory=inventory,
                ledger=ledger,
                reports=reports,
                migration=moving,
                audit_kept=self._audit.kept,
                audit_refuses=lambda: self._audit.refuses,
                trail=Trail(data_dir, self._in_thread),
                backup=self._backup,
                default_networking=self._default_networking,
                may_switch=self._may_switch,
            )
        )
        return self.api

    async def _advise(self, store: IStore) -> None:
        """Have all agents go where the mode wants them, those that could not before too."""
        await moves.advise(store, percent=100, labels={})

    async def _static_tokens(self, settings: Settings) -> Sequence[StaticToken]:
        """The join tokens of the configuration file, and of the files that it names.

        Raises:
            BadResource: one cannot be read.
        """
        found: list[StaticToken] = await self._in_thread(
            lambda: [static_token(_read_token(one)) for one in settings.auth.tokens]
        )
        return found

    async def _make_presets(self, store: SqliteStore) -> None:
        """Write each preset role once in a cluster's life: one that was deleted stays away."""
        if await store.get("presets") is not None:
            return
        changes = [Put(key_of("role", one.name), packed(one), ABSENT) for one in presets()]
        try:
            await store.commit([*changes, Put("presets", b"1", ABSENT)])
        except Conflict:
            _log.warn("roles named as presets are there already, and stay")
            await store.commit([Put("presets", b"1")])

    async def _take_settings(self, store: SqliteStore, settings: Settings) -> Sequence[str]:
        """Take up what the file says of the cluster; gives warnings."""
        change, warning = await networking.start(
            store, networking.NETWORKING, settings.networking, self._default_networking()
        )
        if change.changed:
            self._audit.emit("networking.update", networking.audited(change))
        _, other = await networking.start(store, networking.PREFERENCE, _preference(settings))
        return tuple(filter(None, (warning, other)))

    def _default_networking(self) -> dict[str, object]:
        """The mode of a cluster where nobody has set one depends on the file's version."""
        return {"proxy_listener_mode": self._settings().mode}

    def gateway_names(self) -> Sequence[str]:
        """Names under which gateways elsewhere pass on the TLS of our own protocols."""
        names: list[str] = []
        for one in () if self._gateways is None else self._gateways.addresses():
            with suppress(BadName):  # nobody asks for an address literal by name
                host = normal(one.rpartition(":")[0])
                names += [host, f"auth.{host}"]
        return list(dict.fromkeys(names))

    def _may_switch(self, old: str, new: str) -> Sequence[str]:
        """Who would break: nobody is told to use what nobody serves."""
        return () if self._migration is None else self._migration.may_switch(old, new)

    def _own(self) -> Own | None:
        """The gateway of this process and its workers, which does what our settings say."""
        settings = self._settings()
        if not settings.proxy_enabled:
            return None
        return Own(
            gateway=settings.node_name,
            listeners=tuple(listener.name for listener in settings.listeners),
        )

    def _tell_step(self, fields: Mapping[str, object], success: bool) -> None:
        told = {"cluster_name": self._settings().cluster_name, "success": success, **fields}
        self._audit.emit("migration.end", told)

    async def foresee(self, settings: Settings) -> dict[str, Any] | None:
        """What *settings* would make of the cluster's mode, in JSON types; None: not started.

        Returns:
            next_mode; mode_age_seconds, of the mode as it is (None: never another one); why, the
            sentences of `may_follow`.

        Raises:
            StoreFailed: nobody can know.
        """
        if self.api is None or self._migration is None:
            return None
        return {
            "next_mode": await self.next_mode(settings),
            "mode_age_seconds": self._migration.mode_age,
            "why": list(await self.may_follow(settings)),
        }

    async def may_follow(self, settings: Settings) -> tuple[str, ...]:
        """Why the cluster may not be told the mode of *settings*, a sentence each; (): it may.

        For a reload: the gateway of this process is taken as those settings make it.

        Raises:
            StoreFailed: nobody can know.
        """
        if self._store is None or self._migration is None:
            return ()
        mode = await self.next_mode(settings)
        if mode == self._migration.mode:
            return ()
        own = tuple(listener.name for listener in settings.listeners)
        return tuple(self._migration.may_switch_with(own, mode))

    async def next_mode(self, settings: Settings) -> str:
        """The mode of the cluster once *settings* are taken.

        Raises:
            StoreFailed: nobody can know.
        """
        assert self._store is not None
        return await networking.mode_after(
            self._store, settings.networking, {"proxy_listener_mode": settings.mode}
        )

    async def start_after(self, seconds: float) -> None:
        """Start once another process has left the store, within *seconds*.

        Raises:
            GateError: as `start`; the store is not left.
        """
        until = self._reactor.seconds() + seconds
        while True:
            try:
                await self.start()
            except StoreFailed:
                if self._reactor.seconds() >= until:
                    raise
                await deferLater(self._reactor, _LOOK_SECONDS)
            else:
                return

    async def follow(self) -> None:
        """Take up new settings after a reload.

        Raises:
            GateError: the store fails.
        """
        if self._store is not None:
            for warning in await self._take_settings(self._store, self._settings()):
                _log.warn("{text}", text=warning)

    async def _backup(self, file: str) -> tuple[int, int]:
        assert self._store is not None
        made = await self._store.backup(Path(file))
        return made.revision, made.size_bytes

    async def finish(self) -> None:
        """Another process takes our place: answer what has been asked, and close everything.

        What takes too long is told that the store is closed.
        """
        if (api := self.api) is not None:
            api.end()
            self._door.hand_over()
            until = self._reactor.seconds() + _FINISH_SECONDS
            while api.running and self._reactor.seconds() < until:
                await deferLater(self._reactor, _LOOK_SECONDS)
        self.stop()

    def stop(self) -> None:
        """Close everything; the store last."""
        api, self.api = self.api, None
        if api is not None:
            api.end()
        self._door.close()
        for one in reversed(self._followers):
            one.stop()
        self._followers.clear()
        if self._store is not None:
            self._store.stop()
            self._store = None


def _is_empty(folder: Path) -> bool:
    """Whether there is no store yet.

    Raises:
        StoreFailed: nobody can know.
    """
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError as e:
        raise StoreFailed(f"{folder}: {e.strerror or 'cannot be read'}") from e


def _preference(settings: Settings) -> Mapping[str, object] | None:
    """What the file says of how people log in and are locked out; None: nothing."""
    mode, factor = settings.auth.locking_mode, settings.authentication.get("second_factor")
    said: dict[str, object] = {} if mode is None else {"locking_mode": mode}
    if factor == "off":
        said |= {"second_factor": "off", "unsafe_second_factor_off": True}
    elif factor is not None:  # whatever it is called: one-time codes are what is served
        said["second_factor"] = "otp"
    return said or None


def _read_token(written: str) -> str:
    """A static join token as it is, or out of the file that stands in its place.

    Raises:
        BadResource: the file cannot be read.
    """
    types, _, secret = ("", "", written) if written.startswith("/") else written.partition(":")
    if not secret.startswith("/"):
        return written
    try:
        text = Path(secret).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is no text"
        raise BadResource([("auth_service.tokens", f"{secret}: {why}")]) from e
    return f"{types}:{text}" if types else text
