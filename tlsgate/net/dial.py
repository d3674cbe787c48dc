r"""Dialling targets: a client endpoint string in, a lent socket out.

`tcp:` to an IP address and `unix:` are dialled here, in some ten microseconds; names are
looked up and raced by Twisted's `HostnameEndpoint`, and every other endpoint string is
connected by whoever provides it. `tls:HOST:PORT` is `tcp:` with a handshake on top:

    tls:db.internal:5432                      the system's CAs, the name is checked
    tls:db:5432:trustRoots=/etc/ca.pem                     own CA
    tls:db:5432:endpoint=tcp\:10.0.0.5\:5432              another address to dial
"""

from __future__ import annotations

import errno
import functools
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString, quoteStringArgument
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.config.endpoints import target_of
from tlsgate.errors import GateError, TargetRefused, TargetSilent
from tlsgate.interfaces import IReach
from tlsgate.net.ends import End, PlainEnd, SecureEnd
from tlsgate.net.lease import Lease, Owner
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ, WRITE, Poller
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import BLOCKED
from tlsgate.tls.handshake import DONE, Context, Handshake


@frozen
class Target:
    """Where to dial, parsed once when a configuration is loaded.

    Attributes:
        text: the endpoint string.
        family, address: for `socket.connect`, or None where Twisted dials.
        endpoint: for the rest; makes the endpoint for a reactor.
        context, name: for `tls:`, the context and the name to verify.
    """

    text: str
    family: int | None = None
    address: tuple[str, int] | str | None = None
    endpoint: Callable[[Any], IStreamClientEndpoint] | None = None
    context: Context | None = None
    name: str | None = None


class _Contexts(Protocol):
    def client(self, ca_files: tuple[str, ...] = (), alpn: Sequence[bytes] = ()) -> Context: ...


def parse_target(text: str, contexts: _Contexts) -> Target:
    """Make a `Target` of an endpoint string.

    Raises:
        ValueError: it is none, with what is wrong.
        BadKeyPair: a `tls:` target's CA file cannot be used.
    """
    parsed = target_of(text)
    if parsed.kind == "unix" and not parsed.options:
        return Target(text, socket.AF_UNIX, parsed.path)
    if parsed.kind == "tls":
        roots = parsed.options.get("trustRoots")
        context = contexts.client(_root_files(roots) if roots else ())
        inner = parsed.options.get(
            "endpoint", f"tcp:{quoteStringArgument(parsed.host)}:{parsed.port}"
        )
        return evolve(parse_target(inner, contexts), text=text, context=context, name=parsed.host)
    if parsed.kind != "tcp" or parsed.options:
        return Target(text, endpoint=lambda reactor: clientFromString(reactor, text))
    try:
        version = ip_address(parsed.host).version
    except ValueError:
        host, port = parsed.host, parsed.port
        return Target(text, endpoint=lambda reactor: HostnameEndpoint(reactor, host, port))
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return Target(text, family, (parsed.host, parsed.port))


def _root_files(roots: str) -> tuple[str, ...]:
    """The PEM files of a file or, as Twisted has it, of a directory."""
    if os.path.isdir(roots):
        return tuple(sorted(str(file) for file in Path(roots).glob("*.pem")))
    return (roots,)


Then = Callable[[Lease, Handshake | None], None]


