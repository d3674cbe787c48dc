"""What may go wrong with a configuration, a socket, a connection, a target."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from tlsgate.errors.base import Fault, GateError

# -- bytes that a peer sent -------------------------------------------------


@define(eq=False)
class BadBytes(GateError):
    """A peer's bytes break the protocol that they claim to speak."""

    fault = Fault.CLIENT
    reason = "bad_bytes"
    what: str  #: what was parsed: "ClientHello", "PROXY header", ...
    why: str

    def __str__(self) -> str:
        return f"bad {self.what}: {self.why}"


@define(eq=False)
class BadHello(BadBytes):
    """A TLS ClientHello that is malformed, too big or cut short."""

    reason = "bad_hello"


@define(eq=False)
class BadProxyHeader(BadBytes):
    """A PROXY protocol header that is missing, malformed or not allowed."""

    reason = "bad_proxy_header"


@define(eq=False)
class BadName(BadBytes):
    """A host name that no certificate or route may carry."""

    reason = "bad_name"


# -- decisions about a connection --------------------------------------------


@define(eq=False)
class NoRoute(GateError):
    """No route takes this name and these protocols."""

    fault = Fault.CLIENT
    reason = "no_route"
    listener: str
    server_name: str | None
    alpn: tuple[bytes, ...]
    #: True when the name itself is unknown and `strict_sni` is on (alert 112),
    #: False when no protocol is common (alert 120).
    name_unknown: bool = False

    def __str__(self) -> str:
        if self.name_unknown:
            return f"no route for the name {self.server_name!r} (strict_sni is on)"
        offered = ", ".join(ascii(token.decode("latin-1")) for token in self.alpn) or "none"
        name = "no name" if self.server_name is None else f"the name {self.server_name!r}"
        return f"no route on listener {self.listener} for {name}, ALPN {offered}"


@define(eq=False)
class UnknownOpening(GateError):
    """The first bytes are of no protocol that this listener serves."""

    fault = Fault.CLIENT
    reason = "unknown_opening"
    listener: str
    head: bytes  #: at most the first 16 bytes

    def __str__(self) -> str:
        return f"listener {self.listener} serves no protocol that opens with {self.head[:16]!r}"


@define(eq=False)
class HandshakeFailed(GateError):
    """The TLS handshake ended without a connection."""

    fault = Fault.CLIENT
    reason = "handshake_failed"
    why: str  #: a sentence of ours, made from the library's reason

    def __str__(self) -> str:
        return f"TLS handshake failed: {self.why}"


@define(eq=False)
class NoCertificate(GateError):
    """The route asks for a client certificate and none was verified."""

    fault = Fault.CLIENT
    reason = "no_certificate"
    route: str

    def __str__(self) -> str:
        return f"route {self.route} needs a client certificate"


@define(eq=False)
class BadCertificate(GateError):
    """The client's certificate was offered and is not valid here."""

    fault = Fault.CLIENT
    reason = "bad_certificate"
    why: str

    def __str__(self) -> str:
        return f"client certificate refused: {self.why}"


@define(eq=False)
class Denied(GateError):
    """The identity is known and has no right to this route."""

    fault = Fault.CLIENT
    reason = "denied"
    route: str
    who: str
    why: str

    def __str__(self) -> str:
        return f"{self.who!r} may not use route {self.route}: {self.why}"


@define(eq=False)
class TooMany(GateError):
    """A limit is reached."""

    fault = Fault.CLIENT
    reason = "limit"
    what: str  #: the setting's name: "connections", "unauthenticated", ...
    limit: float

    def __str__(self) -> str:
        return f"limit {self.what} ({self.limit:g}) reached"


@define(eq=False)
class TooLate(GateError):
    """A deadline passed before the peer had done its part."""

    fault = Fault.CLIENT
    reason = "deadline"
    what: str  #: the setting's name: "prelude_seconds", ...
    seconds: float

    def __str__(self) -> str:
        return f"{self.what} ({self.seconds:g} s) passed"


@define(eq=False)
class Hangup(GateError):
    """The client went away before it had said what it wants."""

    fault = Fault.CLIENT
    reason = "hangup"
    received_bytes: int

    def __str__(self) -> str:
        return f"client went away after {self.received_bytes} bytes"


@define(eq=False)
class Draining(GateError):
    """The gateway is stopping and takes no new connection."""

    fault = Fault.CLIENT
    reason = "draining"

    def __str__(self) -> str:
        return "the gateway is stopping; try again"


@define(eq=False)
class NotServed(GateError):
    """The listener is open, and its protocol is not part of this build or mode."""

    fault = Fault.CLIENT
    reason = "not_served"
    protocol: str
    advice: str  #: what the user can do instead, as a sentence

    def __str__(self) -> str:
        return f"{self.protocol} is not served here: {self.advice}"


# -- targets -------------------------------------------------------------------


