r"""Supported doubles for authors of protocols: try one without a gate, a socket or TLS.

    context = FakeContext(route=route(protocol="lines"), identity=holder("alice"))
    talk = connect(lines, context)
    talk.send(b"hello\n")
    assert talk.received == b"hello to you, alice\n"

What is here keeps its names and meanings from release to release; docs/plugins.md uses it.
It is one file, though a long one, since authors import all of it from one place.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate import registry
from tlsgate.config.settings import (
    Limits,
    Listener,
    LogSettings,
    ProxyProtocol,
    Public,
    Settings,
    Timeouts,
)
from tlsgate.core.access import Decision, Identity
from tlsgate.core.claims import Claims
from tlsgate.core.locks import Lock
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.relayed import Relayed
from tlsgate.core.rolevalues import Target
from tlsgate.core.routing import CertRule, Choice, Route, RouteTable
from tlsgate.core.wire.sshcert import SshCertificate
from tlsgate.errors import BadCertificate, GateError, NotServed
from tlsgate.interfaces import (
    IAuthDoor,
    ICluster,
    IGateProtocol,
    IKept,
    IReach,
    IRouteContext,
    ITunnels,
    RelayTo,
)

__all__ = [
    "Conversation",
    "FakeCluster",
    "FakeContext",
    "FakeReach",
    "FakeTunnels",
    "connect",
    "holder",
    "listener",
    "load",
    "member",
    "route",
    "settings",
]


#: Name of a `FakeCluster`, and the anchor of its users' certificates.
_CLUSTER = "prod"
_ANCHOR = b"anchor of prod"


def holder(name: str, *, uris: tuple[str, ...] = (), dns: tuple[str, ...] = ()) -> Identity:
    """The identity of whoever holds a verified certificate for *name*."""
    return Identity(common_names=(name,), uris=uris, dns_names=dns, serial=1, not_after=2e9)


def member(name: str, *roles: str, **fields: Any) -> Identity:
    """The identity of user *name* of a `FakeCluster`; *fields* are its claims' own."""
    values = {"cluster": _CLUSTER, "kind": "user", "name": name, "roles": roles, **fields}
    return evolve(holder(name), claims=Claims(**values), anchor=_ANCHOR)


def route(**fields: Any) -> Route:
    """A route; `name` and `protocol` have defaults, everything else is the route's own."""
    return Route(**{"name": "test", "protocol": "raw", **fields})


_LIMITS = Limits(
    connections=100,
    unauthenticated=100,
    unauthenticated_per_address=100,
    handshakes_per_second_per_address=100,
)
_TIMEOUTS = Timeouts(
    prelude_seconds=5.0,
    opening_seconds=10.0,
    dial_seconds=5.0,
    idle_seconds=3600.0,
    write_stall_seconds=600.0,
    close_seconds=60.0,
    lifetime_seconds=None,
    drain_seconds=30.0,
)


def listener(name: str, endpoint: str, protocol: str | None = None, **fields: Any) -> Listener:
    """A listener as the configuration makes it, with easy limits."""
    values: dict[str, Any] = {
        "name": name,
        "protocol": protocol,
        "endpoint": endpoint,
        "written": endpoint,
        "proxy_protocol": ProxyProtocol(on=False, trusted=()),
        "limits": _LIMITS,
        "timeouts": _TIMEOUTS,
        **fields,
    }
    return Listener(**values)


_PUBLIC = Public(web=(), ssh=(), tunnel=(), kube=(), mysql=(), postgres=(), mongo=())
_FOLDER = Path("/nonexistent")
_SETTINGS = Settings(
    file=_FOLDER / "tlsgate.yaml",
    version="v2",
    mode="multiplex",
    cluster_name="test",
    node_name="node",
    data_dir=_FOLDER,
    plugins_dir=_FOLDER / "plugins",
    diag=None,
    workers=1,
    auth_enabled=True,
    auth_written=False,
    proxy_enabled=True,
    listeners=(listener("web", "tcp:3080:interface=0.0.0.0"),),
    routes=(),
    protocols=MappingProxyType({}),
    client_ca_files=(),
    keypairs=(),
    keypairs_reload_seconds=0.0,
    public=_PUBLIC,
    strict_sni=False,
    limits=_LIMITS,
    timeouts=_TIMEOUTS,
    audit_strict=False,
    log=LogSettings(output="stderr", severity="info", format="text"),
    networking=None,
    authentication=MappingProxyType({}),
    warnings=(),
)


