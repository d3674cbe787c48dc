"""Ask, Route, choose: the one decision that a connection's opening leads to.

1. A connection says what it wants in an `Ask`: listener, opening, server name, ALPN offers.
2. `RouteTable.choose` gives one `Choice`: a route, and the ALPN token to confirm.
3. Everything weaker or stricter than that (certificates, roles) hangs on the route;
   no later step looks at the offers again.

Which route wins, for one listener and opening:

- routes for exactly the asked name, then wildcard routes (the longest first), then
  routes for any name; among routes for the same name, ALPN order is the route
  table's, not the client's (RFC 7301 section 3.2);
- a name that some route claims never falls through to the catch-all route (the
  console), so that a token cannot turn a guarded name into an unguarded one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from tlsgate.core.access import Rule
from tlsgate.core.tokens import best_common
from tlsgate.errors import NoRoute

#: The opening of a connection that starts with a TLS record.
TLS = "tls"


class CertRule(enum.Enum):
    """What a route asks of the client's certificate."""

    NONE = "none"  #: none is asked for
    OPTIONAL = "optional"  #: asked for; an invalid one ends the handshake, none is fine
    REQUIRED = "required"  #: without a verified one there is no connection


class SendProxy(enum.Enum):
    """Which PROXY protocol header goes to the target first."""

    NONE = "none"
    V1 = "v1"
    V2 = "v2"


@frozen(kw_only=True)
class Ask:
    """What a connection asked for, as far as its opening tells."""

    listener: str
    #: `TLS`, or the name of the protocol whose opening came first ("postgres", "ssh").
    opening: str = TLS
    #: False for a plain opening that a protocol takes without TLS.
    encrypted: bool = True
    server_name: str | None = None  #: normalised by `core.names`
    alpn: tuple[bytes, ...] = ()


@frozen(kw_only=True)
class Route:
    """One way through the gate: what it takes, what it demands, where it leads.

    A route with neither `server_names` nor `alpn` is the listener's catch-all.
    """

    name: str
    protocol: str  #: name of the `IGateProtocol` that serves it
    listener: str | None = None  #: only on this listener; None: on every one
    server_names: tuple[str, ...] = ()  #: exact, or "*.example.com"; (): any name
    #: Tokens in our order of preference; (): only clients that offer none. A route
    #: that lists http/1.1 also takes clients that offer none.
    alpn: tuple[bytes, ...] = ()
    client_cert: CertRule = CertRule.NONE
    client_ca_files: tuple[str, ...] = ()
    allow: tuple[Rule, ...] = ()
    #: Any of these roles lets the bearer of a user certificate of the cluster in.
    require_role: tuple[str, ...] = ()
    #: Authorities of the cluster whose certificates are taken beside `client_ca_files`:
    #: "user", "host".
    trusts: tuple[str, ...] = ()
    #: Show the certificate that the cluster's host authority issued, not the web one.
    shows_cluster: bool = False
    unsafe_anyone: bool = False
    passthrough: bool = False  #: relayed from the hello on, TLS untouched
    plain: bool = False  #: also taken by the protocol's opening without TLS
    target: str | None = None  #: a Twisted client endpoint string
    send_proxy: SendProxy = SendProxy.NONE
    idle_seconds: float | None = None  #: None: the listener's
    #: True for the console: it never takes a name that another route claims.
    catch_all: bool = False
    #: True: taken by the protocol's opening without TLS only, and the protocol finds out by
    #: itself who the client is.
    own_login: bool = False


@frozen
class Choice:
    """The route that was chosen and the token to confirm (None: confirm none)."""

    route: Route
    token: bytes | None


_HTTP = b"http/1.1"


@frozen
class _Names:
    """Routes of one listener and opening, by the name they are for."""

    exact: Mapping[str, tuple[Route, ...]]
    wildcard: Mapping[str, tuple[Route, ...]]  #: by the part after "*."
    anything: tuple[Route, ...]


