"""Tokens by which agents and gateways join the cluster.

A token reads "<id>.<secret>". The id is shown in lists; of the whole only a digest is kept,
apart from the resource. A use is bound to the joining public key, which may come again until
the token's end: an agent whose join was answered into a broken connection, or that was
killed before it could keep the answer, asks again and costs no second use. The count is kept
by compare-and-swap, so a single-use token in two hundred hands lets in one key (S42).

Static tokens stand in the configuration file, end never and count nothing; `Tokens.warnings`
says so.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import evolve, field, frozen

from tlsgate.auth.opaque import LONGEST, digest, moment, new_secret, pack, same, unpack
from tlsgate.core.keeping import ABSENT, Delete, Put
from tlsgate.errors import BadResource, BadToken, Conflict, NoSuch
from tlsgate.interfaces import IStore

#: What can join.
TYPES: Final = ("node", "db", "app", "kube", "gateway")

TTL_SECONDS: Final = 1800.0
LONGEST_TTL_SECONDS: Final = 30 * 86400.0

#: Each use keeps a digest of its key.
MOST_USES: Final = 1000

#: A static token below this can be tried out.
_STATIC_SHORTEST = 16

_TOKEN = re.compile(r"([0-9a-f]{16})\.[A-Za-z0-9_-]{43}")
_LABELS, _WORD = 64, 256
#: SHA-256 of a key says as much as the key.
_NOBODY = digest("")


@frozen(kw_only=True)
class TokenGrant:
    """A join that a token allows.

    Attributes:
        types: as what its holder joins.
        labels: what the token gives to whoever joins by it.
        again: the same key has joined by it before.
    """

    id: str
    types: tuple[str, ...]
    labels: Mapping[str, str] = field(factory=dict)
    again: bool = False
    static: bool = False


@frozen(kw_only=True)
class StaticToken:
    """A token from the configuration file: "node,app:secret"."""

    types: tuple[str, ...]
    digest: str = field(repr=False)
    short: bool = False


@frozen(kw_only=True)
class NewToken:
    """A token that has been made; the secret is shown once."""

    id: str
    secret: str = field(repr=False)
    types: tuple[str, ...]
    expires: float
    uses: int | Literal["unlimited"]


@frozen(kw_only=True)
class _Kept:
    """What is kept of a token apart from its resource."""

    digest: str = field(repr=False)
    types: tuple[str, ...]
    uses: int | None  #: None: unlimited
    keys: tuple[str, ...]
    labels: Mapping[str, str]


def static_token(text: str) -> StaticToken:
    """Read "type,type:secret".

    Raises:
        BadResource: a type is unknown, or there is no secret.
    """
    before, _, secret = text.partition(":")
    types = _types([each.strip() for each in before.split(",")])
    if not secret:
        raise BadResource([("auth_service.tokens", "is written type,type:secret")])
    return StaticToken(types=types, digest=digest(secret), short=len(secret) < _STATIC_SHORTEST)


class Tokens:
    """Makes tokens and lets in by them.

    Args:
        now: seconds since the epoch.
        static: from the configuration file.
    """

    def __init__(
        self, store: IStore, now: Callable[[], float], static: Iterable[StaticToken] = ()
    ) -> None:
        self._store = store
        self._now = now
        self._static = tuple(static)

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know of the static tokens."""
        found = []
        if self._static:
            found.append(
                f"auth_service.tokens: {len(self._static)} static join tokens never end and may "
                "be used any number of times; `tgctl tokens add` makes one that ends"
            )
        if any(each.short for each in self._static):
            found.append(
                f"auth_service.tokens: a static join token has fewer than {_STATIC_SHORTEST} "
                "characters and can be guessed"
            )
        return found

    async def add(
        self,
        types: Sequence[str],
        *,
        ttl_seconds: float | None = None,
        uses: int | Literal["unlimited"] = 1,
        labels: Mapping[str, str] | None = None,
    ) -> NewToken:
        """Make a token.

        Raises:
            BadResource: with every problem of what is asked.
        """
        life = TTL_SECONDS if ttl_seconds is None else ttl_seconds
        problems = _problems(life, uses, {} if labels is None else labels)
        try:
            kinds = _types(types)
        except BadResource as e:
            problems += e.problems
        if problems:
            raise BadResource(problems)
        name = secrets.token_hex(8)
        token = NewToken(
            id=name,
            secret=f"{name}.{new_secret()}",
            types=kinds,
            expires=self._now() + life,
            uses=uses,
        )
        kept = _Kept(
            digest=digest(token.secret),
            types=kinds,
            uses=None if uses == "unlimited" else uses,
            keys=(),
            labels=dict(labels or {}),
        )
        await self._store.commit(
            [
                Put(_key(name), pack(_resource(token, kept.labels)), ABSENT, token.expires),
                Put(_secret_key(name), _write(kept), ABSENT, token.expires),
            ]
        )
        return token

    async def remove(self, name: str) -> None:
        """Take a token out of use.

        Raises:
            NoSuch: there is none with this id.
        """
        item = await self._store.get(_key(name[:_WORD]))
        if item is None:
            raise NoSuch("token", name[:_WORD])
        try:
            await self._store.commit([Delete(item.key, item.revision), Delete(_secret_key(name))])
        except Conflict:
            raise NoSuch("token", name) from None

    async def use(self, secret: str, public_key_der: bytes, *types: str) -> TokenGrant:
        """Let the holder of *public_key_der* join as all of *types*, which is one use.

        Raises:
            BadToken: the token is unknown, used up, over, or not for each of *types*; never
                which.
        """
        wanted = set(types)
        if len(secret) > LONGEST or not wanted or not wanted <= set(TYPES):
            raise BadToken("join token")
        given = digest(secret)
        static = self._static_grant(given, types)
        if static is not None:
            return static
        shape = _TOKEN.fullmatch(secret)
        name = shape.group(1) if shape else "0" * 16
        key = hashlib.sha256(public_key_der).hexdigest()
        # Each conflict is somebody else's use, or the end of the token: so many at most.
        for _ in range(MOST_USES + 8):
            resource = await self._store.get(_key(name))
            item = await self._store.get(_secret_key(name))
            kept = None if item is None else _read(item.key, item.value)
            right = same(given, _NOBODY if kept is None else kept.digest)
            if not right or item is None or kept is None or resource is None:
                raise BadToken("join token")
            over = item.expires is None or item.expires <= self._now()
            if over or not wanted <= set(kept.types):
                raise BadToken("join token")
            grant = TokenGrant(id=name, types=types, labels=kept.labels, again=key in kept.keys)
            if grant.again or kept.uses is None:
                return grant
            if len(kept.keys) >= kept.uses:
                raise BadToken("join token")
            used = evolve(kept, keys=(*kept.keys, key))
            shown = unpack(resource.key, resource.value)
            shown["spec"] = {**shown.get("spec", {}), "used": len(used.keys)}
            try:
                await self._store.commit(
                    [
                        Put(item.key, _write(used), item.revision, item.expires),
                        Put(resource.key, pack(shown), resource.revision, resource.expires),
                    ]
                )
            except Conflict:
                continue
            return grant
        raise BadToken("join token")

    def _static_grant(self, given: str, types: tuple[str, ...]) -> TokenGrant | None:
        """Compare with every static token, none of them earlier than another."""
        found = None
        for number, each in enumerate(self._static, 1):
            if same(given, each.digest) and set(types) <= set(each.types):
                found = TokenGrant(id=f"static-{number}", types=types, static=True)
        return found


