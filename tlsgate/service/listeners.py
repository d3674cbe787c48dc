"""The listening sockets of the daemon: opened, kept, replaced, all or nothing.

1. `Sockets.plan` compares the listeners of new settings with what is open. The same address
   keeps its socket, under whatever name; an address that overlaps an open one is refused;
   every other one is opened at once, so that a failure comes before anything has changed.
2. `Plan.commit` makes the plan what is open and closes what it leaves out; `Plan.abort`
   closes what was opened for it.

A socket is opened here and accepted on elsewhere (`service.acceptor`), perhaps by another
process that inherited it: closing never shuts one down. An endpoint of a plug-in's own type
gives no descriptor; it is `Bound` without a socket, and only a gateway in this process can
open it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory

from tlsgate.config.adminsocket import short_name
from tlsgate.config.endpoints import Bind, bind_of, split
from tlsgate.config.settings import Listener
from tlsgate.core.addresses import host_port
from tlsgate.errors import CannotListen

#: What the kernel may queue for us; Twisted's own 50 lose clients in a burst.
BACKLOG = 4096

#: SD_LISTEN_FDS_START of sd_listen_fds(3).
_FIRST_DESCRIPTOR = 3

#: Accepted sockets inherit these, which saves a call for each on every connection.
_TCP_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


@define(eq=False)
class Bound:
    """A listening socket.

    Attributes:
        wanted: what was asked for.
        endpoint: the endpoint string that asked for it.
        socket: None for an endpoint that gives no descriptor.
        inode: of a UNIX socket's name that we have made; None for everything else.
    """

    wanted: Bind
    endpoint: str
    socket: socket.socket | None
    inode: tuple[int, int] | None = None

    @property
    def actual(self) -> Bind:
        """What is occupied: the port that the system picked for 0, what systemd gave."""
        if self.socket is None:
            return self.wanted
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return self.wanted if self.wanted.kind == "unix" else Bind("unix", name=_path(name))
        return Bind("tcp", host="" if name[0] == "0.0.0.0" else name[0], port=name[1])

    @property
    def address(self) -> str:
        """What people are told: "host:port", a path, or the endpoint itself."""
        actual = self.actual
        if actual.kind == "tcp":
            return host_port(actual.host or "0.0.0.0", actual.port)
        return actual.name if actual.kind == "unix" else self.endpoint

    def close(self, *, leave_name: bool = False) -> None:
        """Close the descriptor.

        Args:
            leave_name: another process serves it, so a UNIX socket's name stays.
        """
        if self.socket is None:
            return
        self.socket.close()
        if self.inode is not None and not leave_name:
            with suppress(OSError):
                found = os.lstat(self.wanted.name)
                if (found.st_dev, found.st_ino) == self.inode:
                    os.unlink(self.wanted.name)


def open_endpoint(endpoint: str) -> Bound:
    """Open what *endpoint* asks for; nobody accepts on it yet.

    Raises:
        OSError, ValueError: it cannot be opened; with a sentence.
    """
    wanted = bind_of(endpoint)
    match wanted.kind:
        case "tcp":
            return Bound(wanted, endpoint, _open_tcp(wanted, _backlog(endpoint)))
        case "unix":
            listening, inode = _open_unix(endpoint, wanted, _backlog(endpoint))
            return Bound(wanted, endpoint, listening, inode)
        case "systemd":
            return Bound(wanted, endpoint, _of_systemd(endpoint, wanted))
        case _:
            return Bound(wanted, endpoint, None)


def adopt(endpoint: str, descriptor: int, inode: tuple[int, int] | None = None) -> Bound:
    """Take over *descriptor*, which another process has opened for *endpoint*."""
    listening = socket.socket(fileno=descriptor)
    listening.setblocking(False)
    return Bound(bind_of(endpoint), endpoint, listening, inode)


@frozen
class Changes:
    """What a plan does, by names of listeners."""

    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Plan:
    """What will be open; made by `Sockets.plan`, then committed or aborted once."""

    def __init__(self, sockets: Sockets, after: dict[str, Bound], new: tuple[Bound, ...]) -> None:
        self.after: Mapping[str, Bound] = after
        self.new = new
        self._sockets = sockets
        self.changes = _changes(sockets.open, after)

    def commit(self) -> None:
        """Make it so: what the plan leaves out is closed."""
        before, self._sockets.open = self._sockets.open, dict(self.after)
        stays = {id(bound) for bound in self.after.values()}
        for bound in before.values():
            if id(bound) not in stays:
                bound.close()

    def abort(self) -> None:
        """Leave everything as it was."""
        for bound in self.new:
            bound.close()


class Sockets:
    """What is open, by the listener's name."""

    def __init__(self, inherited: Iterable[tuple[str, Bound]] = ()) -> None:
        self.open: dict[str, Bound] = dict(inherited)

    def plan(self, listeners: Iterable[Listener]) -> Plan:
        """Open what *listeners* need besides what is open.

        Raises:
            CannotListen: one cannot be opened; none has been.
        """
        listeners = tuple(listeners)
        after = self._keep(listeners)
        new: list[Bound] = []
        try:
            for listener in listeners:
                if listener.name in after:
                    continue
                self._check_overlap(listener, after)
                try:
                    bound = open_endpoint(listener.endpoint)
                except (OSError, ValueError) as e:
                    raise CannotListen(listener.name, listener.written, _why(e)) from e
                new.append(bound)
                after[listener.name] = bound
        except CannotListen:
            for bound in new:
                bound.close()
            raise
        in_order = {listener.name: after[listener.name] for listener in listeners}
        return Plan(self, in_order, tuple(new))

    def _keep(self, listeners: tuple[Listener, ...]) -> dict[str, Bound]:
        """Which listeners have their sockets already."""
        kept: dict[str, Bound] = {}
        free = dict(self.open)
        for listener in listeners:
            bound = free.get(listener.name)
            if bound is not None and _serves(bound, listener):
                kept[listener.name] = free.pop(listener.name)
        for listener in listeners:
            if listener.name in kept:
                continue
            for name, bound in free.items():
                # Port 0 is a wish for some new port; only the same name keeps its own.
                if _serves(bound, listener) and (bound.wanted.kind != "tcp" or bound.wanted.port):
                    kept[listener.name] = free.pop(name)
                    break
        return kept

    def _check_overlap(self, listener: Listener, after: Mapping[str, Bound]) -> None:
        """Refuse an address of which another listener has a part.

        One that this very plan closes counts too: its successor could only be opened
        after it, and clients in between would be refused.
        """
        wanted = bind_of(listener.endpoint)
        for name, bound in (*self.open.items(), *after.items()):
            if wanted.overlaps(bound.actual) or wanted.overlaps(bound.wanted):
                raise CannotListen(
                    listener.name,
                    listener.written,
                    f"it overlaps {bound.address}, which listener {name} has open; take another "
                    f"port, or first reload without listener {name}",
                )


