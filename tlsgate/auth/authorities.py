"""A cluster's authorities: user, host, db (X.509), ssh_user and ssh_host (OpenSSH), jwt.

1. `start` makes those that are missing, in one commit that only one of several processes
   wins, and then follows the store.
2. `current` gives the key that signs now, `trusted` all that others have to trust.
3. `rotate` takes a step of `rotation`, by compare-and-swap.

In the store, "authorities/<type>" is what anybody may know: the phase and one or two keys,
the old one first. The private halves are sealed, each under
"secrets/authorities/<type>/<id>", a place that no list of resources shows (S53).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, cast

from attrs import asdict, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.auth.authority import (
    CA_TYPES,
    JWT,
    TYPES,
    Authority,
    JwtAuthority,
    SshAuthority,
    Type,
    X509Authority,
    create,
    restore,
)
from tlsgate.auth.rotation import Keys, Phase, Rotation, step
from tlsgate.auth.seal import Seal
from tlsgate.core.claims import NAME_BYTES
from tlsgate.core.keeping import ABSENT, Change, Delete, Event, Put
from tlsgate.errors import BadAsk, BadName, BadSeal, Conflict, GateError, NoSuch
from tlsgate.interfaces import IStore, IWatch
from tlsgate.tls.pins import fingerprint, pin_of

PREFIX: Final = "authorities/"
SECRETS: Final = "secrets/authorities/"

#: How often a start or a reading is tried against others who write at the same moment.
_ATTEMPTS: Final = 8


@frozen(eq=False)
class _State:
    """One authority as it stands at a revision; one or two keys, the old one first."""

    type: Type
    rotation: Rotation
    keys: tuple[Authority, ...] = field(repr=False)
    revision: int

    @cached_property
    def signing(self) -> Authority:
        new_signs = self.rotation.new_signs(self.type)
        return self.keys[-1] if new_signs else self.keys[0]

    @cached_property
    def trusted(self) -> tuple[Authority, ...]:
        """All keys, the one that signs first."""
        signing = self.signing
        return (signing, *(key for key in self.keys if key is not signing))

    @cached_property
    def texts(self) -> tuple[bytes, ...]:
        """What others have to trust, in the same order."""
        return tuple(key.trust for key in self.trusted)

    def public(self) -> dict[str, Any]:
        signing = self.signing
        if isinstance(signing, X509Authority):
            mark = fingerprint(signing.certificate)
        else:
            mark = hashlib.sha256(signing.trust).hexdigest()
        return {
            "type": self.type,
            **_rotation_json(self.rotation),
            "signing": signing.id,
            "fingerprint": mark,
            "keys": [key.public() for key in self.keys],
            "revision": self.revision,
        }


class Authorities:
    """The authorities of one cluster; for auth alone: it holds the private keys.

    Args:
        store: where they are kept.
        seal: of this data directory.
        now: seconds since the epoch.
        cluster: its name, for the certificates of new keys.

    Raises:
        BadName: no certificate can carry the cluster's name.
    """

    _log = Logger()

    def __init__(self, store: IStore, seal: Seal, now: Callable[[], float], cluster: str) -> None:
        if not cluster.isprintable() or not 1 <= len(cluster.encode()) <= NAME_BYTES:
            raise BadName(
                "cluster name", f"has to have 1 to {NAME_BYTES} bytes that can be printed"
            )
        self._store = store
        self._seal = seal
        self._now = now
        self._cluster = cluster
        self._states: dict[Type, _State] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._watch: IWatch | None = None

    async def start(self) -> None:
        """Make what is missing, read what is there, and follow it from now on.

        Raises:
            BadSeal: the key file is not the one that the keys were sealed with.
            Conflict: others have kept changing them for as long as was waited.
            StoreFailed: the store does not answer.
        """
        for left in reversed(range(_ATTEMPTS)):
            missing = [kind for kind in TYPES if await self._store.get(PREFIX + kind) is None]
            if not missing:
                break
            changes: list[Change] = []
            for kind in missing:
                key = create(kind, self._cluster, self._now())
                rotation = Rotation(since=self._now())
                changes += [_put(kind, rotation, (key,), ABSENT), self._put_secret(key)]
            try:
                await self._store.commit(changes)
            except Conflict:
                if not left:
                    raise
        revision = await self._store.revision()
        for kind in TYPES:
            self._states[kind] = await self._read(kind)
        self._watch = self._store.watch(PREFIX, revision, self._heard)

    def stop(self) -> None:
        """Follow the store no more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call *callback* with the type of each authority that has changed."""
        self._callbacks.append(callback)

    # -- what signs, and what is trusted --------------------------------------------------

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return self._cluster

    def current(self, kind: str) -> Authority:
        """The key that signs now.

        Raises:
            NoSuch: there is no authority of that type.
        """
        return self._state(kind).signing

    def x509(self, kind: str) -> X509Authority:
        """The same, of the types that sign X.509."""
        found = self.current(kind)
        assert isinstance(found, X509Authority)
        return found

    def ssh(self, kind: str) -> SshAuthority:
        """The same, of the types that sign OpenSSH certificates."""
        found = self.current(kind)
        assert isinstance(found, SshAuthority)
        return found

    def jwt(self) -> JwtAuthority:
        """The key that signs tokens for applications now."""
        found = self.current(JWT)
        assert isinstance(found, JwtAuthority)
        return found

    def trusted(self, kind: str) -> tuple[bytes, ...]:
        """What others have to trust now, the signing key first: PEM, or OpenSSH lines."""
        return self._state(kind).texts

    def cas(self) -> dict[str, list[str]]:
        """Everything that is trusted where certificates are shown, by type, as the API gives it."""
        return {kind: [one.decode() for one in self.trusted(kind)] for kind in CA_TYPES}

    def anchors(self, kind: str) -> frozenset[bytes]:
        """SHA-256 of the DER of each trusted certificate, as `Identity.anchor` has it."""
        return anchors(self.trusted(kind))

    def pins(self) -> tuple[str, ...]:
        """The pins of the host authority, the signing key's first."""
        keys = self._state("host").trusted
        return tuple(pin_of(key.certificate) for key in keys if isinstance(key, X509Authority))

    def public(self) -> dict[str, dict[str, Any]]:
        """All authorities by type, without any private key."""
        return {kind: self._states[kind].public() for kind in TYPES}

    # -- rotation ---------------------------------------------------------------------------

    async def rotate(
        self, kind: str, phase: str, grace_seconds: float | None = None
    ) -> dict[str, Any]:
        """Take the rotation of *kind* to *phase*; give what `public` says of it then.

        Raises:
            NoSuch: there is no authority of that type.
            BadAsk: there is no such phase, or it may not follow, or not yet.
            Conflict: somebody else has taken a step at the same moment.
        """
        try:
            wanted = Phase(phase)
        except ValueError:
            words = ", ".join(one.value for one in Phase)
            raise BadAsk(f"there is no phase {phase[:64]!r}, only {words}") from None
        self._state(kind)
        before = await self._read(cast(Type, kind))  # not from memory: others rotate too
        moved, what = step(before.type, before.rotation, wanted, self._now(), grace_seconds)
        keys = before.keys
        changes: list[Change] = []
        if what is Keys.ADD:
            new = create(before.type, self._cluster, self._now())
            keys = (*keys, new)
            changes.append(self._put_secret(new))
        elif what is not Keys.KEEP:
            dropped = keys[0] if what is Keys.DROP_OLD else keys[-1]
            keys = tuple(key for key in keys if key is not dropped)
            changes.append(Delete(_secret_key(dropped)))
        changes.append(_put(before.type, moved, keys, before.revision))
        revision = await self._store.commit(changes)
        state = _State(before.type, moved, keys, revision)
        self._take(state)
        return state.public()

    # -- the store ------------------------------------------------------------------------

    def _state(self, kind: str) -> _State:
        state = self._states.get(cast(Type, kind))
        if state is None:
            raise NoSuch("authority", kind[:64])
        return state

    def _put_secret(self, key: Authority) -> Put:
        place = _secret_key(key)
        return Put(place, self._seal.close(key.secret, place), ABSENT)

    async def _read(self, kind: Type) -> _State:
        """Read one authority; its parts are of one moment, or it is read again."""
        for _ in range(_ATTEMPTS):
            item = await self._store.get(PREFIX + kind)
            if item is None:
                raise NoSuch("authority", kind)
            rotation, documents = _parse(item.value, PREFIX + kind)
            keys = []
            for document in documents:
                place = f"{SECRETS}{kind}/{document['id']}"
                secret = await self._store.get(place)
                if secret is None:  # a step has dropped it since
                    break
                keys.append(restore(kind, document, self._seal.reveal(secret.value, place), place))
            else:
                return _State(kind, rotation, tuple(keys), item.revision)
        raise Conflict(PREFIX + kind)

    def _heard(self, events: Sequence[Event]) -> None:
        for kind in {event.key.removeprefix(PREFIX) for event in events if event.item}:
            known = self._states.get(cast(Type, kind))
            newest = max(event.revision for event in events if event.key == PREFIX + kind)
            if known is not None and newest > known.revision:
                following = Deferred.fromCoroutine(self._follow(known.type))
                following.addErrback(self._failed)

    async def _follow(self, kind: Type) -> None:
        try:
            self._take(await self._read(kind))
        except GateError as error:
            # The known state stays in force; the next change is another chance.
            self._log.error("the {kind} authority cannot be read: {error}", kind=kind, error=error)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("an authority cannot be followed", failure)

    def _take(self, state: _State) -> None:
        if state.revision <= self._states[state.type].revision:
            return
        self._states[state.type] = state
        for callback in tuple(self._callbacks):
            callback(state.type)


