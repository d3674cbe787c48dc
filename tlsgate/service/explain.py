"""What a gate would do with a hypothetical connection, step by step, with the reasons.

The decisions are those of the code that serves: `RouteTable.choose`, the certificate
store, the authorizer, and for a client certificate `tls.offered`. Only the sentences are
made here. Works on any `Gate`, one that runs or one that was only built.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

from tlsgate.core.access import Decision, Identity, decide
from tlsgate.core.names import normal
from tlsgate.core.routing import TLS, Ask, CertRule, Choice, Route, RouteTable
from tlsgate.errors import (
    BadAsk,
    BadCertificate,
    BadName,
    GateError,
    NoCertificate,
    NoRoute,
    NotServed,
)
from tlsgate.interfaces import IAuthorizer
from tlsgate.net.gate import Entrance, Gate
from tlsgate.tls.offered import offered

#: TLS alerts (RFC 8446 section 6); the last one in TLS 1.3, TLS 1.2 says 40.
UNRECOGNIZED_NAME = 112
NO_APPLICATION_PROTOCOL = 120
CERTIFICATE_REQUIRED = 116

#: A route's rank among those that fit: exact name, wildcard, any name.
_EXACT, _WILDCARD, _ANY = range(3)


def explain(
    gate: Gate,
    listener: str,
    sni: str | None,
    alpn: Sequence[str],
    cert_pem: str | None,
    *,
    authorizer: IAuthorizer | None = None,
) -> dict[str, Any]:
    """Decide for a TLS connection to *listener*; nothing is dialled.

    Args:
        gate: the configuration that decides.
        listener: the listener's name.
        sni: the server name in the hello, or None.
        alpn: the protocols that it offers, the client's favourite first.
        cert_pem: the client's certificate, with its intermediates, or None.
        authorizer: who decides about routes with rules; None: the rules themselves.

    Returns:
        JSON types: ask, outcome ("allowed" or "refused"), reason (None, or the word that
        logs and metrics use), message, alert (the TLS alert that says it, or None), route,
        token, policy, certificate, identity, routes (each with its reason), steps.

    Raises:
        BadAsk: there is no such listener.
    """
    if listener not in gate.entrances:
        known = ", ".join(gate.entrances) or "none"
        raise BadAsk(f"there is no listener {listener!r}; there are: {known}")
    telling = _Telling(gate, listener, sni, tuple(token.encode() for token in alpn))
    telling.arrive()
    if telling.entrance.closed is not None:
        telling.refuse("accept", telling.entrance.closed, None)
        return telling.told
    choice = telling.greet() if telling.entrance.greeter is not None else telling.choose()
    if choice is not None:
        telling.demand(choice)
        telling.judge(choice.route, cert_pem, authorizer)
    return telling.told


def why_not(table: RouteTable, route: Route, ask: Ask) -> str | None:
    """Why *route* does not take *ask*, as the rest of a sentence; None when it would.

    Of several that would, the table takes the one for the most exact name.
    """
    if route.listener not in (None, ask.listener):
        return f"only on listener {route.listener}"
    if ask.opening not in (TLS, route.protocol):
        return f"its protocol is {route.protocol}"
    if rank(route, ask.server_name) is None:
        return f"only for {_either(route.server_names)}"
    claim = table.claims(ask.server_name)
    if route.catch_all and claim is not None:
        return f"the name {claim} belongs to another route"
    if route.passthrough and not route.alpn:
        return None
    tokens = [token.decode("latin-1") for token in route.alpn]
    if not ask.alpn:
        if not route.alpn or b"http/1.1" in route.alpn or ask.opening != TLS:
            return None
        return f"needs ALPN {_either(tokens)}, and none is offered"
    if not route.alpn:
        return "only for clients that offer no ALPN"
    if not set(route.alpn) & set(ask.alpn):
        return f"needs ALPN {_either(tokens)}"
    return None


def rank(route: Route, server_name: str | None) -> int | None:
    """How exactly *route* is for *server_name*: the least is preferred; None: not at all."""
    if not route.server_names:
        return _ANY
    if server_name is None:
        return None
    if server_name in route.server_names:
        return _EXACT
    wildcard = "*." + server_name.partition(".")[2]
    return _WILDCARD if wildcard in route.server_names else None


@define
class _Telling:
    """One explanation in the making; `told` is what was said so far."""

    gate: Gate
    listener: str
    sni: str | None
    alpn: tuple[bytes, ...]
    plain: bool = field(default=False, init=False)  #: the protocol was taken without TLS
    told: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.told = {
            "ask": {
                "listener": self.listener,
                "sni": self.sni,
                "alpn": [token.decode("utf-8", "replace") for token in self.alpn],
            },
            "outcome": "refused",
            "reason": None,
            "message": "",
            "alert": None,
            "route": None,
            "token": None,
            "policy": None,
            "certificate": None,
            "identity": None,
            "routes": [],
            "steps": [],
        }

    @property
    def entrance(self) -> Entrance:
        """The listener with what its connections need."""
        return self.gate.entrances[self.listener]

    def step(self, name: str, text: str) -> None:
        self.told["steps"].append({"step": name, "text": text})

    def refuse(self, step: str, error: GateError, alert: int | None) -> None:
        """Say that the connection ends at *step*."""
        self.told |= {"reason": error.reason, "message": str(error), "alert": alert}
        heard = "" if alert is None else f" (alert {alert})"
        self.step(step, f"refused: {error}{heard}")

    # -- design 4, steps 1 to 3 ------------------------------------------------------

    def arrive(self) -> None:
        """Accept, PROXY header, opening."""
        one = self.entrance.listener
        limits = one.limits
        self.step(
            "accept",
            f"listener {one.name} on {one.endpoint}: at most {limits.connections} connections, "
            f"{limits.unauthenticated_per_address} of one address before they are authenticated",
        )
        proxy = one.proxy_protocol
        if proxy.on:
            trusted = ", ".join(str(network) for network in proxy.trusted)
            self.step("arrival", f"a PROXY header is mandatory, and believed from {trusted}")
        else:
            self.step("arrival", "no PROXY header: the peer is the client")
        known = sorted({opening.name for opening in self.entrance.openings} - {TLS})
        others = f"; known here as well: {', '.join(known)}" if known else ""
        if self.entrance.greeter is None:
            self.step("sniff", f"a TLS record{others}")

    def greet(self) -> Choice | None:
        """The choice on a port whose protocol speaks first; None when it refuses."""
        greeter = self.entrance.greeter
        assert greeter is not None
        self.step("sniff", f"nothing is read: {greeter.name} speaks first on its own port")
        ask = Ask(listener=self.listener, opening=greeter.name, encrypted=False)
        try:
            choice = self.gate.table.choose(ask)
        except NoRoute:
            self.refuse("choose", NotServed(greeter.name, greeter.advice), None)
            return None
        self.plain = True
        self.step("choose", f"route {choice.route.name}, without TLS")
        return choice

    # -- step 4 ------------------------------------------------------------------------

    def hear(self) -> None:
        """What the hello says."""
        said = [f"name {self.sni}" if self.sni else "no name"]
        offers = ", ".join(self.told["ask"]["alpn"])
        said.append(f"ALPN {offers}" if offers else "no ALPN")
        due = self.entrance.listener.timeouts.prelude_seconds
        self.step("hello", f"{', '.join(said)}; due {due:g} s after accept")

    def choose(self) -> Choice | None:
        """The one choice; None when the connection is refused."""
        self.hear()
        table = self.gate.table
        try:
            name = None if self.sni is None else normal(self.sni)
        except BadName as error:
            self.refuse("name", error, 50)
            return None
        ask = Ask(listener=self.listener, server_name=name, alpn=self.alpn)
        self.step("name", self._name_class(name))
        choice: Choice | None
        try:
            choice = table.choose(ask)
        except NoRoute as error:
            choice = None
            refused = error
        self.told["routes"] = list(_considered(table, ask, choice))
        if choice is None:
            own = self.gate.protocols.get(self.entrance.listener.protocol or "")
            if own is not None and not self.alpn:
                self.refuse("choose", NotServed(own.name, own.advice), None)
                return None
            alert = UNRECOGNIZED_NAME if refused.name_unknown else NO_APPLICATION_PROTOCOL
            self.refuse("choose", refused, alert)
            return None
        token = None if choice.token is None else choice.token.decode("utf-8", "replace")
        self.told["token"] = token
        confirmed = "no ALPN is confirmed" if token is None else f"ALPN {token} is confirmed"
        if choice.route.passthrough:
            confirmed = "TLS is passed through untouched"
        self.step("choose", f"route {choice.route.name}; {confirmed}")
        return choice

    def _name_class(self, name: str | None) -> str:
        table = self.gate.table
        if name is None:
            return "no name: routes for any name"
        claim = table.claims(name)
        if claim is not None:
            return f"{name} belongs to routes for {claim}"
        if name in table.public_names:
            return f"{name} is a public name of the gateway: routes for any name"
        if table.strict_sni:
            return f"{name} is unknown, and strict_sni is on"
        return f"{name} is unknown: routes for any name"

    def demand(self, choice: Choice) -> None:
        """The policy of the route, and the certificate that the client sees."""
        route = choice.route
        self.told["route"] = {
            "name": route.name,
            "protocol": route.protocol,
            "target": route.target,
            "passthrough": route.passthrough,
            "send_proxy": route.send_proxy.value,
        }
        self.told["policy"] = {
            "client_cert": route.client_cert.value,
            "client_ca_files": list(route.client_ca_files),
            "allow": [str(rule) for rule in route.allow],
            "unsafe_anyone": route.unsafe_anyone,
        }
        if route.passthrough or self.plain:
            why = (
                "it goes on in the clear" if self.plain else "the target shows its own certificate"
            )
            self.step("handshake", f"none here: {why}")
            return
        name = None if self.sni is None else normal(self.sni)
        shown = self.gate.certificates.pick(name)
        first = shown.pairs[0]
        ends = datetime.datetime.fromtimestamp(first.not_after, datetime.UTC).isoformat()
        self.told["certificate"] = {
            "names": list(shown.names),
            "files": [str(pair.files.cert_file) for pair in shown.pairs],
            "not_after": ends,
        }
        self.step(
            "certificate",
            f"the gateway shows {', '.join(shown.names)} ({first.files.cert_file}, until {ends})",
        )
        match route.client_cert:
            case CertRule.NONE:
                asked = "no client certificate is asked for"
            case CertRule.OPTIONAL:
                asked = f"a client certificate may be shown, of {_files(route)}"
            case CertRule.REQUIRED:
                asked = f"a client certificate is required, of {_files(route)}"
        self.step("policy", asked)

    # -- steps 5 to 7 --------------------------------------------------------------------

    def judge(self, route: Route, cert_pem: str | None, authorizer: IAuthorizer | None) -> None:
        """Verify what the client shows, decide, and say what follows."""
        identity: Identity | None = None
        if self.plain and not route.unsafe_anyone:
            self.refuse("verify", NoCertificate(route.name), None)
            return
        if route.client_cert is not CertRule.NONE and cert_pem is not None and not self.plain:
            verdict = offered(cert_pem, route.client_ca_files)
            if isinstance(verdict, Identity):
                identity = verdict
                self.told["identity"] = _identity(identity)
                self.step("verify", f"the client's certificate is good; it names {identity.name}")
            else:
                why, alert = verdict
                self.refuse("verify", BadCertificate(why), alert)
                return
        elif cert_pem is not None:
            self.step("verify", "the client's certificate is not asked for, nor looked at")
        if route.client_cert is CertRule.REQUIRED and identity is None:
            self.refuse("verify", NoCertificate(route.name), CERTIFICATE_REQUIRED)
            if route.allow:
                allowed = ", ".join(str(rule) for rule in route.allow)
                self.step("authorise", f"certificates that would be let in: {allowed}")
            return
        decision = self._decide(route, identity, authorizer)
        if not decision.allowed:
            self.told |= {"reason": "denied", "message": decision.why}
            self.step("authorise", f"denied: {decision.why}")
            return
        self.step("authorise", f"allowed: {decision.why}")
        self.told["outcome"] = "allowed"
        self.told["message"] = self._follow(route)

    def _decide(
        self, route: Route, identity: Identity | None, authorizer: IAuthorizer | None
    ) -> Decision:
        if route.passthrough:
            return Decision(True, "the target checks for itself")
        if route.unsafe_anyone:
            if route.target is None:
                return Decision(True, f"{route.protocol} decides for itself what it serves to whom")
            return Decision(True, "unsafe_anyone: the route is open to anyone")
        if authorizer is not None:
            return authorizer.decide(route, identity, None)
        return decide(route.allow, identity)

    def _follow(self, route: Route) -> str:
        """What serves the connection."""
        timeouts = self.entrance.listener.timeouts
        idle = timeouts.idle_seconds if route.idle_seconds is None else route.idle_seconds
        limit = "without an idle limit" if idle is None else f"cut after {idle:g} s without a byte"
        if route.target is None:
            self.step("serve", f"protocol {route.protocol} serves it, {limit}")
            return f"served by {route.protocol}"
        first = (
            ""
            if route.send_proxy.value == "none"
            else f" after a PROXY {route.send_proxy.value} header"
        )
        self.step(
            "relay",
            f"protocol {route.protocol} relays to {route.target}{first}; dialled within "
            f"{timeouts.dial_seconds:g} s, {limit}",
        )
        return f"relayed to {route.target}"


def _considered(
    table: RouteTable, ask: Ask, choice: Choice | None
) -> Iterator[dict[str, str | bool]]:
    """Each route with the reason for which it was or was not chosen."""
    for route in table.routes:
        chosen = choice is not None and route is choice.route
        if chosen:
            why = "chosen"
        else:
            why = why_not(table, route, ask) or "would fit; a more exact or an earlier one is taken"
            if choice is None and table.strict_sni and why.startswith("would"):
                why = "would fit, but strict_sni refuses the name"
        yield {"route": route.name, "chosen": chosen, "why": why}


def _files(route: Route) -> str:
    return _either(route.client_ca_files) or "no CA"


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)


def _identity(identity: Identity) -> dict[str, Any]:
    return {
        "name": identity.name,
        "common_names": list(identity.common_names),
        "uris": list(identity.uris),
        "dns_names": list(identity.dns_names),
        "serial": f"{identity.serial:x}",
        "not_after": datetime.datetime.fromtimestamp(identity.not_after, datetime.UTC).isoformat(),
    }