class Dial:
    """One attempt to reach a target.

    Args:
        first: bytes that go out before anything else, such as a PROXY header.
        inside: bytes for the server itself: under TLS where the target has it.
        then: called once with the lent socket, and the TLS object for `tls:`.
        failed: called once instead, with the reason.
    """

    __slots__ = (
        "_deferred",
        "_failed",
        "_first",
        "_inside",
        "_lease",
        "_poller",
        "_reactor",
        "_seconds",
        "_target",
        "_then",
        "_tls",
        "_wheel",
        "slot",
    )

    def __init__(
        self,
        target: Target,
        first: bytes,
        seconds: float,
        reactor: Any,
        poller: Poller,
        wheel: Wheel,
        then: Then,
        failed: Callable[[GateError], None],
        inside: bytes = b"",
    ) -> None:
        self._target = target
        self._first = first
        self._inside = inside
        self._seconds = seconds
        self._reactor = reactor
        self._poller = poller
        self._wheel = wheel
        self._then = then
        self._failed = failed
        self._lease: Lease | None = None
        self._tls: Handshake | None = None
        self._deferred: Deferred[IProtocol] | None = None
        self.slot = 0

    def start(self) -> None:
        """Begin; `then` or `failed` may be called before this returns."""
        target = self._target
        if target.address is None:
            assert target.endpoint is not None
            self._wheel.arm(self, self._seconds)
            caught = Factory.forProtocol(_Caught)
            caught.noisy = False
            self._deferred = found = target.endpoint(self._reactor).connect(caught)
            found.addCallbacks(self._caught, self._missed)
            return
        assert target.family is not None
        try:
            sock = socket.socket(target.family, socket.SOCK_STREAM)
        except OSError as error:
            self._fail(TargetRefused(target.text, _words(error.errno)))
            return
        sock.setblocking(False)
        self._lease = Lease(Owned(sock), self._poller)
        code = sock.connect_ex(target.address)
        if code == 0:
            self._connected()
        elif code == errno.EINPROGRESS:
            self._wheel.arm(self, self._seconds)
            self._lease.on_ready = self._answered
            self._lease.want(WRITE)
        else:
            self._refused(code)

    def cancel(self) -> None:
        """Give up; neither `then` nor `failed` is called."""
        self._then = _ignore
        self._failed = _ignore
        self._stop()

    def due(self, now: float) -> float | None:
        """The wheel calls this: the target did not answer."""
        failed = self._failed
        self._stop()
        failed(TargetSilent(self._target.text, self._seconds))
        return None

    def _stop(self) -> None:
        self._wheel.drop(self)
        self._failed = self._then = _ignore
        if self._deferred is not None:
            self._deferred.cancel()
        if self._lease is not None:
            self._lease.abort()

    def _fail(self, error: GateError) -> None:
        failed = self._failed
        self._stop()
        failed(error)

    def _refused(self, code: int) -> None:
        self._fail(TargetRefused(self._target.text, _words(code)))

    def _answered(self, mask: int) -> None:
        assert self._lease is not None
        code = self._lease.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._refused(code)
        else:
            self._lease.want(0)
            self._connected()

    def _caught(self, caught: object) -> None:
        self._deferred = None
        assert isinstance(caught, _Caught)
        self._lease = Lease(caught.owner, self._poller)
        self._connected()

    def _missed(self, reason: Failure) -> None:
        self._deferred = None
        self._fail(TargetRefused(self._target.text, reason.getErrorMessage()))

    def _connected(self) -> None:
        lease = self._lease
        assert lease is not None
        if lease.socket.family != socket.AF_UNIX:
            lease.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = self._first if self._target.context is not None else self._first + self._inside
        if first:
            try:
                lease.socket.send(first)
            except OSError as error:
                self._refused(error.errno or 0)
                return
        if self._target.context is None:
            self._done()
            return
        if not self.slot:
            self._wheel.arm(self, self._seconds)
        self._tls = Handshake.dial(
            self._target.context, lease.socket, self._target.name or "", self._target.text
        )
        lease.on_ready = self._shake
        self._shake(0)

    def _shake(self, mask: int) -> None:
        assert self._lease is not None and self._tls is not None
        try:
            outcome = self._tls.step()
            if outcome == DONE:
                self._tls.check_server(self._target.name or "")
                self._tls.greet(self._inside)
        except GateError as error:
            self._fail(error)
            return
        if outcome == DONE:
            self._lease.want(0)
            self._done()
        else:
            self._lease.want(WRITE if outcome == BLOCKED else READ)

    def _done(self) -> None:
        self._wheel.drop(self)
        lease, self._lease = self._lease, None
        assert lease is not None
        self._then(lease, self._tls)


@implementer(IReach)
class DialReach:
    """A `Dial` as `IReach`.

    Args:
        binding: use pyOpenSSL's private binding for a `tls:` target.
        first, inside: as of `Dial`.
    """

    def __init__(
        self,
        target: Target,
        seconds: float,
        reactor: Any,
        poller: Poller,
        wheel: Wheel,
        *,
        binding: bool,
        first: bytes = b"",
        inside: bytes = b"",
    ) -> None:
        self._binding = binding
        self._make = functools.partial(
            Dial, target, first, seconds, reactor, poller, wheel, inside=inside
        )
        self._dial: Dial | None = None

    def start(self, reached: Callable[[End], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach.start`."""

        def then(lease: Lease, secure: Handshake | None) -> None:
            self._dial = None
            reached(target_end(lease, secure, self._binding))

        def failed(error: GateError) -> None:
            self._dial = None
            missed(error)

        dial = self._dial = self._make(then, failed)
        dial.start()

    def cancel(self) -> None:
        """See `IReach.cancel`."""
        dial, self._dial = self._dial, None
        if dial is not None:
            dial.cancel()


def target_end(lease: Lease, secure: Handshake | None, binding: bool) -> End:
    """What `Dial` has reached, for a relay."""
    if secure is None:
        return PlainEnd(lease)
    return SecureEnd(lease, secure.session(binding))


class _Caught(TwistedProtocol):
    """Holds the transport of a connection until it is lent."""

    @property
    def owner(self) -> Owner:
        """The transport."""
        return self.transport  # type: ignore[return-value]


def _words(code: int | None) -> str:
    return os.strerror(code) if code else "the connection broke"


def _ignore(*args: object) -> None:
    """Stand in for a caller that has gone."""
