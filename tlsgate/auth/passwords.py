"""Passwords: which are taken, and their hashes by argon2id.

A hash takes 19 MiB and tens of milliseconds of a core on purpose, so it never runs in the
reactor's thread, at most four run at once, and the queue for them is bounded: a flood of
logins is told to come back instead of taking the memory (`Unreachable`).

A password is compared in NFKC (RFC 8265 wants NFC; NIST SP 800-63B names NFKC, which also
makes one of the full-width and half-width letters that keyboards produce). So "é" typed as
one key or as two is the same password on every system.
"""

from __future__ import annotations

import base64
import secrets
import threading
import unicodedata
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from attrs import field, frozen
from twisted.internet.defer import Deferred, maybeDeferred

from tlsgate.errors import Unreachable, WeakPassword

T = TypeVar("T")

#: Runs a function in a thread: `twisted.internet.threads.deferToThread`.
InThread = Callable[..., Deferred[Any]]

SHORTEST: Final = 12  #: characters
LONGEST: Final = 128

#: A password of one letter over and over is long and no secret.
_DIFFERENT = 5

#: Kinds of characters that no keyboard gives alike everywhere: control characters, lone
#: surrogates, and what Unicode has not assigned yet, whose normal form may still change.
_NO_TEXT = ("Cc", "Cs", "Cn")

#: RFC 9106 and OWASP's floor; see `Cost`.
_FLOOR_KIB, _FLOOR_PASSES = 19 * 1024, 2


@frozen(kw_only=True)
class Cost:
    """What a hash costs.

    Attributes:
        unsafe_cheap: lets the values go below the floor; only tests do.

    Raises:
        ValueError: it is below 19 MiB, two passes, one lane.
    """

    memory_kib: int = _FLOOR_KIB
    passes: int = _FLOOR_PASSES
    lanes: int = 1
    unsafe_cheap: bool = field(default=False, eq=False)

    def __attrs_post_init__(self) -> None:
        low = self.memory_kib < _FLOOR_KIB or self.passes < _FLOOR_PASSES or self.lanes < 1
        if low and not self.unsafe_cheap:
            raise ValueError(
                f"a password hash takes at least {_FLOOR_KIB} KiB, {_FLOOR_PASSES} passes, 1 lane"
            )


def check_password(password: str, user: str) -> None:
    """Say whether *user* may have this new *password*.

    Raises:
        WeakPassword: with the reason as a sentence.
    """
    if len(password) > LONGEST:
        raise WeakPassword(f"it has more than {LONGEST} characters")
    plain = unicodedata.normalize("NFKC", password)
    if any(unicodedata.category(letter) in _NO_TEXT for letter in plain):
        raise WeakPassword("it has characters that cannot be typed everywhere, such as a tab")
    if len(plain) < SHORTEST:
        raise WeakPassword(f"it needs at least {SHORTEST} characters")
    if len(plain) > LONGEST:
        raise WeakPassword(f"written out, it has more than {LONGEST} characters")
    if len(set(plain)) < _DIFFERENT:
        raise WeakPassword(f"it needs at least {_DIFFERENT} different characters")
    folded, name = plain.casefold(), user.casefold()
    if name and not folded.replace(name, "").strip():
        raise WeakPassword("it is the user name")


class Passwords:
    """Hashes and verifies, a few at once, in threads.

    Args:
        in_thread: `twisted.internet.threads.deferToThread`; *at_most* and *ahead* of its pool's
            threads may be taken at once.
        cost: of new hashes; an old hash is verified with its own.
        at_most: hashes that run at the same time; each takes its memory.
        ahead: more that wait in threads of their own, to begin the moment that another ends:
            under load the reactor's thread is late, and a core would idle meanwhile.
        waiting: how many more may wait.
    """

    def __init__(
        self,
        in_thread: InThread,
        cost: Cost | None = None,
        *,
        at_most: int = 4,
        ahead: int = 2,
        waiting: int = 64,
    ) -> None:
        self.cost = Cost() if cost is None else cost
        self._queue = _Queue(in_thread, at_most, ahead, waiting)
        self._hasher = PasswordHasher(
            time_cost=self.cost.passes,
            memory_cost=self.cost.memory_kib,
            parallelism=self.cost.lanes,
            type=Type.ID,
        )
        self._nobody = _unmatched(self.cost)

    async def hash(self, password: str) -> str:
        """Hash *password*, which `check_password` has taken, in the PHC format.

        Raises:
            Unreachable: too many are waiting; asking again may help.
        """
        return await self._queue.run(self._hasher.hash, _plain(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Say whether *password* is the one that *kept* is the hash of.

        Args:
            kept: None: there is none; the same work is done, and the answer is no.

        Raises:
            Unreachable: too many are waiting; asking again may help.
        """
        true = await self._queue.run(
            _verify, self._hasher, self._nobody if kept is None else kept, _plain(password)
        )
        return true and kept is not None and len(password) <= LONGEST

    def outdated(self, kept: str) -> bool:
        """Whether *kept* was made when hashes were cheaper than they are now."""
        try:
            old = extract_parameters(kept)
        except InvalidHashError:
            return False
        return old.memory_cost < self.cost.memory_kib or old.time_cost < self.cost.passes


def _plain(password: str) -> bytes:
    """The bytes that are hashed; a longer text is cut, the caller refuses it after the work."""
    normal = unicodedata.normalize("NFKC", password[:LONGEST])
    return normal.encode("utf-8", "surrogatepass")


def _verify(hasher: PasswordHasher, kept: str, password: bytes) -> bool:
    try:
        return hasher.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _unmatched(cost: Cost) -> str:
    """A hash of this cost that no password has, made without hashing anything."""
    salt, end = (
        base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=") for length in (16, 32)
    )
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${end}"


class _Queue:
    """Runs a few calls at once and lets a few wait.

    A caller that gives up does not free its place: the thread works on, and only its end
    lets the next one begin, or more than `at_most` hashes would fill the memory.
    """

    def __init__(self, in_thread: InThread, at_most: int, ahead: int, waiting: int) -> None:
        self._in_thread = in_thread
        self._at_most = at_most + ahead
        self._hashing = threading.BoundedSemaphore(at_most)  # taken and given back in threads
        self._limit = waiting
        self._running = 0
        self._waiting: deque[Deferred[None]] = deque()

    async def run(self, call: Callable[..., T], *args: object) -> T:
        if self._running >= self._at_most:
            await self._turn()
        else:
            self._running += 1
        answer: Deferred[Any] = Deferred()
        work = maybeDeferred(self._in_thread, self._in_turn, call, *args)
        work.addBoth(self._ended).chainDeferred(answer)
        return cast(T, await answer)

    def _in_turn(self, call: Callable[..., T], *args: object) -> T:
        """In a thread: run *call* when fewer than the limit run."""
        with self._hashing:
            return call(*args)

    def _turn(self) -> Deferred[None]:
        """Wait for a place, which is handed over: `_running` stays as it is."""
        if len(self._waiting) >= self._limit:
            raise Unreachable("the password check", "too many logins at once; try again in a while")
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        return turn

    def _ended(self, result: T) -> T:
        if self._waiting:
            self._waiting.popleft().callback(None)
        else:
            self._running -= 1
        return result