def _serves(bound: Bound, listener: Listener) -> bool:
    """True when *bound* is what *listener* asks for."""
    if bound.socket is None or bound.wanted.kind == "systemd":
        return bound.endpoint == listener.endpoint
    wanted = bind_of(listener.endpoint)
    return wanted in (bound.wanted, bound.actual)


def _changes(before: Mapping[str, Bound], after: Mapping[str, Bound]) -> Changes:
    both = [name for name in after if name in before]
    return Changes(
        opened=tuple(name for name in after if name not in before),
        closed=tuple(name for name in before if name not in after),
        replaced=tuple(name for name in both if before[name] is not after[name]),
        kept=tuple(name for name in both if before[name] is after[name]),
    )


# -- opening ---------------------------------------------------------------------------


def _open_tcp(wanted: Bind, backlog: int) -> socket.socket:
    host = wanted.host or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" means every address there is, whatever the system's default says.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in _TCP_OPTIONS:
            listening.setsockopt(*option)
        listening.bind((host, wanted.port))
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


def _open_unix(
    endpoint: str, wanted: Bind, backlog: int
) -> tuple[socket.socket, tuple[int, int] | None]:
    path = Path(wanted.name)
    mode = int(split(endpoint).named.get("mode", "666"), 8)
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        mask = os.umask(0o777 & ~mode)
        try:
            with short_name(path) as name:
                listening.bind(name)
        finally:
            os.umask(mask)
        path.chmod(mode)
        found = path.lstat()
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening, (found.st_dev, found.st_ino)


def _remove_stale(path: Path) -> None:
    """Remove a socket's name that a killed process has left.

    Raises:
        OSError: somebody listens there, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial, short_name(path) as name:
        trial.setblocking(False)
        try:
            trial.connect(name)
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full, so it lives
    raise OSError(errno.EADDRINUSE, "another process listens there")


class _Lender:
    """As much of a reactor as `systemd:` endpoints need to give up their descriptor."""

    def __init__(self) -> None:
        self.lent: socket.socket | None = None

    def adoptStreamPort(self, descriptor: int, family: int, factory: object) -> object:
        """Copy *descriptor*; the endpoint closes its own."""
        self.lent = socket.fromfd(descriptor, family, socket.SOCK_STREAM)
        return None


def _of_systemd(endpoint: str, wanted: Bind) -> socket.socket:
    lender = _Lender()
    with suppress(LookupError):
        serverFromString(lender, endpoint).listen(Factory()).addErrback(lambda _: None)
    listening = lender.lent or _without_name(wanted)
    if listening is None:
        raise OSError(errno.ENOENT, "systemd has passed no such socket (LISTEN_FDS)")
    if not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError(errno.EINVAL, "what systemd has passed is no listening socket")
    listening.setblocking(False)
    if listening.family != socket.AF_UNIX:
        for option in _TCP_OPTIONS:
            listening.setsockopt(*option)
    return listening


def _without_name(wanted: Bind) -> socket.socket | None:
    """The socket of that number, where none has a name; Twisted forgets such sockets.

    `systemd-socket-activate` gives no LISTEN_FDNAMES unless it is told to, and Twisted takes
    LISTEN_FDS out of `os.environ` all the same, so what we were started with is read here.
    """
    text = Path("/proc/self/environ").read_bytes()
    given = dict(one.partition(b"=")[::2] for one in text.split(b"\0"))
    number = wanted.name.removeprefix("index ")
    if b"LISTEN_FDNAMES" in given or given.get(b"LISTEN_PID") != b"%d" % os.getpid():
        return None
    if not number.isdigit() or int(number) >= int(given.get(b"LISTEN_FDS", b"0")):
        return None
    return socket.socket(fileno=_FIRST_DESCRIPTOR + int(number))


def _backlog(endpoint: str) -> int:
    given: Any = split(endpoint).named.get("backlog")
    return BACKLOG if given is None else int(given)


def _path(name: str | bytes) -> str:
    return os.fsdecode(name)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return error.strerror or os.strerror(error.errno)
    return str(error)