@define(eq=False)
class TargetRefused(GateError):
    """The target could not be reached."""

    fault = Fault.TARGET
    reason = "target_refused"
    target: str
    why: str

    def __str__(self) -> str:
        return f"target {self.target} refused: {self.why}"


@define(eq=False)
class TargetSilent(GateError):
    """The target did not answer the dial in time."""

    fault = Fault.TARGET
    reason = "target_silent"
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"target {self.target} did not answer within {self.seconds:g} s"


@define(eq=False)
class TargetUntrusted(GateError):
    """The target's certificate does not verify."""

    fault = Fault.TARGET
    reason = "target_untrusted"
    target: str
    why: str

    def __str__(self) -> str:
        return f"target {self.target} is not trusted: {self.why}"


# -- what an operator writes -----------------------------------------------------


@define(frozen=True)
class Place:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@define(frozen=True)
class Problem:
    """One fault in what an operator wrote, with its place and the way out."""

    place: Place
    path: str  #: the key's path: "proxy_service.timeouts.idel"; "" for the file
    message: str

    def __str__(self) -> str:
        middle = f" {self.path}" if self.path else ""
        return f"{self.place}{middle}: {self.message}"


@define(eq=False)
class BadSettings(GateError):
    """A configuration that cannot be used; it carries every problem at once."""

    fault = Fault.OPERATOR
    reason = "bad_settings"
    problems: Sequence[Problem]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@define(eq=False)
class BadKeyPair(GateError):
    """A certificate, key or CA file that cannot be used."""

    fault = Fault.OPERATOR
    reason = "bad_key_pair"
    file: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


@define(eq=False)
class CannotListen(GateError):
    """A listener could not be opened."""

    fault = Fault.OPERATOR
    reason = "cannot_listen"
    listener: str
    endpoint: str
    why: str

    def __str__(self) -> str:
        return f"listener {self.listener} cannot open {self.endpoint}: {self.why}"


@define(eq=False)
class NameTaken(GateError):
    """Two plug-ins claim one name, token or listener."""

    fault = Fault.OPERATOR
    reason = "name_taken"
    what: str  #: "protocol", "ALPN token", "listener"
    name: str
    owners: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} {self.name!r} is claimed by {' and '.join(self.owners)}"


@define(eq=False)
class ReloadRefused(GateError):
    """A new configuration was not taken; the running one stays."""

    fault = Fault.OPERATOR
    reason = "reload_refused"
    why: Sequence[str]

    def __str__(self) -> str:
        return "reload refused, the running configuration stays: " + "; ".join(self.why)


# -- between the processes of a daemon ---------------------------------------------------


@define(eq=False)
class DataDirTaken(GateError):
    """Another daemon runs on the same data directory."""

    fault = Fault.OPERATOR
    reason = "data_dir_taken"
    file: str  #: its pid file
    pid: int  #: 0: it has not written it yet

    def __str__(self) -> str:
        who = f"the daemon with pid {self.pid}" if self.pid else "another daemon"
        return f"{who} runs on this data directory already ({self.file})"


@define(eq=False)
class UpgradeFailed(GateError):
    """The new process did not come up; the old one goes on."""

    fault = Fault.OPERATOR
    reason = "upgrade_failed"
    why: str

    def __str__(self) -> str:
        return f"the new process does not serve: {self.why}"


@define(eq=False)
class WorkerFailed(GateError):
    """A worker process did not come up, or ended."""

    fault = Fault.OPERATOR
    reason = "worker_failed"
    index: int
    why: str

    def __str__(self) -> str:
        return f"worker {self.index} does not serve: {self.why}"


@define(eq=False)
class ProcessGone(GateError):
    """Another process of the daemon ended before it had answered."""

    fault = Fault.OPERATOR
    reason = "process_gone"

    def __str__(self) -> str:
        return "another process of the daemon has ended before it answered"


# -- between tgctl and the daemon ------------------------------------------------------


@define(eq=False)
class DaemonAway(GateError):
    """No daemon answers on the admin socket."""

    fault = Fault.OPERATOR
    reason = "daemon_away"
    socket: str
    why: str

    def __str__(self) -> str:
        return f"no daemon answers on {self.socket}: {self.why}"


@define(eq=False)
class DoorClosed(GateError):
    """The admin socket is there, and this user may not use it."""

    fault = Fault.OPERATOR
    reason = "door_closed"
    socket: str
    owner: str  #: who may: "root or the user tlsgate"

    def __str__(self) -> str:
        return f"{self.socket} is open to {self.owner} only"


@define(eq=False)
class BadAsk(GateError):
    """What was asked of tlsgate by its operator makes no sense."""

    fault = Fault.OPERATOR
    reason = "bad_ask"
    why: str

    def __str__(self) -> str:
        return self.why


@define(eq=False)
class DaemonSaid(GateError):
    """The daemon refused what tgctl asked of it, in its own words."""

    reason = "daemon_said"
    word: str  #: the daemon's `reason`
    whose: Fault
    text: str
    problems: Sequence[Problem] = ()

    def __str__(self) -> str:
        return self.text