def _types(raw: Sequence[str]) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(str(each).lower()[:_WORD] for each in raw))
    # The older word for a gateway, as files and habits have it.
    kinds = tuple("gateway" if each == "proxy" else each for each in kinds)
    unknown = sorted(set(kinds) - set(TYPES))
    if not kinds or unknown:
        said = f"{', '.join(unknown)}: not among" if unknown else "needs one of"
        raise BadResource([("types", f"{said} {', '.join(TYPES)}")])
    return kinds


def _problems(
    life: float, uses: int | Literal["unlimited"], labels: Mapping[str, str]
) -> list[tuple[str, str]]:
    found = []
    if not 1 <= life <= LONGEST_TTL_SECONDS:
        found.append(("ttl_seconds", f"1 second to {LONGEST_TTL_SECONDS / 86400:g} days"))
    if uses != "unlimited" and not 1 <= uses <= MOST_USES:
        found.append(("uses", f"1 to {MOST_USES}, or the word unlimited"))
    if len(labels) > _LABELS or any(
        not key or len(key) > _WORD or len(value) > _WORD for key, value in labels.items()
    ):
        found.append(("labels", f"at most {_LABELS}, names and values of {_WORD} characters"))
    return found


def _resource(token: NewToken, labels: Mapping[str, str]) -> dict[str, Any]:
    """What lists show: nothing that lets in."""
    return {
        "kind": "token",
        "version": "v2",
        "metadata": {"name": token.id, "expires": moment(token.expires)},
        "spec": {
            "join_method": "token",
            "types": sorted(token.types),
            "uses": token.uses,
            "used": 0,
            **({"labels": dict(labels)} if labels else {}),
        },
    }


def _key(name: str) -> str:
    return f"tokens/{name}"


def _secret_key(name: str) -> str:
    return f"secrets/tokens/{name}"


def _write(kept: _Kept) -> bytes:
    return pack(
        {
            "digest": kept.digest,
            "types": list(kept.types),
            "uses": kept.uses,
            "keys": list(kept.keys),
            "labels": dict(kept.labels),
        }
    )


def _read(key: str, value: bytes) -> _Kept:
    found = unpack(key, value)
    return _Kept(
        digest=found["digest"],
        types=tuple(found["types"]),
        uses=found["uses"],
        keys=tuple(found["keys"]),
        labels=found["labels"],
    )