def anchors(pems: Sequence[bytes]) -> frozenset[bytes]:
    """SHA-256 of the DER of each certificate in *pems*, as `Identity.anchor` has it."""
    found = (x509.load_pem_x509_certificate(pem) for pem in pems)
    return frozenset(one.fingerprint(hashes.SHA256()) for one in found)


def _secret_key(key: Authority) -> str:
    return f"{SECRETS}{key.type}/{key.id}"


def _put(kind: Type, rotation: Rotation, keys: Sequence[Authority], expects: int) -> Put:
    document = {**_rotation_json(rotation), "keys": [key.public() for key in keys]}
    return Put(PREFIX + kind, json.dumps(document).encode(), expects)


def _rotation_json(rotation: Rotation) -> dict[str, Any]:
    return {**asdict(rotation), "phase": rotation.phase.value}


def _parse(value: bytes, place: str) -> tuple[Rotation, list[dict[str, Any]]]:
    """What `_put` wrote.

    Raises:
        BadSeal: it is something else.
    """
    try:
        document = json.loads(value)
        keys = document["keys"]
        rotation = Rotation(
            phase=Phase(document["phase"]),
            since=document["since"],
            grace_seconds=document["grace_seconds"],
            signed_until=document["signed_until"],
        )
        if not 1 <= len(keys) <= 2 or not all(isinstance(key["id"], str) for key in keys):
            raise ValueError(place)
    except (ValueError, TypeError, KeyError) as error:
        raise BadSeal(place, "it is not what this version keeps there") from error
    return rotation, keys