def settings(text: str | None = None, **fields: Any) -> Settings:
    """A configuration: read from YAML *text*, or a small v2 one; then *fields* replaced.

    Raises:
        BadSettings: *text* cannot be used; it says where and why.
    """
    if text is None:
        return evolve(_SETTINGS, **fields)
    from tlsgate.config.read import read_text  # late: most tests need no YAML

    return evolve(read_text(text), **fields)


@implementer(IRouteContext)
@define(kw_only=True)
class FakeContext:
    """A route context whose every field may be given; the rest is plain and stays still.

    Attributes:
        token: the ALPN token that counts as confirmed.
        table: where `claims` looks; by default it holds the routes of the settings.
        clock: a `Clock`, so that a test moves time with `advance`.
    """

    route: Route = field(factory=lambda: route(client_cert=CertRule.NONE))
    token: bytes | None = None
    listener: str = "web"
    opening: str = "tls"
    server_name: str | None = None
    identity: Identity | None = None
    peer: IAddress = field(factory=lambda: IPv4Address("TCP", "192.0.2.7", 40000))
    local: IAddress = field(factory=lambda: IPv4Address("TCP", "192.0.2.1", 3080))
    settings: Settings = _SETTINGS
    own_settings: object = None
    protocols: Mapping[str, IGateProtocol] = field(factory=dict)
    clock: Clock = field(factory=Clock)
    table: RouteTable | None = None
    cluster: ICluster | None = None
    tunnels: ITunnels | None = None
    #: What `relay` was called with: reach, answer, unread, target, limits.
    relayed: tuple[Any, ...] | None = None
    #: What `about` was called with.
    relayed_about: Relayed | None = None
    #: What `refuse` was called with: error, words, target.
    refused: tuple[GateError, bytes, str] | None = None
    kept: IKept | None = None
    trace: str = "0123456789abcdef"
    der: bytes = b""
    ping_seconds: float | None = None
    ssh_host: Any = None
    slab: Any = None
    web_chains: tuple[tuple[tuple[str, ...], str], ...] = ()
    shut: GateError | None = None
    #: What `emit` was called with: event, fields.
    emitted: list[tuple[str, Mapping[str, object]]] = field(factory=list)
    #: What `couple` was called with: client, target, limits.
    coupled: tuple[Any, ...] | None = None
    is_busy: bool = False
    program: str = ""  #: what `came_by` was told

    #: What another worker would be asked by: see `elsewhere`.
    ways: dict[int, FakeReach] = field(factory=dict)
    #: Who wants to hear the end; a test calls them.
    endings: list[Callable[[], None]] = field(factory=list)
    worker: int = 0

    def elsewhere(self, worker: int) -> FakeReach:
        """A way that leads there, or misses, when the test says so."""
        asked = Asked(kind="node", name=str(worker), user="")
        self.ways[worker] = FakeReach(asked)
        return self.ways[worker]

    def on_end(self, listener: Callable[[], None]) -> None:
        """Remember *listener*."""
        self.endings.append(listener)

    def certificate(self) -> bytes:
        """The certificate that was given as `der`."""
        return self.der

    def relay(
        self,
        reach: IReach,
        answer: Callable[[GateError | None], bytes],
        unread: bytes = b"",
        *,
        target: str = "",
        limits: Decision | None = None,
    ) -> None:
        """Remember what the protocol hands over; nothing is reached."""
        self.relayed = (reach, answer, unread, target, limits)

    def about(self, relayed: Relayed) -> None:
        """Remember what is said of the session."""
        self.relayed_about = relayed

    def refuse(self, error: GateError, words: bytes, *, target: str = "") -> None:
        """Remember what the protocol refuses."""
        self.refused = (error, words, target)

    def keep(self, kept: IKept) -> None:
        """Remember who has the socket now."""
        self.kept = kept

    def closed(self) -> GateError | None:
        """Targets may be reached, unless `shut` says otherwise."""
        return self.shut

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """Remember what is recorded."""
        self.emitted.append((event, fields))

    def couple(self, client: Any, target: Any, limits: Decision | None) -> Any:
        """Remember which ends are to be coupled; nothing is carried."""
        self.coupled = (client, target, limits)

    def busy(self, is_busy: bool) -> None:
        """Remember whether a drain has to wait."""
        self.is_busy = is_busy

    def identify(self, identity: Identity) -> None:
        """Take *identity* for the client's from now on."""
        self.identity = identity

    def came_by(self, program: str) -> None:
        """Remember by what program the client has come."""
        self.program = program

    @property
    def choice(self) -> Choice:
        """The route with the confirmed token."""
        return Choice(self.route, self.token)

    def claims(self, server_name: str | None) -> str | None:
        """The name class of *server_name* in `table`."""
        return (self.table or RouteTable(self.settings.routes)).claims(server_name)


