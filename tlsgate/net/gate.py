"""Everything that the connections of one configuration share, built whole.

A reload builds another `Gate` and swaps; connections keep the one that they began with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, frozen

from tlsgate.config.endpoints import bind_of
from tlsgate.config.settings import Closing, KeyPair, Listener, Settings
from tlsgate.core.names import normal
from tlsgate.core.routing import CertRule, Choice, Route, RouteTable, SendProxy
from tlsgate.core.sniff import TLS_OPENING, Opening, sniff
from tlsgate.core.tokens import best_common, with_pings
from tlsgate.errors import (
    BadKeyPair,
    BadName,
    BadSettings,
    GateError,
    ListenerClosed,
    Problem,
)
from tlsgate.interfaces import IGateProtocol, ITunnels
from tlsgate.net.dial import Target, parse_target
from tlsgate.net.relay import Waits
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy
from tlsgate.tls.sshhost import SshHost, SshHostFiles

#: The listener where all routes meet.
WEB: Final = "web"


@frozen(eq=False)
class Entrance:
    """One listener, as its connections need it.

    Attributes:
        openings: of every protocol that may be met here, TLS first.
        greeter: the protocol that speaks first on this port, or None.
        waits: of its relays, before a route's own.
        closed: what everybody hears who comes here, where no file names it any more.
    """

    listener: Listener
    openings: tuple[Opening, ...]
    greeter: IGateProtocol | None
    waits: Waits
    closed: ListenerClosed | None = None


@frozen(kw_only=True)
class Trust:
    """What a gate takes from its cluster.

    Attributes:
        ca_files: PEM files with the certificates of an authority, by "user" and "host".
        keypairs: what is shown where a protocol `shows_cluster`.
        auth_target: where the TLS of protocols that are `at_auth` goes untouched; None: they
            are served here.
    """

    ca_files: Mapping[str, str]
    keypairs: tuple[KeyPair, ...]
    auth_target: str | None = None
    #: The gateway's own SSH key and certificate; None: there is none.
    ssh_host: SshHostFiles | None = None


@frozen(eq=False, kw_only=True)
class Gate:
    """One configuration at work; see the module."""

    settings: Settings
    protocols: Mapping[str, IGateProtocol]
    own_settings: Mapping[str, object]
    table: RouteTable
    entrances: Mapping[str, Entrance]
    certificates: CertificateStore
    contexts: ContextStore
    policies: Mapping[str, TlsPolicy]  #: by route name
    targets: Mapping[str, Target]  #: by endpoint string
    ssh_host: SshHost | None = None
    in_cluster: bool = False  #: the cluster's certificate can be shown

    @classmethod
    def build(
        cls,
        settings: Settings,
        protocols: Mapping[str, IGateProtocol],
        trust: Trust | None = None,
    ) -> Gate:
        """Make a gate of *settings*; touches files, and no socket.

        Args:
            settings: the configuration.
            protocols: by name.
            trust: of the cluster; None: there is none, or nothing is known of it yet.

        Raises:
            BadSettings: with every problem that was found.
        """
        problems: list[Problem] = []

        def blame(path: str, error: object) -> None:
            problems.append(Problem(settings.place(path), path, str(error)))

        own: dict[str, object] = {}
        for name, protocol in protocols.items():
            try:
                own[name] = protocol.settings(settings.protocols.get(name, {}))
            except ValueError as error:
                blame(f"proxy_service.protocols.{name}", error)
        for name in settings.protocols:
            if name not in protocols:
                blame(f"proxy_service.protocols.{name}", "there is no such protocol plug-in")
        for route in settings.routes:
            if route.protocol not in protocols:
                blame(f"proxy_service.routes.{route.name}", f"no protocol {route.protocol!r}")
        static = tuple(_in_cluster(route, trust) for route in settings.routes)
        routes = tuple(map(_pinged, (*static, *protocol_routes(settings, protocols, trust))))
        try:
            certificates = _certificates(settings)
            contexts = ContextStore(
                certificates, None if trust is None else CertificateStore.load(trust.keypairs)
            )
            policies = {
                route.name: policy
                for route in routes
                if not route.passthrough and (policy := _policy(route, trust)) is not None
            }
            # What nobody can be verified for is closed, until the cluster is known.
            routes = tuple(one for one in routes if one.passthrough or one.name in policies)
            contexts.prepare(policies.values())
        except BadSettings as error:
            raise BadSettings([*problems, *error.problems]) from error
        kept_for = _kept_for(settings.listeners, protocols)
        targets: dict[str, Target] = {}
        for route in routes:
            if route.target is not None:
                try:
                    targets[route.target] = parse_target(route.target, contexts)
                except (ValueError, BadKeyPair) as error:
                    blame(f"proxy_service.routes.{route.name}.target", error)
        ssh_host = None
        if trust is not None and trust.ssh_host is not None:
            try:
                ssh_host = SshHost.load(trust.ssh_host)
            except BadKeyPair as error:
                blame("proxy_service", error)
        if problems:
            raise BadSettings(problems)
        return cls(
            settings=settings,
            protocols=protocols,
            own_settings=own,
            table=RouteTable(
                routes,
                frozenset(_hosts(settings.public.web)),
                settings.strict_sni,
                kept_for=kept_for,
            ),
            entrances={
                one.name: _entrance(one, routes, protocols, kept_for) for one in settings.listeners
            }
            | {one.name: _closed(one, settings, protocols) for one in settings.closing},
            certificates=certificates,
            contexts=contexts,
            policies=policies,
            targets=targets,
            ssh_host=ssh_host,
            in_cluster=trust is not None,
        )

    def closed_words(
        self, error: ListenerClosed, offered: tuple[bytes, ...]
    ) -> tuple[Choice, TlsPolicy, ListenerClosed] | None:
        """How somebody who comes with TLS to a closed port hears of it; None: by an alert.

        Nobody is asked for a certificate: there is nothing behind it.

        Returns:
            The token to confirm, what to show, and the error in the terms of that token.
        """
        protocol = self.protocols.get(error.protocol)
        if protocol is None or protocol.listener is None:
            return None
        spec = protocol.listener
        tokens = with_pings((*protocol.alpn, *spec.alpn, *spec.answered))
        token = best_common(tokens, offered)
        if offered and token is None:
            return None
        foreign = token in protocol.web_alpn if token else bool(protocol.web_alpn)
        policy = TlsPolicy(
            CertRule.NONE, cluster=self.in_cluster and protocol.shows_cluster and not foreign
        )
        route = Route(name=protocol.name, protocol=protocol.name, unsafe_anyone=True)
        return Choice(route, token), policy, evolve(error, in_http=token in spec.answered)

    def known_as(self, server_name: str | None, tunnels: ITunnels | None) -> str | None:
        """Give the name in the table that *server_name* counts as now; mostly itself."""
        table = self.table
        if server_name is None or tunnels is None or server_name in table.public_names:
            return server_name
        if table.claims(server_name) is None:
            public = tuple(_hosts(self.settings.public.web))
            for protocol in self.protocols.values():
                found = protocol.stands_for(server_name, public, tunnels)
                if found is not None:
                    return found
        return server_name

    def stranger(self, head: bytes) -> str | None:
        """The protocol that *head* opens and that no route serves where it came."""
        for name, protocol in self.protocols.items():
            if isinstance(sniff(head, protocol.openings), Opening):
                return name
        return None

    def refusal(self, protocol: str, error: GateError) -> bytes:
        """Say *error* in the words of *protocol*, or nothing if that is beyond it."""
        found = self.protocols.get(protocol)
        return b"" if found is None else found.refusal(error)


def cluster_names(settings: Settings, protocols: Mapping[str, IGateProtocol]) -> tuple[str, ...]:
    """The names for which the cluster's certificate is shown, public ones first.

    Those of the auth service are among them only where it is: elsewhere its TLS passes through.
    """
    public = tuple(_hosts(settings.public.web))
    here = settings.auth_enabled
    names = [
        name
        for one in protocols.values()
        if one.shows_cluster and (here or not one.at_auth)
        for name in one.server_names(public)
    ]
    if here:
        zone = f"auth.{settings.cluster_name}"
        own = (f"{zone}:0", f"{settings.node_name}.{zone}:0", *settings.auth.public)
        names += _hosts(own)
    return tuple(dict.fromkeys((*public, *names)))


def _kept_for(
    listeners: Iterable[Listener], protocols: Mapping[str, IGateProtocol]
) -> Mapping[str, frozenset[str]]:
    """The auth service's own port serves the auth service, and none of the gateway's routes."""
    at_auth = frozenset(name for name, one in protocols.items() if one.at_auth)
    return {one.name: at_auth for one in listeners if one.protocol in at_auth}


def _in_cluster(route: Route, trust: Trust | None) -> Route:
    """A static route that takes certificates takes those of the cluster's users, too."""
    if trust is None or route.passthrough or route.client_cert is CertRule.NONE:
        return route
    return evolve(route, trusts=("user",))


