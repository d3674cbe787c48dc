"""Invite and reset links: how a user gets a password and an authenticator, once.

1. `make` gives a token and the change that keeps its digest; nobody can read it back.
2. `begin` shows the secret of an authenticator to add. It is kept, sealed, in the link, so a
   page that is loaded again shows the same picture.
3. `accept` takes a password and a code that proves the authenticator. Until it has
   succeeded it may be tried again; the one commit in which it succeeds removes the link,
   so of many at once exactly one gets through (S42).

A user has at most one link. A reset leaves the old password, authenticators and sessions
alone until its link is accepted: who can ask for one cannot lock anybody out with it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

from attrs import evolve, field, frozen

from tlsgate.auth import otp
from tlsgate.auth.credentials import (
    Credentials,
    Device,
    ISealer,
    credentials_of,
    otp_name,
    put,
    user_key,
)
from tlsgate.auth.opaque import digest, new_secret, pack, plausible, unpack
from tlsgate.auth.passwords import Passwords, check_password
from tlsgate.core.keeping import ABSENT, Change, Check, Delete, Item, Put
from tlsgate.errors import BadAsk, BadToken, Conflict, WrongCode
from tlsgate.interfaces import IStore

Kind = Literal["invite", "reset"]

#: A link's life in seconds: without a wish, and at most.
LIVES: Final[dict[Kind, tuple[float, float]]] = {
    "invite": (3600.0, 48 * 3600.0),
    "reset": (8 * 3600.0, 24 * 3600.0),
}

#: What the first authenticator of a user is called.
DEVICE: Final = "otp"

#: Rounds against others who change the same link or user.
_TRIES = 16


@frozen(kw_only=True)
class Invite:
    """A link that has been made; its token is shown once.

    Attributes:
        expires: seconds since the epoch.
    """

    user: str
    kind: Kind
    token: str = field(repr=False)
    expires: float


@frozen(kw_only=True)
class Begun:
    """What somebody who holds a link is shown.

    Attributes:
        otpauth, secret: for the authenticator; None where no second factor is asked for.
    """

    user: str
    kind: Kind
    expires: float
    otpauth: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Accepted:
    """A link that has been used."""

    user: str
    kind: Kind


@frozen(kw_only=True)
class _Link:
    """A link as it is kept."""

    user: str
    kind: Kind
    sealed: bytes | None = field(repr=False)
    item: Item


class Invites:
    """Makes and takes links.

    Args:
        issuer: what authenticators show beside the user: the cluster's name.
        now: seconds since the epoch.
        unsafe_no_second_factor: whether a password alone is enough, now.
    """

    def __init__(
        self,
        store: IStore,
        passwords: Passwords,
        seal: ISealer,
        now: Callable[[], float],
        *,
        issuer: str,
        unsafe_no_second_factor: Callable[[], bool] = bool,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._seal = seal
        self._now = now
        self._issuer = issuer
        self._one_factor = unsafe_no_second_factor

    def make(
        self, user: str, kind: Kind, ttl_seconds: float | None, credentials: Credentials
    ) -> tuple[Invite, Sequence[Change]]:
        """Make a link for *user* in place of the one that is open.

        Returns:
            the link, and the changes that keep it, the user's credentials among them.

        Raises:
            BadAsk: its life would be none, or too long.
        """
        usual, longest = LIVES[kind]
        life = usual if ttl_seconds is None else ttl_seconds
        if not 1 <= life <= longest:
            raise BadAsk(f"the life of such a link is 1 second to {longest / 3600:g} hours")
        invite = Invite(user=user, kind=kind, token=new_secret(), expires=self._now() + life)
        kept = digest(invite.token)
        value = pack({"user": user, "kind": kind, "sealed": None})
        changes: list[Change] = [
            Put(_key(kept), value, ABSENT, invite.expires),
            put(user, evolve(credentials, link=kept)),
        ]
        if credentials.link is not None:
            changes.append(Delete(_key(credentials.link)))
        return invite, changes

    async def begin(self, token: str) -> Begun:
        """Show what the holder of a link needs to accept it; may be asked again.

        Raises:
            BadToken: the link is unknown, used or over.
        """
        for _ in range(_TRIES):
            link = await self._find(token)
            begun = Begun(user=link.user, kind=link.kind, expires=link.item.expires or 0.0)
            if self._one_factor():
                return begun
            if link.sealed is None:
                secret = otp.new_otp_secret()
                sealed = self._seal.close(secret, otp_name(link.user))
                value = pack(
                    {
                        "user": link.user,
                        "kind": link.kind,
                        "sealed": base64.b64encode(sealed).decode(),
                    }
                )
                key, revision, expires = link.item.key, link.item.revision, link.item.expires
                try:
                    await self._store.commit([Put(key, value, revision, expires)])
                except Conflict:
                    continue  # another page began at the same time: show what that one shows
            else:
                secret = self._seal.reveal(link.sealed, otp_name(link.user))
            return evolve(
                begun,
                otpauth=otp.otpauth(secret, link.user, self._issuer),
                secret=otp.base32(secret),
            )
        raise BadToken("link")

    async def accept(self, token: str, password: str, code: str | None) -> Accepted:
        """Give the user of a link a password and the authenticator that *code* proves.

        Raises:
            BadToken: the link is unknown, used or over.
            WeakPassword: the password is not taken; try again.
            WrongCode: the code is not of the authenticator; try again.
            Unreachable: too many are hashing; try again.
        """
        link = await self._find(token)
        check_password(password, link.user)
        step = self._proved(link, code)
        hashed = await self._passwords.hash(password)
        for _ in range(_TRIES):
            link = await self._find(token)
            user = await self._store.get(user_key(link.user))
            old = await credentials_of(self._store, link.user)
            if user is None or old is None or old.link != digest(token):
                raise BadToken("link")
            devices: tuple[Device, ...] = ()
            if link.sealed is not None and step is not None:
                now = self._now()
                devices = (
                    Device(name=DEVICE, sealed=link.sealed, step=step, added=now, last_used=now),
                )
            new = evolve(old, password=hashed, devices=devices, link=None)
            try:
                await self._store.commit(
                    [
                        Delete(link.item.key, link.item.revision),
                        put(link.user, new),
                        Check(user.key, user.revision),
                    ]
                )
            except Conflict:
                continue  # a begin, a login or an operator was faster: look again
            return Accepted(user=link.user, kind=link.kind)
        raise BadToken("link")

    def _proved(self, link: _Link, code: str | None) -> int | None:
        """The step of the code; None where no second factor is asked for."""
        if self._one_factor():
            return None
        if link.sealed is None:
            raise WrongCode  # nobody was shown a secret yet
        secret = self._seal.reveal(link.sealed, otp_name(link.user))
        step = otp.match(secret, code or "", self._now(), used=-1)
        if step is None:
            raise WrongCode
        return step

    async def _find(self, token: str) -> _Link:
        """Read a link; the look-up is by digest, so time tells nothing of a token."""
        if not plausible(token):
            raise BadToken("link")
        item = await self._store.get(_key(digest(token)))
        if item is None or item.expires is None or item.expires <= self._now():
            raise BadToken("link")
        found: dict[str, Any] = unpack(_key("…"), item.value)
        sealed = found["sealed"]
        return _Link(
            user=found["user"],
            kind=cast(Kind, found["kind"]),
            sealed=None if sealed is None else base64.b64decode(sealed),
            item=item,
        )


def _key(kept: str) -> str:
    """Where the link with this digest stands."""
    return f"invites/{kept}"