@implementer(ICluster)
class FakeCluster:
    """A cluster that decides as the test says, and remembers who wanted what.

    Attributes:
        name, anchor: by which it knows its own.
        door, api: of an auth service of the test's own, if it has one.
        lock: what shuts everybody out.
        decision: about every target.
        asked: the arguments of each `decide_target`.
        jwks: keys of applications' tokens.
        session_listeners: what `on_session_end` was given.
    """

    def __init__(
        self,
        name: str = _CLUSTER,
        *,
        anchor: bytes = _ANCHOR,
        door: IAuthDoor | None = None,
        api: Any = None,
    ) -> None:
        self.name = name
        self.anchor = anchor
        self.mode = "multiplex"
        self.door = door
        self.api = api
        self.ping_seconds: float | None = None
        self.lock: Lock | None = None
        self.decision = Decision(True, "role access")
        self.asked: list[tuple[Identity, Target, str | None]] = []
        self.jwks: Mapping[str, Any] = {"keys": []}
        self.session_listeners: list[Callable[[str], None]] = []

    def on_session_end(self, listener: Callable[[str], None]) -> None:
        """Remember *listener*."""
        self.session_listeners.append(listener)

    def is_ours(self, identity: Identity) -> bool:
        """Go by the anchor, which `member` gives."""
        return identity.anchor == self.anchor

    def lock_on(self, identity: Identity) -> Lock | None:
        """Give `lock`."""
        return self.lock

    def decide_target(self, identity: Identity, target: Target, address: str | None) -> Decision:
        """Give `decision`."""
        self.asked.append((identity, target, address))
        return self.decision

    def ssh_identity(self, certificate: SshCertificate) -> Identity:
        """Take nobody's."""
        raise BadCertificate("this cluster has no users with SSH certificates")