def _pinged(route: Route) -> Route:
    """Whoever may use a long-lived token may use its ping variant; untouched TLS has none."""
    return route if route.passthrough else evolve(route, alpn=with_pings(route.alpn))


def _policy(route: Route, trust: Trust | None) -> TlsPolicy | None:
    """What the handshake of *route* demands; None where nobody could meet it."""
    if route.shows_cluster and trust is None:
        return None
    files = route.client_ca_files
    if trust is not None:
        files = (*files, *(trust.ca_files[whose] for whose in route.trusts))
    if route.client_cert is not CertRule.NONE and not files:
        return None
    return TlsPolicy(route.client_cert, files, route.shows_cluster)


def protocol_routes(
    settings: Settings, protocols: Mapping[str, IGateProtocol], trust: Trust | None = None
) -> Iterable[Route]:
    """The routes that protocols bring by themselves, tokens before names.

    A protocol that demands certificates nobody can verify yet has no route: closed.
    """
    public = tuple(_hosts(settings.public.web))
    for name, protocol in sorted(protocols.items()):
        if protocol.own_login and trust is not None and trust.ssh_host is not None:
            # What is about those who are there still is heard on a closed port, too.
            for listener in (*settings.listeners, *(one.listener for one in settings.closing)):
                if listener.name == WEB or listener.protocol == name:
                    yield Route(
                        name=f"{name}-plain",
                        protocol=name,
                        listener=listener.name,
                        unsafe_anyone=True,  # no target; the protocol itself decides
                        plain=True,
                        own_login=True,
                    )
        open_to_anyone = protocol.client_cert is CertRule.NONE
        holders = protocol.holders
        if not protocol.stands_alone or (trust is None and (protocol.shows_cluster or holders)):
            continue
        if not (open_to_anyone or settings.client_ca_files or holders):
            continue
        base = Route(
            name=name,
            protocol=name,
            client_cert=protocol.client_cert,
            # The cluster's own protocols take nobody else's certificates.
            client_ca_files=() if open_to_anyone or holders else settings.client_ca_files,
            trusts=holders,
            shows_cluster=protocol.shows_cluster,
            unsafe_anyone=True,  # no target; the protocol itself decides
        )
        # Whom other people's programs dial is checked by the name that people dial.
        foreign = base
        if protocol.web_alpn:
            foreign = evolve(
                base,
                name=f"{name}-web",
                alpn=protocol.web_alpn,
                client_cert=CertRule.OPTIONAL,
                shows_cluster=False,
            )
            yield foreign
        names = tuple(protocol.server_names(public))
        if protocol.at_auth and trust is not None and trust.auth_target is not None:
            ports = [one.name for one in settings.listeners if one.protocol == name]
            yield from _passed(name, protocol, names, ports, trust.auth_target)
            continue
        if protocol.alpn:
            # The console is for the web port alone; a token is good on any port.
            catch_all = not names and b"http/1.1" in protocol.alpn
            where = WEB if catch_all else None
            tokens = tuple(one for one in protocol.alpn if one not in protocol.web_alpn)
            yield evolve(base, alpn=tokens, catch_all=catch_all, listener=where)
        if names:
            yield evolve(base, name=f"{name}-name", server_names=names, alpn=protocol.name_alpn)
        for listener in settings.listeners:
            if listener.protocol == name:
                # On its own port a protocol needs no token.
                spec = protocol.listener
                tokens = protocol.name_alpn if spec is None else spec.alpn
                yield evolve(
                    foreign,
                    name=f"{name}-port",
                    listener=listener.name,
                    alpn=tokens,
                    plain=open_to_anyone,
                )
                if tokens:
                    yield evolve(base, name=f"{name}-port-plain", listener=listener.name)


