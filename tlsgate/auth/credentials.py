"""What proves a user: the password's hash and the authenticators, apart from the resource.

They stand under `secrets/users/<name>`, so no list of users and no watch on them shows any.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol

from attrs import evolve, field, frozen

from tlsgate.auth.opaque import pack, unpack
from tlsgate.core.keeping import ABSENT, Put
from tlsgate.errors import StoreFailed
from tlsgate.interfaces import IStore

#: What a user can be called: it stands in certificates, paths and audit events.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")

#: Networks of late logins that are remembered, and for how long.
SEEN: Final = 16
SEEN_SECONDS: Final = 30 * 86400.0


class ISealer(Protocol):
    """Encrypts what must not lie readable on the disk; an `auth.seal.Seal` is one."""

    def close(self, secret: bytes, place: str) -> bytes:
        """Encrypt *secret*, bound to *place*."""

    def reveal(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what `close` gave for the same *place*; raises BadSeal."""


@frozen(kw_only=True)
class Device:
    """One second factor of a user.

    Attributes:
        sealed: its secret, encrypted; bound to the user's name.
        step: the last step whose code was used.
        added, last_used: seconds since the epoch.
    """

    name: str
    type: str = "totp"
    sealed: bytes = field(repr=False)
    step: int
    added: float
    last_used: float | None = None


@frozen(kw_only=True)
class Credentials:
    """The secret half of a user.

    Attributes:
        password: a PHC string; None: the user has not accepted an invite yet.
        seen: networks that the user has logged in from, with the time of the last login.
        link: digest of the invite or reset link that is open; None: there is none.
        epoch: changes when an operator resets the user; see `lockout`.
        revision: of the item; `ABSENT` for one that is not kept yet.
    """

    password: str | None = field(default=None, repr=False)
    devices: tuple[Device, ...] = ()
    seen: Mapping[str, float] = field(factory=dict, repr=False)
    link: str | None = field(default=None, repr=False)
    epoch: str = field(factory=lambda: secrets.token_hex(8))
    revision: int = ABSENT

    def remembered(self, place: str, now: float) -> Credentials:
        """These, with a login from *place* just now."""
        late = {name: when for name, when in self.seen.items() if when > now - SEEN_SECONDS}
        late[place] = now
        kept = sorted(late.items(), key=lambda entry: -entry[1])[:SEEN]
        return evolve(self, seen=dict(kept))

    def familiar(self, place: str, now: float) -> bool:
        """Whether the user has logged in from *place* lately."""
        return self.seen.get(place, 0.0) > now - SEEN_SECONDS


def user_key(name: str) -> str:
    """Where the resource of a user stands."""
    return f"users/{name}"


def secret_key(name: str) -> str:
    """Where the credentials of a user stand."""
    return f"secrets/users/{name}"


def otp_name(user: str) -> str:
    """What a sealed one-time-code secret of *user* is bound to."""
    return f"otp/{user}"


async def credentials_of(store: IStore, name: str) -> Credentials | None:
    """Read the credentials of *name*; None where there is no such user."""
    item = await store.get(secret_key(name))
    return None if item is None else read(item.key, item.value, item.revision)


def put(name: str, credentials: Credentials) -> Put:
    """The change that keeps *credentials*; it fails when they have changed since they were read."""
    return Put(secret_key(name), write(credentials), credentials.revision)


def write(credentials: Credentials) -> bytes:
    """Write *credentials* for the store."""
    return pack(
        {
            "password": credentials.password,
            "devices": [
                {
                    "name": device.name,
                    "type": device.type,
                    "sealed": base64.b64encode(device.sealed).decode(),
                    "step": device.step,
                    "added": device.added,
                    "last_used": device.last_used,
                }
                for device in credentials.devices
            ],
            "seen": dict(credentials.seen),
            "link": credentials.link,
            "epoch": credentials.epoch,
        }
    )


def read(key: str, value: bytes, revision: int) -> Credentials:
    """Read what `write` wrote.

    Raises:
        StoreFailed: it is something else; the sentence names *key* only.
    """
    found = unpack(key, value)
    try:
        return Credentials(
            password=found["password"],
            devices=tuple(_device(each) for each in found["devices"]),
            seen={str(place): float(when) for place, when in found["seen"].items()},
            link=found["link"],
            epoch=found["epoch"],
            revision=revision,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreFailed(f"what is kept under {key} is not what we wrote") from None


def _device(found: Mapping[str, Any]) -> Device:
    return Device(
        name=found["name"],
        type=found["type"],
        sealed=base64.b64decode(found["sealed"]),
        step=int(found["step"]),
        added=float(found["added"]),
        last_used=found["last_used"],
    )
