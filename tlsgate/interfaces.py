"""The doors of tlsgate: what a protocol, an arrival, an audit sink must offer.

Interfaces only; built-in protocols and drop-ins go through the same ones. They are in one
file, though a long one, since authors look for all of them in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from zope.interface import Attribute, Interface

from tlsgate.core.access import Decision, Identity
from tlsgate.core.keeping import Change, Event, Item
from tlsgate.core.locks import Lock
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.relayed import Relayed
from tlsgate.core.rolevalues import Target
from tlsgate.core.routing import CertRule, Choice, Route
from tlsgate.core.sniff import Matcher, Opening, Then
from tlsgate.core.wire.sshcert import SshCertificate
from tlsgate.errors import GateError

__all__ = [
    "IArrival",
    "IAudit",
    "IAuthDoor",
    "IAuthorizer",
    "ICluster",
    "IDaemon",
    "IGateProtocol",
    "IKept",
    "IKeptToEnd",
    "IReach",
    "IRouteContext",
    "IStore",
    "ITarget",
    "ITunnels",
    "IWatch",
    "ListenerSpec",
    "Matcher",
    "Opening",
    "RelayTo",
    "Then",
]


@frozen(kw_only=True)
class ListenerSpec:
    """The separate port that a protocol has in v1, or under its own key."""

    key: str  #: below proxy_service: "postgres_listen_addr"
    port: int  #: the default port
    versions: frozenset[str] = frozenset()  #: config versions in which it opens by default
    public_key: str | None = None  #: below proxy_service: "postgres_public_addr"
    #: True: the server speaks first; the protocol is built without waiting for bytes.
    speaks_first: bool = False
    #: Tokens that clients of this port offer, beside those that offer none; one is confirmed.
    alpn: tuple[bytes, ...] = ()
    #: Tokens of clients that come here by mistake: one is confirmed, and they are told so.
    answered: tuple[bytes, ...] = ()


@frozen(kw_only=True)
class RelayTo:
    """What `IGateProtocol.build` gives for bytes that are only carried.

    Attributes:
        target: a Twisted client endpoint string.
        first: bytes for the target before the client's own; under TLS where it has TLS.
    """

    target: str
    first: bytes = b""


class IReach(Interface):
    """One attempt to reach a target, by whatever way: a dial, a tunnel."""

    def start(reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """Begin; one of the two is called once, perhaps before this returns.

        Args:
            reached: takes the target's `net.ends.End`, which is the caller's from then on.
            missed: takes the reason, whose sentence the client may read.
        """

    def cancel() -> None:
        """Give up; neither is called any more. May be called again, and after the end."""


class ITunnels(Interface):
    """The agents whose tunnels end at this process."""

    def offers(kind: str) -> Sequence[Offer]:
        """What agents with an open control connection offer of *kind* now, by name."""

    def offer(kind: str, name: str) -> Offer | None:
        """One of them."""

    def reach(asked: Asked, beside: IReach | None = None) -> IReach:
        """A way to a target of an agent.

        Of several that offer it the one that has most room; with *beside*, an earlier way, the
        one to which that has led.

        It misses with `NoAgent` where no agent offers that, and with `AgentRefused` where the
        agent has decided against it, or could not reach the target.
        """

    def door(context: IRouteContext) -> IProtocolFactory:
        """Serve the connection of an agent, whose certificate has been verified.

        Raises:
            GateError: who holds it is no agent of this cluster, or is locked out.
        """


class IKept(Interface):
    """What has a client's socket that is neither served nor relayed: a tunnel's stream.

    The gateway knows the connection until its lease is closed or aborted; whoever has it
    closes it.
    """

    cause: str = Attribute("Why it ended, for the log; set before the lease is closed.")

    def end_in_order(cause: str) -> None:
        """End it now: a lock, a drain that is over, the process's own end."""

    def resting() -> bool:
        """Whether a drain may end it, because nobody would lose anything."""

    def carried() -> tuple[int, int]:
        """Bytes to the target and to the client, so far."""


