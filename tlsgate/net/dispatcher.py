"""The dispatcher: from an accepted socket to the protocol that its opening asks for.

1. `connectionMade`: limits; the socket is lent by its transport, and the deadline runs.
2. `_proxy`: a PROXY header where the listener demands it, from a trusted peer only.
3. `_sniff`: the first bytes name a TLS hello, or a protocol's own opening.
4. `_hello`: the ClientHello, whole and still in the kernel; `RouteTable.choose` decides.
5. `_secure`: a TLS object of the chosen route's own context; `_shake` ends the handshake.
6. `_check`: the token and the certificate once more; the identity; allowed or not.
7. `_dispatch`: the protocol is built; a relay or a served transport has the socket, and
   nothing of the dispatcher stays in the data path.
8. `connectionLost`: the counts, the log line and the audit event.

Each step either goes on at once or asks the arrival for more bytes; every way out is
`_refuse` (in the client's own terms), `_drop` (nothing can be said), or the end of what has
the socket. All steps stand in this one file, since they are read, and hold, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address as IPv6Address_
from ipaddress import ip_address
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol

from tlsgate.config.settings import Network
from tlsgate.core.hello import Hello, read_hello
from tlsgate.core.outcome import More
from tlsgate.core.proxyline import read_proxy, write_v1, write_v2
from tlsgate.core.routing import TLS, Ask, CertRule, Choice, Route, SendProxy
from tlsgate.core.sniff import TLS_OPENING, Opening, Then, sniff
from tlsgate.core.tokens import PINGED, best_common
from tlsgate.errors import (
    BadBytes,
    BadProxyHeader,
    Denied,
    Draining,
    GateError,
    ListenerClosed,
    NoCertificate,
    NoRoute,
    NotServed,
    TooMany,
    UnknownOpening,
)
from tlsgate.interfaces import RelayTo
from tlsgate.net.arrival import Arrival
from tlsgate.net.bridge import Bridge, has_socket
from tlsgate.net.connection import Connection
from tlsgate.net.context import RouteContext
from tlsgate.net.dial import Dial, target_end
from tlsgate.net.ends import End, PlainEnd, SecureEnd
from tlsgate.net.farewell import Farewell, is_http, openings_of
from tlsgate.net.lease import Lease
from tlsgate.net.passing import Passing
from tlsgate.net.poller import READ, WRITE
from tlsgate.net.transport import ServedTransport
from tlsgate.tls import reasons
from tlsgate.tls.contexts import TlsPolicy
from tlsgate.tls.fast import BLOCKED
from tlsgate.tls.handshake import DONE, Context, Handshake

#: TLS alerts that a refusal before the handshake says (RFC 8446 section 6).
_DECODE_ERROR: Final = 50
_UNRECOGNIZED_NAME: Final = 112
_NO_APPLICATION_PROTOCOL: Final = 120
_INTERNAL_ERROR: Final = 80


class Dispatcher(Connection):
    """The steps of one connection; see the module."""

    # -- 1: arrival --

    def connectionMade(self) -> None:
        """Twisted calls this: the socket has been accepted."""
        gateway = self.gateway
        transport = self.transport
        if not has_socket(transport):
            # A second dispatcher lives on the stand-in; this one was never counted.
            bridge = Bridge(gateway.poller, type(self)(gateway, self.listener))
            transport.protocol = bridge
            bridge.makeConnection(transport)
            return
        lease = self.lease = Lease(transport, gateway.poller)
        self.peer = transport.getPeer()
        gateway.arrived(self)
        self.arrival = Arrival(lease, self.listener, self.peer, self._hung_up)
        if gateway.draining:
            self._drop(Draining())
            return
        try:
            for census in (gateway.census, gateway.census_of(self.listener)):
                census.arrive()
                self._admitted = (*self._admitted, census)
            self._anonymous = True
        except TooMany as error:
            self._anonymous = True
            self._drop(error)
            return
        gateway.wheel.arm(self, self.entrance.listener.timeouts.prelude_seconds)
        if self.entrance.listener.proxy_protocol.on and not self.was_passed:
            self._proxy()
        else:
            self._place()

    # -- 2: the PROXY header --

    def _proxy(self) -> None:
        peer = self.peer
        if not isinstance(peer, UNIXAddress):
            trusted = self.entrance.listener.proxy_protocol.trusted
            if not gate_trusts(peer, trusted):
                self._drop(
                    BadProxyHeader("PROXY header", f"{peer.host} is not in proxy_protocol.trusted")
                )
                return
        try:
            header = read_proxy(self.arrival.head())
        except BadBytes as error:
            self._drop(error)
            return
        if isinstance(header, More):
            self.arrival.more(header.lacks, self._proxy)
            return
        self.arrival.consume(header.length)
        if header.source is not None and header.destination is not None:
            self.peer = _address(header.source)
            self.told_local = _address(header.destination)
        self._place()

    def _place(self) -> None:
        """Count the connection for its true source; the next step reads its opening."""
        peer = self.peer
        if not isinstance(peer, UNIXAddress):
            try:
                # Each listener counts addresses by its own limits; the process counts sums.
                self.gateway.census_of(self.listener).name(peer.host)
            except TooMany as error:
                self._drop(error)
                return
            self._source = peer.host
        if self.entrance.greeter is not None and self._try_greeter():
            return
        self._sniff()

    def _try_greeter(self) -> bool:
        """Let a protocol that speaks first have its own port; False where it has no route."""
        greeter = self.entrance.greeter
        assert greeter is not None
        if self.entrance.closed is not None:
            if greeter.openings:
                return False  # its clients speak too, and may mean TLS
            self._refuse_closed()
            return True
        ask = Ask(listener=self.listener, opening=greeter.name, encrypted=False)
        try:
            choice = self.gate.table.choose(ask)
        except NoRoute:
            if greeter.openings:
                # Its clients speak too; a hello may come, which a route takes.
                return False
            self._refuse_plain(greeter.name, NotServed(greeter.name, greeter.advice))
            return True
        self.opening = greeter.name
        self._take(choice, None)
        return True

    # -- 3: the opening --

    def _sniff(self) -> None:
        head = self.arrival.head()
        opening: Opening | More | None = _ANY_BYTE
        if head[:1] == b"\x16":
            opening = TLS_OPENING
        elif head:
            opening = sniff(head, self.entrance.openings)
        if opening is TLS_OPENING:
            self._hello()
        elif isinstance(opening, More):
            self.arrival.more(opening.lacks, self._sniff)
        elif opening is None:
            if self.entrance.closed is not None:
                self._refuse_closed()
                return
            error = UnknownOpening(self.listener, head[:16])
            # Somebody who speaks another protocol of ours is told so in that one.
            words = self.gate.stranger(head) or self.entrance.listener.protocol
            if words is not None and words in self.gate.protocols:
                self._refuse_plain(words, error)
            else:
                self._refuse(error, reasons.alert_record(_DECODE_ERROR))
        else:
            self._opened(opening, head)

    def _opened(self, opening: Opening, head: bytes) -> None:
        self.opening = opening.protocol
        last = opening.then in (Then.REFUSE, Then.TAKE)
        if self.entrance.closed is not None and last and not opening.when_closed:
            self._refuse_closed()
            return
        if opening.then is Then.REFUSE:
            words = opening.answer or self.gate.refusal(
                opening.protocol, UnknownOpening(self.listener, head[:16])
            )
            self._refuse(UnknownOpening(self.listener, head[:16]), words)
            return
        if opening.then is Then.TAKE:
            ask = Ask(listener=self.listener, opening=opening.protocol, encrypted=False)
            try:
                choice = self.gate.table.choose(ask)
            except NoRoute as error:
                self._refuse_plain(opening.protocol, self._unserved(opening.protocol, error))
                return
            self._take(choice, None)
            return
        if len(head) > opening.consumes:
            # What came before the answer is not under TLS: somebody put it there (S45).
            self._drop(BadBytes(opening.name, "bytes follow before its answer"))
            return
        self.arrival.consume(opening.consumes)
        self.arrival.write(opening.answer)
        self._sniff_after()

    def _sniff_after(self) -> None:
        """After an answered opening: a hello, or another opening of that protocol."""
        head = self.arrival.head()
        if not head:
            self.arrival.more(1, self._sniff_after)
        elif head[:1] == b"\x16":
            self._hello()
        else:
            protocol = self.opening
            openings = [one for one in self.entrance.openings if one.protocol == protocol]
            found = sniff(head, openings)
            if isinstance(found, More):
                self.arrival.more(found.lacks, self._sniff_after)
            elif found is None:
                self._drop(UnknownOpening(self.listener, head[:16]))
            else:
                self._opened(found, head)

    def _unserved(self, protocol: str, error: GateError) -> GateError:
        """On a protocol's own port, what no route takes is not served (yet)."""
        if self.entrance.listener.protocol == protocol:
            return NotServed(protocol, self.gate.protocols[protocol].advice)
        return error

    # -- 4: the hello --

    def _hello(self) -> None:
        try:
            hello = read_hello(self.arrival.head())
        except BadBytes as error:
            self._refuse(error, reasons.alert_record(_DECODE_ERROR))
            return
        if isinstance(hello, More):
            self.arrival.more(hello.lacks, self._hello)
            return
        self.hello = hello
        if self.entrance.closed is not None:
            self._say_closed(self.entrance.closed, hello)
            return
        if self.gateway.passing is not None and self._pass_on(self.gateway.passing, hello):
            return
        ask = Ask(
            listener=self.listener,
            opening=self.opening,
            server_name=self.gate.known_as(hello.server_name, self.gateway.tunnels),
            alpn=hello.alpn,
        )
        try:
            choice = self.gate.table.choose(ask)
        except NoRoute as error:
            own = self.entrance.listener.protocol
            if own is not None and self._not_served(own, hello.alpn):
                return
            alert = _UNRECOGNIZED_NAME if error.name_unknown else _NO_APPLICATION_PROTOCOL
            self._refuse(error, reasons.alert_record(alert))
            return
        self._take(choice, hello)

    def _pass_on(self, passing: Passing, hello: Hello) -> bool:
        """Give the connection to another worker, where that one is meant and is there."""
        if self.opening != TLS or passing.meant(hello.alpn) is None:
            return False
        lease = self.arrival.take()
        if not passing.give(lease.socket, hello.alpn, self.listener, self.peer, self.local):
            return False
        self.gateway.wheel.drop(self)
        self.cause = "passed_on"
        lease.close()
        return True

    def _not_served(self, name: str, offered: tuple[bytes, ...]) -> bool:
        """Say NotServed under TLS: no route, no certificate asked, nothing behind it.

        False where the port's protocol has nothing to do with the offered tokens.
        """
        protocol = self.gate.protocols.get(name)
        if protocol is None or protocol.listener is None:
            return False
        spec = protocol.listener
        token = best_common((*spec.alpn, *spec.answered), offered)
        if offered and token is None:
            return False
        self.token = token
        self.choice = Choice(Route(name=name, protocol=name, unsafe_anyone=True), token)
        self.error = NotServed(name, protocol.advice)
        self._secure(self.gate.contexts.server(_NO_CERT, None))
        return True

    def _say_closed(self, error: ListenerClosed, hello: Hello) -> None:
        """Say under TLS that the port is closed: no certificate asked, nothing behind it."""
        said = self.gate.closed_words(error, hello.alpn)
        if said is None:
            self._refuse(error, reasons.alert_record(_NO_APPLICATION_PROTOCOL))
            return
        self.choice, policy, self.error = said
        self.token = self.choice.token
        self._secure(self.gate.contexts.server(policy, hello.server_name))

    def _take(self, choice: Choice, hello: Hello | None) -> None:
        """A route is chosen: from here on only its rules count."""
        self.choice = choice
        self.token = choice.token
        route = choice.route
        if hello is None:
            if not route.unsafe_anyone:
                self._refuse_plain(route.protocol, NoCertificate(route.name))
            else:
                self._dispatch()
        elif route.passthrough:
            self._dispatch()
        else:
            context = self.gate.contexts.server(self.gate.policies[route.name], hello.server_name)
            self._secure(context)

    # -- 5: the handshake --

    def _secure(self, context: Context) -> None:
        lease = self.arrival.take()
        self.stage = "handshake"
        self.handshake_began = self.gateway.now()
        assert self.choice is not None
        route = self.choice.route.name
        self.tls = Handshake.accept(context, lease.socket, self.token, route)
        lease.on_ready = self._shake
        self._shake(0)

    def _shake(self, mask: int) -> None:
        assert self.tls is not None
        try:
            outcome = self.tls.step()
        except GateError as error:
            self.gateway.tally.handshakes[self.listener, "failed"] += 1
            self._refuse(error, b"")
            return
        if outcome != DONE:
            self.lease.want(WRITE if outcome == BLOCKED else READ)
            return
        gateway = self.gateway
        gateway.tally.shaken(self.listener, gateway.now() - self.handshake_began)
        if self.error is not None:
            self._say_under_tls(self.error)
            return
        try:
            self._check()
        except GateError as error:
            self._refuse_secure(error)
            return
        self._dispatch()

    def _say_under_tls(self, error: GateError) -> None:
        """Refuse; on a closed port, once a client that waits for an answer has asked."""
        assert self.choice is not None
        protocol = self.gate.protocols.get(self.choice.route.protocol)
        if protocol is None or not isinstance(error, ListenerClosed):
            self._refuse_secure(error)
            return
        openings = openings_of(protocol)
        if not openings and not is_http(protocol, self.token):
            self._refuse_secure(error)
            return
        self.error = None
        self.gateway.wheel.drop(self)
        self.lease.want(0)

        def build() -> IProtocol | None:
            try:
                built = protocol.build(self._context())
            except GateError:
                return None  # it has nobody here, closed or not
            return None if isinstance(built, RelayTo) else built.buildProtocol(self.peer)

        self._serve(
            Farewell(
                openings,
                self.gateway.reactor,
                self.entrance.listener.timeouts.prelude_seconds,
                lambda: self.refuse_served(error, protocol.refusal(error)),
                build,
            )
        )

    # -- 6: once more --

    def _check(self) -> None:
        """What was chosen must be what was negotiated, and the rule must hold.

        Raises:
            GateError: the connection is refused.
        """
        assert self.tls is not None and self.choice is not None
        route = self.choice.route
        assert self.hello is not None
        self.identity = self.tls.recheck(route.client_cert, self.hello.server_name)
        if route.unsafe_anyone:
            return
        decision = self.gateway.authorizer.decide(route, self.identity, self._source)
        if not decision.allowed:
            who = "anyone" if self.identity is None else self.identity.name
            raise Denied(route.name, who, decision.why)
        if decision.idle_seconds is not None or decision.until is not None:
            self.allowed = decision

    # -- 7: the protocol --

    def _dispatch(self) -> None:
        """Build the protocol, and give it the connection."""
        gateway, gate, choice = self.gateway, self.gate, self.choice
        assert choice is not None
        route = choice.route
        if not route.own_login:
            self._known()
        gateway.wheel.drop(self)
        self.lease.want(0)
        try:
            if route.target is not None and (why := gateway.closed()) is not None:
                raise why
            built = gate.protocols[route.protocol].build(self._context())
        except GateError as error:
            self._refuse_built(error)
            return
        gateway.dispatched(self)
        if isinstance(built, RelayTo):
            self._relay(built)
            return
        protocol = built.buildProtocol(self.peer)
        if protocol is None:
            self._refuse_built(NotServed(route.protocol, "it takes no more connections now"))
            return
        self._serve(protocol)

    def _context(self) -> RouteContext:
        """What a protocol is built with."""
        gateway, gate, choice, hello = self.gateway, self.gate, self.choice, self.hello
        assert choice is not None
        return RouteContext(
            choice=choice,
            listener=self.listener,
            opening=self.opening,
            server_name=None if hello is None else hello.server_name,
            identity=self.identity,
            peer=self.peer,
            local=self.local,
            settings=gate.settings,
            own_settings=gate.own_settings.get(choice.route.protocol),
            protocols=gate.protocols,
            clock=gateway.reactor,
            table=gate.table,
            cluster=gateway.cluster,
            tunnels=gateway.tunnels,
            connection=self,
        )

    def _serve(self, protocol: IProtocol) -> None:
        """Give *protocol* the connection."""
        gateway = self.gateway
        end = self._client_end(self.arrival.take())
        self.stage = "serving"
        self.served = ServedTransport(
            end,
            secure=self.tls,
            negotiated=self.token,
            peer=self.peer,
            local=self.local,
            slab=gateway.slab,
            waits=self._waits(),
            wheel=gateway.wheel,
            now=gateway.now,
        )
        self.served.start(protocol)

    def _client_end(self, lease: Lease) -> End:
        if self.tls is None:
            return PlainEnd(lease)
        session = self.tls.session(self.gateway.binding)
        if self.token not in PINGED:
            return SecureEnd(lease, session)
        self.pinged = self.gateway.pings.open(lease, session)
        return self.pinged

    def _relay(self, to: RelayTo) -> None:
        gateway = self.gateway
        assert self.choice is not None
        target = self.gate.targets.get(to.target) or gateway.target(self.gate, to.target)
        header = self._proxy_header(self.choice.route.send_proxy)
        self.stage = "dialling"
        seconds = self.entrance.listener.timeouts.dial_seconds
        self.dial = Dial(
            target,
            header,
            seconds,
            gateway.reactor,
            gateway.poller,
            gateway.wheel,
            self._reached,
            self._missed,
            inside=to.first,
        )
        self.dial.start()

    def _proxy_header(self, kind: SendProxy) -> bytes:
        if kind is SendProxy.NONE:
            return b""
        ends = (_pair_of(self.peer), _pair_of(self.local))
        return write_v1(*ends) if kind is SendProxy.V1 else write_v2(*ends)

    def _reached(self, lease: Lease, secure: Handshake | None) -> None:
        self.dial = None
        gateway = self.gateway
        assert self.choice is not None
        target = target_end(lease, secure, gateway.binding)
        self.stage = "relaying"
        client = self._client_end(self.arrival.take())
        self.pair = self.paired(client, target)
        self.pair.start()

    def _missed(self, error: GateError) -> None:
        self.dial = None
        self._refuse_built(error)


_NO_CERT: Final = TlsPolicy(CertRule.NONE)

#: Stands for "no byte has come": anything may follow.
_ANY_BYTE: Final = More(1)


def gate_trusts(peer: IAddress, trusted: Sequence[Network]) -> bool:
    """Whether PROXY headers of *peer* count; UNIX peers are trusted before this."""
    if not isinstance(peer, (IPv4Address, IPv6Address)):
        return False
    address = ip_address(peer.host.partition("%")[0])
    if isinstance(address, IPv6Address_) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in trusted)


def _address(source: tuple[str, int]) -> IAddress:
    kind = IPv6Address if ":" in source[0] else IPv4Address
    return kind("TCP", *source)


def _pair_of(address: IAddress) -> tuple[str, int] | None:
    if isinstance(address, (IPv4Address, IPv6Address)):
        return address.host, address.port
    return None
