"""Local users: their resource, and the check of a login.

A login goes this way, and so does the change of a password:

1. The name, the address and what the store knows of both are asked for a wait (`lockout`).
2. The password is hashed and the one-time code compared, whoever is asked for: a name that
   no user has is checked against a nobody that nothing matches, in the same steps (S43).
3. A failure is counted, and answered in the same words whatever failed.
4. A success marks the code's step as used, by compare-and-swap on what was read in 2: of two
   logins with one code, one succeeds. The same commit fails when the user was changed or
   removed meanwhile.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from tlsgate.auth import otp
from tlsgate.auth.credentials import (
    Credentials,
    Device,
    ISealer,
    credentials_of,
    otp_name,
    put,
    read,
    secret_key,
    user_key,
)
from tlsgate.auth.invites import DEVICE, Accepted, Begun, Invite, Invites
from tlsgate.auth.lockout import Attempt, Lockout, network
from tlsgate.auth.locks import Locks
from tlsgate.auth.opaque import LONGEST, pack, unpack
from tlsgate.auth.passwords import Passwords, check_password
from tlsgate.auth.reads import read_all
from tlsgate.auth.sessions import Sessions
from tlsgate.core.keeping import ABSENT, Change, Check, Delete, Item, Put
from tlsgate.core.roles import Person
from tlsgate.errors import (
    BadResource,
    Conflict,
    Exists,
    GateError,
    Locked,
    LockedOut,
    LoginFailed,
    NoSuch,
)
from tlsgate.interfaces import IAudit, IStore

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

_ROLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+=-]{0,63}")

#: Rounds against others who change the same user.
_TRIES = 16

_ROLES, _TRAITS, _VALUES, _WORD = 64, 64, 256, 256


@frozen(kw_only=True)
class DeviceLine:
    """A second factor as its user may see it."""

    name: str
    type: str
    added: float
    last_used: float | None


@frozen(kw_only=True)
class _Asked:
    """One who wants to log in, as far as the store knows the name."""

    name: str
    item: Item | None
    credentials: Credentials


class Users:
    """Adds, checks and changes users.

    Args:
        now: seconds since the epoch.
        locks: who is shut out although the password is right; None: nobody.
        unsafe_no_second_factor: let in by a password alone.
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
        unsafe_no_second_factor: bool = False,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._seal = seal
        self._now = now
        self._audit = audit
        self._invites = invites
        self._sessions = sessions
        self._lockout = lockout
        self._locks = locks
        self._one_factor = unsafe_no_second_factor
        # Nobody: read, opened and compared like a user, and matched by nothing.
        sealed = seal.close(otp_name(""), otp.new_otp_secret())
        device = Device(name=DEVICE, sealed=sealed, step=1 << 62, added=0.0)
        self._nobody = Credentials(devices=(device,), epoch="")

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
        fresh = Credentials() if left is None else Credentials(revision=left.revision)
        invite, changes = self._invites.make(name, "invite", ttl_seconds, fresh)
        try:
            await self._store.commit([Put(user_key(name), pack(resource), ABSENT), *changes])
        except Conflict:
            raise Exists("user", name) from None
        return invite

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
        if not self._one_factor:
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
        try:
            person = await self._proven(name, password, code, address, None)
            self._refuse_locked(person)
        except (LoginFailed, Locked) as e:
            known = await self.get(name) is not None
            self._log_in(name if known else "", address, e, "" if known else _masked(name))
            raise
        self._log_in(name, address, None)
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
        try:
            await self._proven(name, old, code, address, new)
        except LoginFailed as e:
            self._emit("user.password_change", name, address, e)
            raise
        await self._sessions.end_all(name)
        self._emit("user.password_change", name, address, None)

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

    async def _proven(
        self, name: str, password: str, code: str | None, address: str | None, new: str | None
    ) -> Person:
        """Check all that a user has to show; then the password is *new*, unless that is None."""
        asked, place = await self._asked(name), network(address)
        familiar = asked.credentials.familiar(place, self._now())
        attempt = await self._lockout.admit(
            name[:LONGEST], address, familiar=familiar, epoch=asked.credentials.epoch
        )
        try:
            return await self._attempt(attempt, asked, password, code or "", place, new)
        finally:
            self._lockout.done(attempt)

    async def _attempt(
        self,
        attempt: Attempt,
        asked: _Asked,
        password: str,
        code: str,
        place: str,
        new: str | None,
    ) -> Person:
        right = await self._passwords.verify(asked.credentials.password, password)
        # Both are always worked out: which of them is wrong must not show.
        device, step = self._matched(asked, code)
        if not right or asked.item is None or (step is None and not self._one_factor):
            await self._lockout.failed(attempt)
            raise LoginFailed
        renewed = None
        if new is not None:
            renewed = await self._passwords.hash(new)
        elif self._passwords.outdated(asked.credentials.password or ""):
            renewed = await self._passwords.hash(password)
        if not await self._used(asked, device, step, place, renewed):
            await self._lockout.failed(attempt)
            raise LoginFailed
        await self._lockout.passed(attempt)
        return _person(asked.name, asked.item)

    def _matched(self, asked: _Asked, code: str) -> tuple[Device | None, int | None]:
        """The authenticator that *code* is of, and its step."""
        found: tuple[Device | None, int | None] = (None, None)
        # A user without one, who has not accepted the invite yet, costs as much as nobody.
        own = asked.credentials.devices if asked.item is not None else ()
        for device in own or self._nobody.devices:
            secret = self._seal.open(otp_name(asked.name if own else ""), device.sealed)
            step = otp.match(secret, code, self._now(), device.step)
            if step is not None and own:
                found = device, step
        return found

    async def _used(
        self,
        asked: _Asked,
        device: Device | None,
        step: int | None,
        place: str,
        renewed: str | None,
    ) -> bool:
        """Keep that the code was used; False when it was, or the user has changed, meanwhile."""
        assert asked.item is not None
        now, kept = self._now(), asked.credentials
        for _ in range(_TRIES):
            new = kept.remembered(place, now)
            if device is not None and step is not None:
                mine = [d for d in kept.devices if d.sealed == device.sealed and d.step < step]
                if not mine:
                    return False
                used = evolve(mine[0], step=step, last_used=now)
                new = evolve(new, devices=tuple(used if d is mine[0] else d for d in kept.devices))
            if renewed is not None:
                new = evolve(new, password=renewed)
            try:
                await self._store.commit(
                    [put(asked.name, new), Check(asked.item.key, asked.item.revision)]
                )
            except Conflict as e:
                if e.key == asked.item.key:
                    return False  # removed, or its roles have changed: the next try sees them
                there = await credentials_of(self._store, asked.name)
                if there is None or there.password != asked.credentials.password:
                    return False
                kept = there
                continue
            return True
        return False

    async def _asked(self, name: str) -> _Asked:
        if NAME.fullmatch(name) is None:
            return _Asked(name="", item=None, credentials=self._nobody)
        item, secret = await read_all(self._store, [user_key(name), secret_key(name)])
        if item is None or secret is None:
            return _Asked(name=name, item=None, credentials=self._nobody)
        kept = read(secret.key, secret.value, secret.revision)
        return _Asked(name=name, item=item, credentials=kept)

    # -- the rest --------------------------------------------------------------------------

    def _refuse_locked(self, person: Person) -> None:
        lock = None if self._locks is None else self._locks.matches(person)
        if lock is not None:
            raise Locked(person.name, lock.message)

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

    def _log_in(
        self, name: str, address: str | None, error: GateError | None, tried: str = ""
    ) -> None:
        self._emit("user.login", name, address, error, {"method": "local"}, tried)

    def _emit(
        self,
        event: str,
        name: str,
        address: str | None,
        error: GateError | None,
        more: Mapping[str, object] | None = None,
        tried: str = "",
    ) -> None:
        fields: dict[str, object] = {"user": name, "success": error is None, **(more or {})}
        if error is not None:
            fields["error"] = str(error)
        if address is not None:
            fields["addr.remote"] = address[:64]
        if tried:
            fields["tried"] = tried
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
        found.append(
            (
                "metadata.name",
                "1 to 64 letters, digits and . _ @ + -, beginning with a letter or a digit",
            )
        )
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


__all__ = ["NAME", "DeviceLine", "LockedOut", "Users"]