class IKeptToEnd(IKept):
    """What has a client's socket and wants to hear that the connection has ended."""

    def lost() -> None:
        """The connection has ended; called once."""


class IGateProtocol(Interface):
    """A protocol that tlsgate serves; built-ins and drop-ins are alike."""

    name: str = Attribute("Unique, lower case, [a-z][a-z0-9-]*.")
    alpn: tuple[bytes, ...] = Attribute("Tokens that lead here without a static route; may be ().")
    client_cert: CertRule = Attribute("What those tokens, names and the own listener demand.")
    openings: tuple[Opening, ...] = Attribute("First bytes that mean this protocol; may be ().")
    listener: ListenerSpec | None = Attribute("The separate port, or None.")
    stands_alone: bool = Attribute(
        "True: tokens, names and the own listener serve without a static route. "
        "False: only static routes with `protocol: <name>` lead here, and the own "
        "listener answers with refusal(NotServed)."
    )
    advice: str = Attribute(
        "What a user can do instead while the own listener leads nowhere, as a sentence; "
        "it becomes NotServed.advice. Empty where the own listener serves."
    )

    holders: tuple[str, ...] = Attribute(
        "Whose certificates of the cluster `client_cert` takes: 'user', 'host'. (): those of "
        "proxy_service.client_ca_files."
    )
    shows_cluster: bool = Attribute(
        "True: its tokens and names show the certificate that the cluster's host authority "
        "issued; there are none of them without a cluster."
    )

    at_auth: bool = Attribute(
        "True: the auth service serves it; a gateway whose auth service is in another process "
        "passes its TLS through to there."
    )
    name_alpn: tuple[bytes, ...] = Attribute(
        "Tokens that clients of its server names may offer; one is confirmed. With http/1.1 "
        "among them, or (), those that offer none are served too."
    )

    web_alpn: tuple[bytes, ...] = Attribute(
        "Tokens among `alpn` of other people's programs: they, and clients of the own opening "
        "and the own listener, meet the web certificate although the protocol "
        "`shows_cluster`, and one who has no certificate is refused in the protocol's own "
        "words: `build` sees to that."
    )

    own_login: bool = Attribute(
        "True: in a cluster its own opening without TLS leads to it as well, on the web port "
        "and on its own listener, and it finds out by itself who the client is: it calls "
        "IRouteContext.identify, and until then the client's address counts as unknown."
    )

    def server_names(public: Sequence[str]) -> Sequence[str]:
        """Names (exact or "*.x") that lead here by SNI alone, given our public names."""

    def stands_for(server_name: str, public: Sequence[str], tunnels: ITunnels) -> str | None:
        """Give which of our `server_names` a name without a route counts as now; None: none."""

    def settings(raw: Mapping[str, Any]) -> object:
        """Turn `proxy_service.protocols.<name>` into a frozen value.

        Raises:
            ValueError: with a sentence that says what would be right.
        """

    def advertise(settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """What `/webapi/ping` says of us below `proxy`; merged over all protocols.

        Args:
            settings: the whole `config.settings.Settings`.
            open_listeners: listener name to "host:port" as advertised.
        """

    def refusal(error: GateError) -> bytes:
        """Say *error* in this protocol's own words; b"" where it has none.

        It is written inside TLS when the handshake is done, in the clear on a
        plain opening, and then the connection is closed by the refusal rule.
        """

    def build(context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Serve one connection that has been authenticated and allowed.

        Gives a factory whose protocol is connected to the (decrypted) transport,
        or a `RelayTo`. A protocol that has read who is meant hands over to the relay by
        `IRouteContext.relay`.

        Raises:
            GateError: refused; the caller writes `refusal(error)`.
        """


class ITarget(Interface):
    """What an agent does with a kind of target, from the dial to the relay.

    A drop-in of an agent provides it together with `IPlugin`.
    """

    kind: str = Attribute('"db".')
    protocol: str = Attribute('As files name it: "x-…", db_service.databases[].protocol.')

    def begin(arrived: Any) -> Callable[[], None]:
        """Do what comes before bytes may flow, and give what stops it.

        Args:
            arrived: `targets.base.Arrived`, which says how this ends.
        """


class IRouteContext(Interface):
    """What a protocol may know and use while it builds for one connection."""

    route: Route = Attribute("The route that was chosen.")
    choice: Choice = Attribute("The route and the confirmed token.")
    listener: str = Attribute("Name of the listener.")
    opening: str = Attribute('"tls", or the protocol whose opening came first.')
    server_name: str | None = Attribute("SNI, normalised.")
    identity: Identity | None = Attribute("From the verified certificate; None without one.")
    peer: IAddress = Attribute("The client, as PROXY headers of trusted peers tell it.")
    local: IAddress = Attribute("The address that it dialled.")
    settings: Any = Attribute("The whole `config.settings.Settings` in force.")
    own_settings: object = Attribute("What `settings()` gave for this protocol.")
    protocols: Mapping[str, IGateProtocol] = Attribute("Every protocol of this gate, by name.")
    clock: IReactorTime = Attribute("For timers.")
    cluster: ICluster | None = Attribute("The cluster that the gateway is part of, or None.")

    tunnels: ITunnels | None = Attribute("The agents of this process, or None.")
    trace: str = Attribute("16 hexadecimal digits for logs here and at an agent; made when asked.")

    ping_seconds: float | None = Attribute(
        "Between two of our pings, at most, on a connection with a ping token; else None."
    )

    slab: Any = Attribute("The `tls.fast.Slab` of this process, for who reads an end by itself.")
    web_chains: Any = Attribute(
        "Names and PEM chain, leaf first, of each web certificate, in pairs."
    )

    def certificate() -> bytes:
        """The client's certificate as DER; b"" without one. It lives as long as the connection."""

    def claims(server_name: str | None) -> str | None:
        """The name class of *server_name*, see `RouteTable.claims` (S05)."""

    def relay(
        reach: IReach,
        answer: Callable[[GateError | None], bytes],
        unread: bytes = b"",
        *,
        target: str = "",
        limits: Decision | None = None,
    ) -> None:
        """Serve no more: reach a target for this client, and then carry bytes only.

        To be called by the protocol that `build` has made, once, when it has read all that
        is its own. Its transport has nothing more to give it, and it hears no more of it.

        Args:
            reach: the way; cancelled when the client goes first.
            answer: the client's first bytes: for None when the target is reached, which go
                before the target's own; for an error, which are the last.
            unread: what the protocol has read of what is the target's.
            target: how logs and audit call the target, such as "node/db1".
            limits: what the decision about the target says of idle time and end.
        """

    def about(relayed: Relayed) -> None:
        """Say what is known of the session that `relay` begins, or `refuse` refuses."""

    def refuse(error: GateError, words: bytes, *, target: str = "") -> None:
        """Serve no more: say *words*, the client's last bytes, close in order, log *error*.

        Also for what the protocol made by `build` finds out; `relay` refuses by itself when
        the reach misses. *target* is as of `relay`.
        """

    def keep(kept: IKept) -> None:
        """Serve no more: *kept* has the socket now.

        To be called in the same turn as the transport's `release()`, which gives the socket.
        Locks, drains, the list of connections and the log go by *kept* from here on, until
        the socket's lease is closed.
        """

    ssh_host: Any = Attribute("The gateway's `tls.sshhost.SshHost` in a cluster, or None.")

    worker: int = Attribute("The number of this process among the gateway's workers, from 0.")

    def elsewhere(worker: int) -> IReach:
        """A way to another worker, where a connection begins in the clear on the web port.

        It comes there as this client's.
        """

    def on_end(listener: Callable[[], None]) -> None:
        """Call *listener* once the connection has ended, whatever has it by then."""

    def closed() -> GateError | None:
        """Why nobody may reach a target now; None: they may."""

    def emit(event: str, fields: Mapping[str, object]) -> None:
        """Record an event of one of the targets that the protocol serves at once.

        The connection's own facts (listener, peer, route, identity, trace) stand beside
        *fields*.
        """

    def couple(client: Any, target: Any, limits: Decision | None) -> Any:
        """Give a `net.relay.Pair`, not started, of two `net.ends.End`.

        For a protocol that carries several targets in its own way; `relay` is for one.

        Args:
            client: an end of the protocol's own making.
            target: what a reach has given.
            limits: what the decision about the target says of idle time and end.
        """

    def busy(is_busy: bool) -> None:
        """Say whether somebody would lose something if a drain ended the connection."""

    def identify(identity: Identity) -> None:
        """Say who the client is, where the protocol itself has found that out.

        Locks, logs and audit go by it from here on. At most once.
        """

    def came_by(program: str) -> None:
        """Say by what program the client has come, in its own words; for the ledger."""


class IAuthDoor(Interface):
    """How a gateway asks the auth service of its cluster, in this process or elsewhere."""

    async def ask(
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        """Give the HTTP status and the JSON value of one request of the API.

        Args:
            method, path: such as "POST", "/v1/web/login".
            body: JSON; None: no body.
            address: of the client for whom the gateway asks.
            as_anyone: ask without our own identity, as somebody who has none yet.

        Raises:
            Unreachable: the auth service does not answer.
        """

    def watch(heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        """Tell *heard* each line of /v1/watch; reconnects by itself, with a new snapshot."""


class ICluster(Interface):
    """What a gateway knows of its cluster."""

    name: str = Attribute("Of the cluster.")
    door: IAuthDoor = Attribute("How to ask its auth service.")
    api: Any = Attribute("The `auth.api.Api` itself where it is in this process; else None.")
    mode: str = Attribute("'multiplex' or 'separate': what clients are told to use now.")
    ping_seconds: float | None = Attribute("Between two pings of a ping token now, if known.")
    jwks: Mapping[str, Any] = Attribute(
        "The keys that sign what applications get, as a JWK set: {'keys': [...]}; may be empty."
    )

    def is_ours(identity: Identity) -> bool:
        """Whether one of the cluster's authorities has issued the certificate."""

    def lock_on(identity: Identity) -> Lock | None:
        """The lock that shuts the holder of a certificate out, or None."""

    def decide_target(identity: Identity, target: Target, address: str | None) -> Decision:
        """Whether who holds a certificate of the cluster may reach *target* now.

        By what is known now of locks, of roles, and of the roles that the user still has.
        Never blocks, never raises.
        """

    def on_session_end(listener: Callable[[str], None]) -> None:
        """Call *listener* with the id of each web session at an application that has ended.

        With "" where any may have: after a lock, or where the ends were not heard for a while.
        """

    def ssh_identity(certificate: SshCertificate) -> Identity:
        """Who shows this OpenSSH certificate, whose key has signed the session already.

        Raises:
            BadCertificate: it is none of the cluster's users, or not good now.
        """


class IArrival(Interface):
    """An accepted connection of which only the first bytes have been looked at.

    One owner at a time: `take` ends the arrival, and the caller owns what it got.
    """

    listener: str = Attribute("Name of the listener.")
    peer: IAddress = Attribute("Who dialled; after a PROXY header the client it names.")
    local: IAddress = Attribute("The address that was dialled.")

    def head() -> bytes:
        """The bytes seen so far, at most the arrival's limit; nothing is consumed."""

    def more(lacks: int, then: Callable[[], None]) -> None:
        """Call *then* once when at least one more byte is there.

        Args:
            lacks: how many more are wanted; the arrival may wait for that many.
        """

    def consume(count: int) -> None:
        """Drop the first *count* bytes of the head."""

    def write(data: bytes) -> None:
        """Write a short answer to an opening."""


class IAudit(Interface):
    """Where events that an auditor reads go."""

    def emit(event: str, fields: Mapping[str, object]) -> None:
        """Record *event* ("connection.end") with *fields* (JSON types only)."""


class IAuthorizer(Interface):
    """Who may use which route."""

    def decide(route: Route, identity: Identity | None, address: str | None) -> Decision:
        """Decide for one connection; never blocks, never raises.

        Args:
            route: whose target is to be reached.
            identity: from the verified certificate.
            address: of the client, without a port; None where it has none.
        """


class IWatch(Interface):
    """A watch that runs."""

    def stop() -> None:
        """Hear nothing more; may be called again."""


class IStore(Interface):
    """Where a cluster's state is; see `core.keeping`.

    Nothing here assumes that this process alone writes. Every method may raise
    `StoreFailed`: the disk or the server does not do what it is asked; nothing was changed,
    or the caller cannot know (the sentence says which).
    """

    async def get(key: str) -> Item | None:
        """Give the item of *key*; None when there is none, or it has expired."""

    async def scan(prefix: str, after: str = "", limit: int = 1000) -> Sequence[Item]:
        """Give the items whose keys begin with *prefix* and come after *after*, by key."""

    async def commit(changes: Sequence[Change]) -> int:
        """Apply all of *changes* or none, durably; give the new revision.

        Raises:
            Conflict: a key is not as a change expects; nothing was changed.
        """

    def watch(prefix: str, since: int | None, heard: Callable[[Sequence[Event]], None]) -> IWatch:
        """Tell *heard* of every change after revision *since*, in order, none lost or twice.

        Args:
            prefix: of the keys.
            since: None: from now on.
            heard: called in the reactor's thread, never from within this call, with the
                events of one commit or of several.

        Raises:
            Compacted: *since* is too long ago; scan again and watch from there.
        """

    async def revision() -> int:
        """Give the newest revision; take it before a scan that a watch is to follow."""


class IDaemon(Interface):
    """The running daemon, as the admin socket and so `tgctl` see it.

    Every method gives JSON types only. A reader takes what it knows and passes
    the rest on, so keys may be added; those named here are always there.
    """

    async def status() -> dict[str, Any]:
        """Say what runs.

        Returns:
            version, pid, host (its name in the cluster), file, data_dir, mode, workers,
            started (epoch seconds), ready (bool), connections (how many are open), warnings
            (a list of sentences).
        """

    async def listeners() -> list[dict[str, Any]]:
        """List the listeners.

        Returns:
            for each: name, protocol (None: web), endpoint, address ("host:port" or a
            path; None when it is not open), proxy_protocol (bool), accepted, active,
            refused.
        """

    async def connections() -> list[dict[str, Any]]:
        """List the open connections.

        Returns:
            for each: listener, peer, route, target, identity, sni, alpn, to_target,
            to_client (bytes), seconds (since accept), trace. None where a thing is not known
            yet.
        """

    async def reload(force: bool = False) -> dict[str, Any]:
        """Read the file again and swap; *force*: even where clients are told to use what closes.

        Returns:
            opened, closed, replaced, kept (names of listeners), warnings (sentences).

        Raises:
            BadSettings: the file has problems; what runs stays.
            ReloadRefused: it cannot be taken while running; what runs stays.
            CannotListen: a listener could not be opened; what runs stays.
        """

    async def upgrade() -> dict[str, Any]:
        """Hand over to a new process of the installed code.

        Returns:
            pid and version of the new one.

        Raises:
            GateError: the new process failed; this one goes on.
        """

    async def explain(
        listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        """Decide for a hypothetical connection; `service.explain.explain` of what is in force."""