@implementer(IReach)
class FakeReach:
    """A way to a target that leads there, or misses, when the test says so.

    Attributes:
        asked: what it is a way to.
        reached, missed: what `start` was given; None before that.
        beside: the earlier way to whose agent it is to lead.
        cancelled: `cancel` was called.
    """

    def __init__(self, asked: Asked, beside: IReach | None = None) -> None:
        self.asked = asked
        self.beside = beside
        self.reached: Any = None
        self.missed: Any = None
        self.cancelled = False

    def start(self, reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """Begin, which only the test ends."""
        self.reached, self.missed = reached, missed

    def cancel(self) -> None:
        """Remember that nobody waits any more."""
        self.cancelled = True


@implementer(ITunnels)
class FakeTunnels:
    """Agents that have the *known* offers.

    Attributes:
        known: what is offered.
        reaches: each way that was asked for.
    """

    def __init__(self, *known: Offer) -> None:
        self.known = known
        self.reaches: list[FakeReach] = []

    def offers(self, kind: str) -> Sequence[Offer]:
        """What is known of *kind*."""
        return [one for one in self.known if one.kind == kind]

    def offer(self, kind: str, name: str) -> Offer | None:
        """One of them."""
        return next((one for one in self.offers(kind) if one.name == name), None)

    def reach(self, asked: Asked, beside: IReach | None = None) -> FakeReach:
        """Begin a way that the test ends."""
        self.reaches.append(FakeReach(asked, beside))
        return self.reaches[-1]

    def door(self, context: IRouteContext) -> IProtocolFactory:
        """Take no agents."""
        raise NotServed("tunnel", "these tunnels are a test's own")


class _Transport(StringTransport):
    """A transport that remembers how it was closed, and says so to the protocol."""

    conversation: Conversation
    diverted = 0
    taker: Any = None
    waiting = b""
    giving = False

    def pour(self, slab: Any, count: int) -> int:
        """As `ServedTransport` has it: write what the slab begins with."""
        self.write(bytes(slab.view[:count]))
        return len(slab.view)

    def divert(self, count: int, taker: Callable[[Any, int], int]) -> None:
        """As `ServedTransport` has it: let *taker* have the next *count* bytes."""
        self.diverted, self.taker = count, taker

    def came(self, data: bytes) -> None:
        """The client has sent *data*; what is diverted waits while nothing is read."""
        self.waiting += data
        if self.giving:
            return
        self.giving = True
        while self.waiting and not self.conversation.closed:
            if not self.diverted:
                data, self.waiting = self.waiting, b""
                self.conversation.protocol.dataReceived(data)
                continue
            if self.producerState == "paused":
                break
            slab = self.conversation.context.slab
            size = min(self.diverted, len(self.waiting), len(slab.view))
            slab.view[:size] = self.waiting[:size]
            self.waiting = self.waiting[size:]
            self.diverted -= size
            self.taker(slab, size)
        self.giving = False

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.came(b"")

    def loseConnection(self) -> None:
        super().loseConnection()
        if self.producer is None:  # as real ones, it waits for a producer that it has
            self.conversation._end(ConnectionDone())

    def unregisterProducer(self) -> None:
        super().unregisterProducer()
        if self.disconnecting:
            self.conversation._end(ConnectionDone())

    def abortConnection(self) -> None:
        self.conversation.aborted = True
        self.conversation._end(ConnectionAborted())

    def loseWriteConnection(self) -> None:
        self.conversation.write_ended = True


class Conversation:
    """One client talking to a built protocol.

    Attributes:
        protocol: what the factory made.
        closed: the gate's side has closed the connection.
        aborted: it did so without waiting for its last bytes.
        write_ended: it will send nothing more, and still listens.
    """

    def __init__(self, protocol: IProtocol, context: IRouteContext, transport: _Transport) -> None:
        self.protocol = protocol
        self.context = context
        self.closed = False
        self.aborted = False
        self.write_ended = False
        self._transport = transport
        self._busy = False
        self._reason: Exception | None = None
        transport.conversation = self
        with self._turn():
            protocol.makeConnection(transport)

    @property
    def received(self) -> bytes:
        """Everything that the client has got so far."""
        wire: bytes = self._transport.value()
        return wire

    def take(self) -> bytes:
        """What the client has got since it last took; it is not in `received` afterwards."""
        wire = self.received
        self._transport.clear()
        return wire

    def send(self, data: bytes, *, pieces: int | None = None) -> None:
        """Let the client send *data*, at once or in pieces of so many bytes."""
        step = pieces or len(data) or 1
        for start in range(0, len(data), step):
            if self.closed:
                return
            with self._turn():
                self._transport.came(data[start : start + step])

    def hang_up(self) -> None:
        """Let the client close the connection."""
        self._end(ConnectionDone())

    def half_close(self) -> None:
        """Let the client send nothing more, and go on to read.

        A protocol that is no `IHalfCloseableProtocol` loses the connection.
        """
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self._end(ConnectionDone())
            return
        with self._turn():
            self.protocol.readConnectionLost()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One turn of the reactor: whatever the protocol asked for happens at its end."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if isinstance(self.context.clock, Clock):
            self.context.clock.advance(0)
        if self._reason is not None:
            self._end(self._reason)

    def _end(self, reason: Exception) -> None:
        if self._busy:  # a transport never calls back out of a call to it
            self._reason = self._reason or reason
        elif not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(reason))


def load(file: Path) -> Mapping[str, IGateProtocol]:
    """Import a drop-in as the gate would, and give its protocols by name.

    Raises:
        ImportError: *file* offers none, or one that the registry would refuse.
    """
    spec = importlib.util.spec_from_file_location(f"_dropin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = list(registry.offers(str(file), module))
    if not found:
        raise ImportError(f"{file} offers no protocol")
    for one in found:
        if (why := registry.fault_of(one.protocol)) is not None:
            raise ImportError(f"{file}: {why}")
    return registry.by_name(found)


def connect(protocol: IGateProtocol, context: IRouteContext) -> Conversation:
    """Build *protocol* for *context* and connect a client to it, in memory.

    Raises:
        GateError: the protocol refused; `protocol.refusal(error)` is what the client reads.
        TypeError: the protocol relays; look at `protocol.build(context)` instead.
    """
    factory = protocol.build(context)
    if isinstance(factory, RelayTo):
        raise TypeError(f"{protocol.name} relays to {factory.target}")
    transport = _Transport(hostAddress=context.local, peerAddress=context.peer)
    built = factory.buildProtocol(context.peer)
    if built is None:
        raise TypeError(f"{protocol.name}'s factory made no protocol")
    return Conversation(built, context, transport)
