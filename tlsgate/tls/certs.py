"""The gateway's own certificates: which one for which name, reload, expiry.

1. `CertificateStore.load` reads every configured pair, or says all that is wrong.
2. `pick` gives the set of pairs (one a key kind) for a server name.
3. `reload` looks at the files; a pair that changed and is good takes effect at the next
   handshake, one that is not is passed over and the one in memory serves on.
4. `notices` says what comes to its end.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from attrs import frozen

from tlsgate.config.settings import KeyPair
from tlsgate.errors import BadKeyPair, BadSettings, Place, Problem
from tlsgate.tls.authority import PrivateKey, self_signed, write_secret
from tlsgate.tls.keypair import LoadedPair, load_pair, stamp

Notice = Literal["third", "tenth", "expired"]

#: Browsers refuse server certificates that live longer (CA/Browser Forum, 398 days).
_SELF_SIGNED_DAYS = 397


@frozen(eq=False)
class CertSet:
    """What one context shows: at most one pair of each key kind, for one set of names.

    Compared by identity: after a reload an unchanged set is the same object.
    """

    pairs: tuple[LoadedPair, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its first pair."""
        return self.pairs[0].names


@frozen
class Lifetime:
    """How long one pair is good, in seconds since the epoch."""

    names: tuple[str, ...]
    file: str
    not_before: float
    not_after: float


@frozen(eq=False)
class _Index:
    """One state of all pairs; a reload makes another and swaps."""

    pairs: tuple[LoadedPair, ...]
    exact: Mapping[str, CertSet]
    wildcard: Mapping[str, CertSet]  #: by the part after "*."
    default: CertSet


def expiry_notice(not_before: float, not_after: float, now: float) -> Notice | None:
    """Say which mark of its lifetime a certificate has passed, the last one first."""
    left = not_after - now
    if left <= 0:
        return "expired"
    if left * 10 <= not_after - not_before:
        return "tenth"
    if left * 3 <= not_after - not_before:
        return "third"
    return None