@frozen
class RouteTable:
    """All routes, indexed so that a choice costs a few lookups.

    Attributes:
        routes: in order of preference where two would take the same connection.
        public_names: the names that are the gateway's own; they are always known.
        strict_sni: a name that is neither public nor a route's is refused.
        kept_for: protocols by the listener that is theirs alone; nothing else is served there,
            and under any name.
    """

    routes: tuple[Route, ...]
    public_names: frozenset[str] = frozenset()
    strict_sni: bool = False
    kept_for: Mapping[str, frozenset[str]] = field(factory=dict, kw_only=True)
    _index: dict[tuple[str, str, bool], _Names] = field(
        factory=dict, init=False, eq=False, repr=False
    )
    _claimed: frozenset[str] = field(init=False, eq=False, repr=False)

    @_claimed.default
    def _find_claimed(self) -> frozenset[str]:
        return frozenset(
            name for route in self.routes if not route.catch_all for name in route.server_names
        )

    def choose(self, ask: Ask) -> Choice:
        """Give the one route for *ask*.

        Raises:
            NoRoute: nothing takes it; the error says whether it was the name.
        """
        name = ask.server_name
        claimed = self.claims(name) is not None
        known = claimed or name is None or name in self.public_names
        if self.strict_sni and not known and ask.listener not in self.kept_for:
            raise NoRoute(ask.listener, name, ask.alpn, name_unknown=True)
        for group in self._groups(ask):
            for route in group:
                if route.catch_all and claimed:
                    continue
                if (choice := _match(route, ask)) is not None:
                    return choice
        raise NoRoute(ask.listener, name, ask.alpn)

    def claims(self, server_name: str | None) -> str | None:
        """The name pattern under which *server_name* is claimed, on any listener.

        A public name is the console's, whatever wildcard covers it. Two names are of one
        class exactly when this gives the same for both; None is the console's class. Used
        to compare SNI with Host (S05).
        """
        if server_name is None or server_name in self.public_names:
            return None
        if server_name in self._claimed:
            return server_name
        wildcard = "*." + server_name.partition(".")[2]
        return wildcard if wildcard in self._claimed else None

    def _groups(self, ask: Ask) -> Iterable[tuple[Route, ...]]:
        key = (ask.listener, ask.opening, ask.encrypted)
        names = self._index.get(key)
        if names is None:
            names = self._index[key] = self._gather(*key)
        if ask.server_name is not None and ask.server_name not in self.public_names:
            # A wildcard stands for one label, as in certificates (RFC 6125 section 6.4.3).
            yield names.exact.get(ask.server_name, ())
            yield names.wildcard.get(ask.server_name.partition(".")[2], ())
        yield names.anything

    def _gather(self, listener: str, opening: str, encrypted: bool) -> _Names:
        exact: dict[str, tuple[Route, ...]] = {}
        wildcard: dict[str, tuple[Route, ...]] = {}
        anything: tuple[Route, ...] = ()
        own = self.kept_for.get(listener)
        for route in self.routes:
            if route.listener not in (None, listener):
                continue
            if own is not None and route.protocol not in own:
                continue
            if opening not in (TLS, route.protocol) or not (encrypted or route.plain):
                continue
            if encrypted and route.own_login:
                continue
            for name in route.server_names:
                where, key = (wildcard, name[2:]) if name.startswith("*.") else (exact, name)
                where[key] = (*where.get(key, ()), route)
            if not route.server_names:
                anything = (*anything, route)
        return _Names(exact, wildcard, anything)


def _match(route: Route, ask: Ask) -> Choice | None:
    """The choice of *route* for *ask*, whose name and listener fit already."""
    if not ask.encrypted:
        return Choice(route, None)
    if route.passthrough and not route.alpn:
        return Choice(route, None)
    if not ask.alpn:
        takes_none = not route.alpn or _HTTP in route.alpn or ask.opening != TLS
        return Choice(route, None) if takes_none else None
    token = best_common(route.alpn, ask.alpn)
    if token is None:
        return None
    return Choice(route, None if route.passthrough else token)
