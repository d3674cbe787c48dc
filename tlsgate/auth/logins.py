"""The check of a login: the same work and the same outcome, whatever is wrong.

1. The name, the address and what the store knows of both are asked for a wait (`lockout`).
2. The password is hashed and the one-time code compared, whoever is asked for: a name that
   no user has is checked against a nobody that nothing matches, in the same steps (S43).
3. A failure is counted, and is the same value whatever failed.
4. A success marks the code's step as used, by compare-and-swap on what was read in 1: of two
   logins with one code, one succeeds. The same commit fails when the user was changed or
   removed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen

from tlsgate.auth import otp
from tlsgate.auth.credentials import (
    NAME,
    Credentials,
    Device,
    ISealer,
    credentials_of,
    otp_name,
    put,
    read,
    secret_key,
    user_key,
    write,
)
from tlsgate.auth.lockout import Attempt, Lockout, network
from tlsgate.auth.opaque import LONGEST
from tlsgate.auth.passwords import Passwords
from tlsgate.auth.reads import read_all
from tlsgate.core.keeping import ABSENT, Check, Item
from tlsgate.errors import Conflict
from tlsgate.interfaces import IStore

#: Rounds against others who change the same user.
_TRIES: Final = 16


@frozen(kw_only=True)
class Shown:
    """What somebody shows who wants to be a user."""

    name: str
    password: str
    code: str
    address: str | None

    def __repr__(self) -> str:
        return "Shown(...)"  # nearly all of it is secret, the name may be


@frozen
class Refused:
    """Something that was shown is wrong.

    Attributes:
        known: there is a user of that name; for the audit trail, never for who asks.
        wait_seconds: until another attempt of the same kind is looked at.
    """

    known: bool
    wait_seconds: float = 0.0


@frozen(kw_only=True)
class _Asked:
    """One who wants to log in, as far as the store knows the name."""

    name: str
    item: Item | None
    credentials: Credentials


class Logins:
    """Proves users.

    Args:
        now: seconds since the epoch.
        unsafe_no_second_factor: whether a password alone is enough, now.
    """

    def __init__(
        self,
        store: IStore,
        passwords: Passwords,
        seal: ISealer,
        now: Callable[[], float],
        lockout: Lockout,
        *,
        unsafe_no_second_factor: Callable[[], bool] = bool,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._seal = seal
        self._now = now
        self._lockout = lockout
        self._one_factor = unsafe_no_second_factor
        # Nobody: read, opened and compared like a user, and matched by nothing.
        sealed = seal.close(otp.new_otp_secret(), otp_name(""))
        device = Device(name="", sealed=sealed, step=1 << 62, added=0.0)
        self._nobody = write(Credentials(devices=(device,), epoch=""))
        self._nobody_device = device

    async def prove(self, shown: Shown, new_password: str | None = None) -> Item | Refused:
        """Check all that a user has to show; give the user's item.

        Args:
            new_password: from now on the user has this one.

        Raises:
            LockedOut: too many attempts were wrong; this one was not looked at.
            Unreachable: too many are logging in; asking again may help.
        """
        asked, place = await self._asked(shown.name), network(shown.address)
        attempt = await self._lockout.admit(
            shown.name[:LONGEST],
            shown.address,
            familiar=asked.credentials.familiar(place, self._now()),
            epoch=asked.credentials.epoch,
        )
        try:
            if await self._right(asked, shown, place, new_password):
                await self._lockout.passed(attempt)
                assert asked.item is not None
                return asked.item
            return await self._refused(attempt, asked)
        finally:
            self._lockout.done(attempt)

    async def _refused(self, attempt: Attempt, asked: _Asked) -> Refused:
        wait_seconds = await self._lockout.failed(attempt)
        return Refused(asked.item is not None, wait_seconds)

    async def _right(self, asked: _Asked, shown: Shown, place: str, new: str | None) -> bool:
        right = await self._passwords.verify(asked.credentials.password, shown.password)
        # Both are always worked out: which of them is wrong must not show.
        device, step = self._matched(asked, shown.code)
        if not right or asked.item is None or (step is None and not self._one_factor()):
            return False
        renewed = None
        if new is not None:
            renewed = await self._passwords.hash(new)
        elif self._passwords.outdated(asked.credentials.password or ""):
            renewed = await self._passwords.hash(shown.password)
        return await self._used(asked, asked.item, (device, step), place, renewed)

    def _matched(self, asked: _Asked, code: str) -> tuple[Device | None, int | None]:
        """The authenticator that *code* is of, and its step."""
        found: tuple[Device | None, int | None] = (None, None)
        # A user without one, who has not accepted the invite yet, costs as much as nobody.
        own = asked.credentials.devices if asked.item is not None else ()
        for device in own or (self._nobody_device,):
            secret = self._seal.reveal(device.sealed, otp_name(asked.name if own else ""))
            step = otp.match(secret, code, self._now(), device.step)
            if step is not None and own:
                found = device, step
        return found

    async def _used(
        self,
        asked: _Asked,
        user: Item,
        matched: tuple[Device | None, int | None],
        place: str,
        renewed: str | None,
    ) -> bool:
        """Keep that the code was used; False when it was, or the user has changed, meanwhile."""
        now, kept = self._now(), asked.credentials
        device, step = matched
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
                await self._store.commit([put(asked.name, new), Check(user.key, user.revision)])
            except Conflict as e:
                if e.key == user.key:
                    return False  # removed, or its roles have changed: the next try sees them
                there = await credentials_of(self._store, asked.name)
                if there is None or there.password != asked.credentials.password:
                    return False
                kept = there
                continue
            return True
        return False

    async def _asked(self, name: str) -> _Asked:
        known = NAME.fullmatch(name) is not None
        name = name if known else ""
        item, secret = await read_all(self._store, [user_key(name), secret_key(name)])
        if not known or item is None or secret is None:
            nobody = read(secret_key(name), self._nobody, ABSENT)
            return _Asked(name=name, item=None, credentials=nobody)
        kept = read(secret.key, secret.value, secret.revision)
        return _Asked(name=name, item=item, credentials=kept)