class CertificateStore:
    """All pairs of one configuration.

    Attributes:
        generation: grows with each reload that changed something.
        trouble: why the last `reload` passed over a file; () when it did not.
        notes: what is odd about the pairs and not wrong.
    """

    def __init__(self, pairs: Sequence[LoadedPair]) -> None:
        """Use `load` or `self_signed`; *pairs* has at least one."""
        self._index = _build(tuple(pairs), None)
        self.generation = 0
        self.trouble: tuple[str, ...] = ()
        self._renew: Callable[[], None] | None = None

    @classmethod
    def load(cls, keypairs: Sequence[KeyPair]) -> Self:
        """Read all pairs; the first one serves clients whose name none has.

        Args:
            keypairs: at least one.

        Raises:
            BadSettings: with a problem for each pair that cannot be used.
        """
        pairs, problems = [], []
        for files in keypairs:
            try:
                pairs.append(load_pair(files))
            except BadKeyPair as error:
                problems.append(problem(error))
        if problems:
            raise BadSettings(problems)
        return cls(pairs)

    @classmethod
    def self_signed(
        cls,
        names: Sequence[str],
        folder: Path,
        *,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Serve a certificate of our own, kept in *folder* so that it survives a restart.

        It is for the names right below the public ones as well, which applications have. It
        is made again, on the same key, when it is for other names or has passed two thirds
        of its life; `reload` looks at that too.

        Args:
            names: at least one host name or address literal that clients dial.
            folder: the data directory.
            now: the wall clock, in seconds since the epoch.

        Raises:
            BadSettings: the folder cannot be written.
        """
        ips = tuple(name for name in names if _is_address(name))
        own = [name.lower() for name in names if name not in ips] or ["localhost"]
        # No browser takes a wildcard right below a top-level domain.
        below = [f"*.{name}" for name in own if "." in name and not name.startswith("*.")]
        dns = tuple(dict.fromkeys((*own, *below)))
        files = KeyPair(
            cert_file=folder / "self-signed.pem", key_file=folder / "self-signed-key.pem"
        )

        def renew() -> None:
            _renew_self_signed(files, dns, ips, now())

        try:
            renew()
        except OSError as error:
            why = f"cannot be written: {error.strerror}"
            raise BadSettings([problem(BadKeyPair(str(files.cert_file), why))]) from error
        store = cls.load([files])
        store._renew = renew
        return store

    def pick(self, server_name: str | None) -> CertSet:
        """The pairs to show to a client that asked for *server_name* (normalised)."""
        index = self._index
        if server_name is None:
            return index.default
        found = index.exact.get(server_name)
        if found is None:
            # A wildcard stands for exactly one label (RFC 6125 section 6.4.3).
            found = index.wildcard.get(server_name.partition(".")[2], index.default)
        return found

    def covers(self, server_name: str) -> bool:
        """Whether a certificate is for *server_name* (normalised), and not just shown for it."""
        names = self.pick(server_name).names
        return server_name in names or f"*.{server_name.partition('.')[2]}" in names

    def sets(self) -> frozenset[CertSet]:
        """Every set that `pick` may give now."""
        index = self._index
        return frozenset((index.default, *index.exact.values(), *index.wildcard.values()))

    def reload(self) -> bool:
        """Take up the files that changed; True when the certificates shown changed.

        A pair that cannot be read, or has expired while the one in memory has not,
        is left as it was, and `trouble` says why. Never raises.
        """
        trouble: list[str] = []
        if self._renew is not None:
            try:
                self._renew()
            except OSError as error:
                trouble.append(f"the self-signed certificate cannot be written: {error.strerror}")
        fresh = tuple(_newer(pair, trouble) for pair in self._index.pairs)
        self.trouble = tuple(trouble)
        if fresh == self._index.pairs:
            return False
        self._index = _build(fresh, self._index)
        self.generation += 1
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the pairs and not wrong, as sentences."""
        return tuple(note for pair in self._index.pairs for note in pair.notes)

    def expiries(self) -> list[tuple[tuple[str, ...], float]]:
        """Names and end of each pair, in the configuration's order."""
        return [(pair.names, pair.not_after) for pair in self._index.pairs]

    def chains(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Names and PEM chain, leaf first, of each pair, in the configuration's order."""
        return tuple((pair.names, pair.chain_pem.decode()) for pair in self._index.pairs)

    def lifetimes(self) -> list[Lifetime]:
        """The same with the beginning and the file."""
        return [
            Lifetime(pair.names, str(pair.files.cert_file), pair.not_before, pair.not_after)
            for pair in self._index.pairs
        ]

    def notices(self, now: float) -> list[tuple[Lifetime, Notice]]:
        """The pairs whose end is near or past, at *now* (seconds since the epoch)."""
        return [
            (life, notice)
            for life in self.lifetimes()
            if (notice := expiry_notice(life.not_before, life.not_after, now)) is not None
        ]


def problem(error: BadKeyPair) -> Problem:
    """One entry of `BadSettings`: the file is the place."""
    return Problem(Place(error.file, 1, 1), "", error.why)


def _newer(pair: LoadedPair, trouble: list[str]) -> LoadedPair:
    """The pair that the files of *pair* hold now, or *pair* itself."""
    try:
        if stamp(pair.files) == pair.stamp:
            return pair
        fresh = load_pair(pair.files)
    except BadKeyPair as error:
        trouble.append(f"{error}; the certificate in memory stays")
        return pair
    now = time.time()
    if fresh.not_after <= now < pair.not_after:
        trouble.append(f"{pair.files.cert_file}: has expired; the certificate in memory stays")
        return pair
    return fresh


def _build(pairs: tuple[LoadedPair, ...], before: _Index | None) -> _Index:
    """Index *pairs* by name; sets that are the same as in *before* stay the same objects."""
    known = {} if before is None else {one.pairs: one for one in _all_sets(before)}
    exact: dict[str, dict[str, LoadedPair]] = {}
    wildcard: dict[str, dict[str, LoadedPair]] = {}
    for pair in pairs:
        for name in pair.names:
            where, key = (wildcard, name[2:]) if name.startswith("*.") else (exact, name)
            where.setdefault(key, {}).setdefault(pair.kind, pair)

    def joined(*kinds: Mapping[str, LoadedPair]) -> CertSet:
        chosen: dict[str, LoadedPair] = {}
        for by_kind in kinds:
            for kind, pair in by_kind.items():
                chosen.setdefault(kind, pair)
        key = tuple(chosen.values())
        return known.setdefault(key, CertSet(key))

    first = pairs[0]
    covering = (pair for pair in pairs if set(pair.names) >= set(first.names))
    fallback: dict[str, LoadedPair] = {}
    for pair in (first, *covering):
        fallback.setdefault(pair.kind, pair)
    return _Index(
        pairs=pairs,
        exact={
            # An RSA pair that covers the name by its wildcard goes beside an exact ECDSA one.
            name: joined(by_kind, wildcard.get(name.partition(".")[2], {}))
            for name, by_kind in exact.items()
        },
        wildcard={parent: joined(by_kind) for parent, by_kind in wildcard.items()},
        default=joined(fallback),
    )


def _all_sets(index: _Index) -> tuple[CertSet, ...]:
    return (index.default, *index.exact.values(), *index.wildcard.values())


def _renew_self_signed(
    files: KeyPair, dns: tuple[str, ...], ips: tuple[str, ...], now: float
) -> None:
    """Write the self-signed pair where it is missing, broken, for other names, or old."""
    folder = os.open(files.cert_file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # workers that start at once make one pair, not several
        key: PrivateKey | None = None
        try:
            pair = load_pair(files)
        except BadKeyPair:
            pass
        else:
            same = pair.names == dns and pair.addresses == ips
            if same and expiry_notice(pair.not_before, pair.not_after, now) is None:
                return
            if isinstance(pair.key, PrivateKey):
                key = pair.key
        fresh = self_signed(dns[0][:64], dns=dns, ips=ips, days=_SELF_SIGNED_DAYS, key=key)
        # The key first: a crash in between leaves a pair that does not fit, and is made again.
        write_secret(files.key_file, fresh.key_pem)
        _replace(files.cert_file, fresh.cert_pem)
    finally:
        os.close(folder)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    beside.replace(path)
