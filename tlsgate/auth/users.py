"""Local users: their resource, their links, and what is told of their logins.

How a login is checked is in `logins`; this module says who may try, writes the audit trail,
and puts resource, credentials, links and sessions of a user together. A little over 400 lines:
what changes one of these four has to reach the others, and they are seen here at once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from tlsgate.auth.credentials import (
    NAME,
    Credentials,
    ISealer,
    credentials_of,
    secret_key,
    user_key,
)
from tlsgate.auth.invites import DEVICE, Accepted, Begun, Invite, Invites
from tlsgate.auth.lockout import Lockout
from tlsgate.auth.locks import Locks
from tlsgate.auth.logins import Logins, Refused, Shown
from tlsgate.auth.opaque import LONGEST, pack, unpack
from tlsgate.auth.passwords import Passwords, check_password
from tlsgate.auth.sessions import Sessions
from tlsgate.core.keeping import ABSENT, Change, Check, Delete, Item, Put
from tlsgate.core.roles import Person
from tlsgate.errors import (
    BadResource,
    Conflict,
    Exists,
    GateError,
    Locked,
    LoginFailed,
    NoSuch,
)
from tlsgate.interfaces import IAudit, IStore

_ROLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,63}")

#: Rounds against others who change the same user.
_TRIES = 16

_BAD_NAME = (
    "metadata.name",
    "1 to 64 letters, digits and . _ @ + -, beginning with a letter or a digit",
)

_ROLES, _TRAITS, _VALUES, _WORD = 64, 64, 256, 256


@frozen(kw_only=True)
class DeviceLine:
    """A second factor as its user may see it."""

    name: str
    type: str
    added: float
    last_used: float | None


class Users:
    """Adds, checks and changes users.

    Args:
        now: seconds since the epoch.
        locks: who is shut out although the password is right; None: nobody.
        unsafe_no_second_factor: whether a password alone is enough, now.
    """

    def __init__(
        self,
        store: IStore,
        passwords: Passwords,
        seal: ISealer,
        now: Callable[[], float],
        audit: IAudit,
        *,
        invites: Invites,
        sessions: Sessions,
        lockout: Lockout,
        locks: Locks | None = None,
        unsafe_no_second_factor: Callable[[], bool] = bool,
    ) -> None:
        self._store = store
        self._now = now
        self._audit = audit
        self._invites = invites
        self._sessions = sessions
        self._locks = locks
        self._one_factor = unsafe_no_second_factor
        self._logins = Logins(
            store,
            passwords,
            seal,
            now,
            lockout,
            unsafe_no_second_factor=unsafe_no_second_factor,
        )

    # -- the resource ----------------------------------------------------------------------

    async def get(self, name: str) -> Person | None:
        """Give the user *name* with its roles and traits; None: there is none."""
        if NAME.fullmatch(name) is None:
            return None
        item = await self._store.get(user_key(name))
        return None if item is None else _person(name, item)

    async def add(
        self,
        name: str,
        roles: Sequence[str],
        traits: Mapping[str, Sequence[str]] | None = None,
        *,
        ttl_seconds: float | None = None,
    ) -> Invite:
        """Make a user without a password, and the link by which to choose one.

        Raises:
            BadResource: the name, a role or a trait cannot be taken.
            Exists: there is a user of this name.
            BadAsk: the link's life cannot be taken.
        """
        resource = await self._resource(name, roles, traits or {})
        # A user whose resource has ended by itself may have left secrets: they end here.
        left = await credentials_of(self._store, name)
        fresh = Credentials()
        if left is not None:
            fresh = Credentials(revision=left.revision)
            await self._sessions.end_all(name)
        invite, changes = self._invites.make(name, "invite", ttl_seconds, fresh)
        try:
            await self._store.commit([Put(user_key(name), pack(resource), ABSENT), *changes])
        except Conflict:
            raise Exists("user", name) from None
        return invite

    async def clearing(self, name: str) -> list[Change]:
        """Make room for a new user of this name, who must not have what an earlier one had.

        A user whose resource has ended by itself may have left a password, a link and
        sessions. The sessions end here.

        Returns:
            What has to be committed together with the new resource.

        Raises:
            BadResource: no user can have this name.
        """
        if NAME.fullmatch(name) is None:
            raise BadResource([_BAD_NAME])
        left = await credentials_of(self._store, name)
        if left is None:
            return [Check(secret_key(name), ABSENT)]
        await self._sessions.end_all(name)
        link = [] if left.link is None else [Delete(f"invites/{left.link}")]
        return [Delete(secret_key(name), left.revision), *link]

    async def update(
        self,
        name: str,
        *,
        roles: Sequence[str] | None = None,
        traits: Mapping[str, Sequence[str]] | None = None,
    ) -> Person:
        """Change the roles of a user, and those traits that are named.

        Raises:
            NoSuch: there is no such user.
            BadResource: a role or a trait cannot be taken.
            Conflict: others change the user all the time.
        """
        for _ in range(_TRIES):
            item = await self._item(name)
            old = _person(name, item)
            new = await self._resource(
                name,
                old.roles if roles is None else roles,
                {**old.traits, **({} if traits is None else traits)},
            )
            whole = unpack(item.key, item.value)
            whole["spec"] = {**whole.get("spec", {}), **new["spec"]}
            change = Put(item.key, pack(whole), item.revision, item.expires)
            try:
                await self._store.commit([change])
            except Conflict:
                continue
            return Person(
                name=name,
                roles=tuple(new["spec"]["roles"]),
                traits={key: tuple(values) for key, values in new["spec"]["traits"].items()},
            )
        raise Conflict(user_key(name))

    async def remove(self, name: str) -> None:
        """Remove a user with everything that proves it, and end its sessions.

        Certificates that are out stay valid to their end; a lock ends those.

        Raises:
            NoSuch: there is no such user.
        """
        for _ in range(_TRIES):
            item = await self._item(name)
            credentials = await credentials_of(self._store, name)
            changes: list[Change] = [Delete(item.key, item.revision)]
            if credentials is not None:
                changes.append(Delete(secret_key(name), credentials.revision))
                if credentials.link is not None:
                    changes.append(Delete(f"invites/{credentials.link}"))
            try:
                await self._store.commit(changes)
            except Conflict:
                continue
            await self._sessions.end_all(name)
            return
        raise Conflict(user_key(name))

    async def reset(self, name: str, *, ttl_seconds: float | None = None) -> Invite:
        """Make a link by which the user chooses a new password and authenticator.

        What the user has now stays good until the link is accepted; failed logins are
        forgotten at once.

        Raises:
            NoSuch: there is no such user.
            BadAsk: the link's life cannot be taken.
        """
        for _ in range(_TRIES):
            item = await self._item(name)
            old = await credentials_of(self._store, name) or Credentials()
            fresh = evolve(old, epoch=secrets.token_hex(8))
            invite, changes = self._invites.make(name, "reset", ttl_seconds, fresh)
            try:
                await self._store.commit([Check(item.key, item.revision), *changes])
            except Conflict:
                continue
            return invite
        raise Conflict(user_key(name))

    # -- links -----------------------------------------------------------------------------

    async def begin_invite(self, token: str) -> Begun:
        """See `Invites.begin`."""
        return await self._invites.begin(token)

    async def accept_invite(self, token: str, password: str, code: str | None) -> Accepted:
        """Take a link; see `Invites.accept`. Whoever was logged in by the old password is not."""
        accepted = await self._invites.accept(token, password, code)
        await self._sessions.end_all(accepted.user)
        self._audit.emit("user.password_change", {"user": accepted.user, "success": True})
        if not self._one_factor():
            self._audit.emit(
                "mfa.add", {"user": accepted.user, "success": True, "mfa_device": DEVICE}
            )
        return accepted

    # -- logins ----------------------------------------------------------------------------

    async def check(
        self, name: str, password: str, code: str | None, address: str | None
    ) -> Person:
        """Log somebody in.

        Args:
            code: of the authenticator; None: none was given.
            address: of the client.

        Raises:
            LoginFailed: the name, the password or the code is wrong; never which.
            LockedOut: there were too many of those.
            Locked: all is right, and a lock is in force.
            Unreachable: too many are logging in; asking again may help.
        """
        proven = await self._logins.prove(
            Shown(name=name, password=password, code=code or "", address=address)
        )
        if isinstance(proven, Refused):
            raise self._refused("user.login", name, address, proven)
        person = _person(name, proven)
        lock = None if self._locks is None else self._locks.matches(person)
        if lock is not None:
            locked = Locked(name, lock.message)
            self._emit("user.login", name, address, locked)
            raise locked
        self._emit("user.login", name, address, None)
        return person

    async def change_password(
        self, name: str, old: str, new: str, code: str | None, address: str | None
    ) -> None:
        """Change the password of a user who proves to be it, and end its web sessions.

        Raises:
            WeakPassword: the new one is not taken.
            LoginFailed: the old one or the code is wrong.
            LockedOut, Unreachable: as `check`.
        """
        check_password(new, name)
        proven = await self._logins.prove(
            Shown(name=name, password=old, code=code or "", address=address), new
        )
        if isinstance(proven, Refused):
            raise self._refused("user.password_change", name, address, proven)
        await self._sessions.end_all(name)
        self._emit("user.password_change", name, address, None)

    async def renew(
        self,
        name: str,
        password: str,
        code: str | None,
        address: str | None,
        *,
        ttl_seconds: float | None = None,
    ) -> Invite:
        """Make the link of `reset` for a user who proves to be it.

        Raises:
            LoginFailed: the password or the code is wrong.
            LockedOut, Unreachable: as `check`.
            NoSuch, BadAsk: as `reset`.
        """
        event = "reset_password_token.create"
        proven = await self._logins.prove(
            Shown(name=name, password=password, code=code or "", address=address)
        )
        if isinstance(proven, Refused):
            raise self._refused(event, name, address, proven)
        invite = await self.reset(name, ttl_seconds=ttl_seconds)
        self._emit(event, name, address, None, {"name": name, "expires": invite.expires})
        return invite

    async def devices(self, name: str) -> Sequence[DeviceLine]:
        """List the second factors of a user.

        Raises:
            NoSuch: there is no such user.
        """
        await self._item(name)
        credentials = await credentials_of(self._store, name) or Credentials()
        return [
            DeviceLine(name=each.name, type=each.type, added=each.added, last_used=each.last_used)
            for each in credentials.devices
        ]

    # -- the rest --------------------------------------------------------------------------

    async def _item(self, name: str) -> Item:
        item = await self._store.get(user_key(name)) if NAME.fullmatch(name) else None
        if item is None:
            raise NoSuch("user", name[:64])
        return item

    async def _resource(
        self, name: str, roles: Sequence[str], traits: Mapping[str, Sequence[str]]
    ) -> dict[str, Any]:
        problems = _problems(name, roles, traits)
        if not problems:
            for role in roles:
                if await self._store.get(f"roles/{role}") is None:
                    problems.append(("spec.roles", f"there is no role {role!r}"))
        if problems:
            raise BadResource(problems)
        return {
            "kind": "user",
            "version": "v2",
            "metadata": {"name": name},
            "spec": {
                "roles": list(dict.fromkeys(roles)),
                "traits": {key: list(values) for key, values in traits.items() if values},
            },
        }

    def _refused(self, event: str, name: str, address: str | None, refused: Refused) -> LoginFailed:
        """Tell the audit trail what who asks is not told, and give what is."""
        error = LoginFailed()
        more: dict[str, object] = {}
        if not refused.known:
            more["tried"] = _masked(name)
        if refused.wait_seconds:
            more["wait_seconds"] = refused.wait_seconds
        self._emit(event, name if refused.known else "", address, error, more)
        return error

    def _emit(
        self,
        event: str,
        name: str,
        address: str | None,
        error: GateError | None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        fields: dict[str, object] = {
            "user": name,
            "success": error is None,
            "method": "local",
            **(more or {}),
        }
        if error is not None:
            fields["error"] = str(error)
        if address is not None:
            fields["addr.remote"] = address[:64]
        self._audit.emit(event, fields)


def _masked(name: str) -> str:
    """What is told of a name that no user has: it may be a password in the wrong field."""
    start = name[:2] if name[:2].isascii() and name[:2].isalnum() else ""
    return f"{start}… ({min(len(name), LONGEST)} characters)"


def _person(name: str, item: Item) -> Person:
    spec = unpack(item.key, item.value).get("spec") or {}
    return Person(
        name=name,
        roles=tuple(spec.get("roles") or ()),
        traits={key: tuple(values) for key, values in (spec.get("traits") or {}).items()},
    )


def _problems(
    name: str, roles: Sequence[str], traits: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    found = []
    if NAME.fullmatch(name) is None:
        found.append(_BAD_NAME)
    if not 1 <= len(roles) <= _ROLES:
        found.append(("spec.roles", f"needs 1 to {_ROLES} roles"))
    if any(_ROLE.fullmatch(role) is None for role in roles):
        found.append(("spec.roles", "a name has letters, digits and _ . @ + = -, 64 at most"))
    if len(traits) > _TRAITS or any(
        not key
        or len(key) > _WORD
        or len(values) > _VALUES
        or any(not value or len(value) > _WORD for value in values)
        for key, values in traits.items()
    ):
        found.append(
            ("spec.traits", f"at most {_TRAITS}, each with {_VALUES} values of {_WORD} characters")
        )
    return found