def _passed(
    name: str,
    protocol: IGateProtocol,
    names: tuple[str, ...],
    ports: Iterable[str],
    target: str,
) -> Iterable[Route]:
    """The routes of what the auth service serves itself, in another process."""
    # Another machine's auth service trusts no PROXY header of ours.
    send_proxy = SendProxy.V2 if target.startswith("unix:") else SendProxy.NONE
    base = Route(name=name, protocol=name, passthrough=True, target=target, send_proxy=send_proxy)
    if protocol.alpn:
        yield evolve(base, alpn=protocol.alpn)
    if names:
        yield evolve(base, name=f"{name}-name", server_names=names)
    for port in ports:
        yield evolve(base, name=f"{name}-port", listener=port)


def _certificates(settings: Settings) -> CertificateStore:
    if settings.keypairs:
        return CertificateStore.load(settings.keypairs)
    names = tuple(_hosts(settings.public.web)) or ("localhost",)
    return CertificateStore.self_signed(names, settings.data_dir)


def _hosts(addresses: Iterable[str]) -> Iterable[str]:
    for address in addresses:
        host = address.rpartition(":")[0]
        with contextlib.suppress(BadName):  # an address literal is nobody's SNI
            yield normal(host)


def _entrance(
    listener: Listener,
    routes: Iterable[Route],
    protocols: Mapping[str, IGateProtocol],
    kept_for: Mapping[str, frozenset[str]],
) -> Entrance:
    wanted = {route.protocol for route in routes if route.listener in (None, listener.name)}
    wanted &= kept_for.get(listener.name, wanted)
    own = None if listener.protocol is None else protocols.get(listener.protocol)
    if own is not None:
        wanted.add(own.name)
    openings = [TLS_OPENING]
    # What a port is for comes first there.
    for name in sorted(wanted & set(protocols), key=lambda one: (one != listener.protocol, one)):
        here = name == listener.protocol
        openings += [one for one in protocols[name].openings if here or not one.own_port]
    spec = None if own is None else own.listener
    timeouts = listener.timeouts
    return Entrance(
        listener,
        tuple(openings),
        own if spec is not None and spec.speaks_first else None,
        Waits(
            idle_seconds=timeouts.idle_seconds,
            write_stall_seconds=timeouts.write_stall_seconds,
            close_seconds=timeouts.close_seconds,
            lifetime_seconds=timeouts.lifetime_seconds,
        ),
    )


def _closed(gone: Closing, settings: Settings, protocols: Mapping[str, IGateProtocol]) -> Entrance:
    """The entrance of a port that only says where its clients go now."""
    listener = gone.listener
    protocol = listener.protocol or WEB
    made = _entrance(listener, (), protocols, {})
    return evolve(made, closed=ListenerClosed(listener.name, protocol, _now_at(gone, settings)))


def _now_at(gone: Closing, settings: Settings) -> str:
    """Where the clients of a closed port go: to the web port, or where it has moved to."""
    web = settings.public.web[0] if settings.public.web else ""
    new = next((one for one in settings.listeners if one.name == gone.moved), None)
    if new is None:
        return web
    if told := getattr(settings.public, new.name, ()):
        return str(told[0])
    host, port = web.rpartition(":")[0], bind_of(new.endpoint).port
    return f"{host}:{port}" if host and port else web
