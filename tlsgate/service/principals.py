"""The files by which the node's sshd lets people in: one a login, a line a person.

1. Each change of the cluster's state that can matter, of the node's labels, and the end of a
   lock or of what is known in strict mode, makes all files due.
2. They are made anew in slices, so that nothing else waits: first who may what, then the
   files. Those from which somebody is missing come before those that only have more.
3. A file that is as before is left alone, and one that nobody has any more is removed.
   A file that cannot be written is removed too: who cannot be named cannot log in.
   The names are of `is_login`: bounded, and nothing that could be a path or a hidden file.
4. What changes meanwhile makes them due again, after this round and not in its place: a
   cluster in which something changes all the time gets its files too.

Where locks are strict, nobody comes in on what is known too long; lines also end by
themselves then, so that they do in an agent that was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.principals import Admissions, next_change
from tlsgate.core.roles import is_login
from tlsgate.service.sshfiles import make_folder, put

#: How often it is looked whether time has changed anything.
TICK_SECONDS: Final = 0.5
#: How long one turn of the reactor is used, once so many people or files are done.
SLICE_SECONDS: Final = 0.005
LEAST_A_SLICE: Final = 10
#: Kinds of resources that say nothing of logins.
_ELSEWHERE: Final = frozenset({"cluster_networking_config", "cert_authority"})


class View(Protocol):
    """What is needed of `cluster.view.ClusterView`."""

    stale_limit_seconds: float

    @property
    def state(self) -> ClusterState | None:
        """What is known."""

    @property
    def stale_seconds(self) -> float:
        """How old that is."""

    def on_change(self, listener: Callable[[frozenset[str]], None], /) -> None:
        """Call *listener* after each change."""


class Principals:
    """See the module.

    Args:
        folder: for the files, and nothing else: what is not of ours is removed.
        view: of the cluster.
        labels: of the node, now.
        clock: for timers.
        name: of the node.
        now: seconds since the epoch.
        ends: whether lines of people for whom locks are strict end by themselves; False for
            an sshd that does not understand it (OpenSSH before 9.1).
    """

    log = Logger()

    def __init__(
        self,
        folder: Path,
        view: View,
        labels: Callable[[], Mapping[str, str]],
        clock: IReactorTime,
        *,
        name: str,
        now: Callable[[], float] = time.time,
        ends: bool = True,
    ) -> None:
        self.folder = folder
        self.name = name
        self.ends = ends
        self._view = view
        self._labels = labels
        self._clock = clock
        self._now = now
        self._started = False
        #: By login, what its file has; None: the folder was not looked at.
        self._written: dict[str, bytes] | None = None
        self._round: Iterator[None] | None = None
        self._again = False
        self._slices = _Slices()
        #: Of the last round; what it found out of roles is good for the next one.
        self._found: Admissions | None = None
        self._calls: dict[str, IDelayedCall] = {}
        #: What the last round began with.
        self._used_labels: Mapping[str, str] | None = None
        self._used_fresh = True
        self._next_lock: float | None = None
        self._until: float | None = None
        self._failed = False
        self._told = ""
        view.on_change(self._changed)

    def start(self) -> None:
        """Make the files what they should be, and keep them so."""
        if not self._started:
            self._started = True
            self.refresh()
            self._tick()

    def stop(self) -> None:
        """Leave the files as they are."""
        self._started = False
        self._round = None
        self._again = False
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()

    def refresh(self) -> None:
        """Make the files anew; who has changed the node's labels calls it."""
        if not self._started:
            return
        if self._round is not None:
            self._again = True
        elif (state := self._view.state) is not None:
            self._round = self._made(state)
            self._go_on()

    # -- when --

    def _changed(self, what: frozenset[str]) -> None:
        if what - _ELSEWHERE:
            self.refresh()

    def _tick(self) -> None:
        self._later("tick", TICK_SECONDS, self._tick)
        if self._round is None and self._is_due():
            self.refresh()

    def _is_due(self) -> bool:
        now = self._now()
        return (
            self._failed
            or self._used_fresh != self._is_fresh()
            or self._used_labels != self._labels()
            or (self._next_lock is not None and now >= self._next_lock)
            or (
                self._until is not None
                and self._used_fresh
                and self._until - now < self._view.stale_limit_seconds / 2
            )
        )

    def _is_fresh(self) -> bool:
        return self._view.stale_seconds <= self._view.stale_limit_seconds

    def _later(self, which: str, seconds: float, call: Callable[[], None]) -> None:
        def due() -> None:
            del self._calls[which]
            call()

        self._calls[which] = self._clock.callLater(seconds, due)

    # -- one round --

    def _go_on(self) -> None:
        """Do the next slice."""
        assert self._round is not None
        self._slices.begin()
        try:
            next(self._round)
        except StopIteration:
            self._round = None
            if self._again:
                self._again = False
                self._later("round", 0, self.refresh)
            return
        except BaseException:
            self._round = None
            self._failed = True  # a bug; the next tick tries again
            raise
        self._later("round", 0, self._go_on)

    def _made(self, state: ClusterState) -> Iterator[None]:
        """Make all files what *state* says; yields between slices."""
        now, fresh = self._now(), self._is_fresh()
        left = self._view.stale_limit_seconds - self._view.stale_seconds
        self._used_labels, self._used_fresh = dict(self._labels()), fresh
        self._next_lock = next_change(state, now)
        self._until = now + left if fresh else None
        until = _utc(self._until) if self._until is not None and self.ends else ""
        found = Admissions(
            state,
            self.name,
            self._used_labels,
            now,
            fresh=fresh,
            until=until,
            before=self._found,
        )
        slices, self._found = self._slices, found
        wanted: dict[str, list[str]] = {}
        for person in found.people:
            if (one := found.of(person)) is not None:
                for login in one.logins:
                    wanted.setdefault(login, []).append(one.line)
            if slices.end():
                yield
        yield from self._kept(wanted)

    def _kept(self, wanted: Mapping[str, list[str]]) -> Iterator[None]:
        """Bring the folder to *wanted*; yields between slices."""
        failed, slices = "", self._slices
        try:
            make_folder(self.folder)
            if self._written is None:
                self._written = self._read()
        except OSError as error:
            self._tell(f"{self.folder}: {error.strerror}")
            return
        written = self._written
        for login in [login for login in written if login not in wanted]:
            failed = self._put(written, login, None) or failed
            if slices.end():
                yield
        gaining: list[str] = []
        for login, lines in wanted.items():
            text = _text(lines)
            if written.get(login) != text:
                if _loses(written.get(login, b""), text):
                    failed = self._put(written, login, text) or failed
                else:
                    gaining.append(login)
            if slices.end():
                yield
        for login in gaining:
            failed = self._put(written, login, _text(wanted[login])) or failed
            if slices.end():
                yield
        self._tell(failed)

    def _put(self, written: dict[str, bytes], login: str, text: bytes | None) -> str:
        """Write or remove one file; give why it cannot be, or ""."""
        file = self.folder / login
        # What is there is not known until it is done.
        written.pop(login, None)
        try:
            if text is None:
                file.unlink(missing_ok=True)
                return ""
            put(file, text, durable=False)
        except OSError as error:
            try:
                file.unlink(missing_ok=True)
            except OSError:
                written[login] = b"\0"  # something that is to go
            return f"{file}: {error.strerror}"
        written[login] = text
        return ""

    def _read(self) -> dict[str, bytes]:
        """What an earlier process has left; what is no file of a login is removed."""
        found: dict[str, bytes] = {}
        for file in self.folder.iterdir():
            if is_login(file.name) and file.is_file() and not file.is_symlink():
                found[file.name] = b"\0"  # whatever it says is of another time
            elif not file.is_dir():
                file.unlink(missing_ok=True)
        return found

    def _tell(self, failed: str) -> None:
        """Log a failure, once while it lasts; the next tick tries again."""
        self._failed = bool(failed)
        if failed and failed != self._told:
            self.log.error(
                "logins by the cluster's certificates cannot be written: {why}", why=failed
            )
        elif self._told and not failed:
            self.log.info("logins by the cluster's certificates can be written again")
        self._told = failed


class _Slices:
    """Tells when a turn was long enough."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin another turn."""
        self._done = 0
        self._since = time.perf_counter()

    def end(self) -> bool:
        """Count one more thing; True where the next one is for the next turn."""
        self._done += 1
        return self._done >= LEAST_A_SLICE and time.perf_counter() - self._since >= SLICE_SECONDS


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _utc(seconds: float) -> str:
    """How sshd reads a time; the Z is understood from OpenSSH 9.1 on."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


def _loses(before: bytes, after: bytes) -> bool:
    """Whether a line of *before* is not in *after*."""
    return not set(before.splitlines()) <= set(after.splitlines())
