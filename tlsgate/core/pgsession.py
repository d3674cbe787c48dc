"""How a PostgreSQL session begins, from the agent's place between the client and the server.

1. `begun`: the server is asked for TLS. Whatever it says beside the one byte ends it (S45).
2. `secured`: both certificates are good, and nothing of the client's has been read. The client
   is accepted only now, so that everything before is refused in the gateway's own words.
3. The client's StartupMessage has to name the user and the database that were decided about
   (S44); the server gets them in so many words.
4. The server lets us in, by the certificate. Where it asks for a password nobody has one.
5. Its key is replaced by the gateway's, so that the client can cancel there.
6. ReadyForQuery, and the relay begins. What the client says before is refused: only one who
   has been asked for a password, or begins a second time, would speak then.

What goes wrong before 2 is refused, later it is an ErrorResponse; the server's own are passed
on as they are. https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from attrs import define, field
from automat import TypeMachineBuilder

from tlsgate.core.outcome import More
from tlsgate.core.wire import pgmessages as wire
from tlsgate.core.wire.pgmessages import Key, Startup
from tlsgate.core.wire.postgres import ACCEPT, DECLINE, error_response
from tlsgate.errors import (
    BadBytes,
    GateError,
    StartupRefused,
    TargetAsks,
    TargetBroken,
    TargetSaid,
    TargetWithoutTls,
)

#: Of one message of the server's, and of all until it is ready; some twenty short ones are usual.
MESSAGE_BYTES: Final = 64 << 10
SERVER_BYTES: Final = 256 << 10

#: By reason; https://www.postgresql.org/docs/18/errcodes-appendix.html
_SQLSTATES: Final[Mapping[str, str]] = {
    "bad_bytes": "08P01",  # protocol_violation
    "startup_refused": "28000",  # invalid_authorization_specification
    "target_asks": "28000",
    "target_denied": "28000",
    "target_silent": "08006",  # connection_failure
}
_OTHERS: Final = "08006"


class Beginning(Protocol):
    """What the machine is told; the lower half it tells itself, of what it has read."""

    def begun(self) -> None:
        """The server is dialled."""

    def secured(self) -> None:
        """The server has proven who it is, under TLS."""

    def server_said(self, some: bytes) -> None:
        """Bytes of the server's: in the clear until `secured`, and under TLS from then on."""

    def client_said(self, some: bytes) -> None:
        """Bytes of the client's."""

    def failed(self, error: GateError) -> None:
        """It cannot go on: a certificate, a deadline, the end of a connection."""

    def stopped(self) -> None:
        """The client has gone, or is cut; nobody is to be told anything."""

    def offered(self) -> None:
        """The server takes TLS."""

    def asked(self, startup: Startup) -> None:
        """The client begins."""

    def let_in(self) -> None:
        """The server wants nothing more."""

    def ready(self, rest: bytes) -> None:
        """The server waits for a query; *rest* stands behind that already."""


class Effects(Protocol):
    """What the machine asks for."""

    def to_server(self, some: bytes) -> None:
        """Write to the server, under TLS once that is there."""

    def secure(self) -> None:
        """Make TLS with the server, and tell `secured`."""

    def accept(self) -> None:
        """Tell the gateway that the server is reached, and read the client."""

    def refuse(self, error: GateError) -> None:
        """Tell the gateway why it is not; the end."""

    def give_up(self, words: bytes, error: GateError) -> None:
        """Give the client its last words; the end."""

    def keyed(self, key: Key) -> None:
        """The server's own key of this session, which the client never sees."""

    def carry(self, to_client: bytes) -> None:
        """Begin the relay, with what the client has to get first; the end."""


@define
class _Core:
    effects: Effects
    user: str
    database: str
    target: str  #: for messages
    key: bytes = field(repr=False)  #: the gateway's; b"": the client gets none
    minor: int = 0
    inbox: bytes = b""  #: of the one who is listened to, and not yet read
    outbox: bytes = b""  #: for the client


_builder = TypeMachineBuilder(Beginning, _Core)
_fresh = _builder.state("fresh")
_asking = _builder.state("asking")  # the server for TLS
_securing = _builder.state("securing")
_listening = _builder.state("listening")  # to the client
_entering = _builder.state("entering")  # the server has the start-up message
_starting = _builder.state("starting")  # and has let us in
_over = _builder.state("over")


def _begin(link: Beginning, core: _Core) -> None:
    core.effects.to_server(wire.SSL_REQUEST)


def _read_answer(link: Beginning, core: _Core, some: bytes) -> None:
    # The text of an ErrorResponse in the clear could be anybody's, so it is not shown.
    if some == ACCEPT:
        link.offered()
    elif some == DECLINE:
        link.failed(TargetWithoutTls(core.target))
    else:
        why = "it answers a request for TLS with something else, or with more (S45)"
        link.failed(TargetBroken(core.target, why))


def _secure(link: Beginning, core: _Core) -> None:
    core.effects.secure()


def _accept(link: Beginning, core: _Core) -> None:
    core.effects.accept()


def _read_startup(link: Beginning, core: _Core, some: bytes) -> None:
    core.inbox += some
    try:
        size = wire.first_packet(core.inbox)
        if isinstance(size, More):
            return
        if size < len(core.inbox):
            raise BadBytes("start-up message", "something stands behind it")
        startup = wire.read_startup(core.inbox)
    except BadBytes as error:
        link.failed(error)
        return
    core.inbox = b""
    if startup.user != core.user:
        link.failed(StartupRefused("user", startup.user, core.user))
    elif startup.named and startup.database != core.database:
        link.failed(StartupRefused("database", startup.database, core.database))
    else:
        link.asked(startup)


def _enter(link: Beginning, core: _Core, startup: Startup) -> None:
    core.minor = startup.minor
    core.effects.to_server(startup.with_names(core.user, core.database).packet())


def _hear_early(link: Beginning, core: _Core, some: bytes) -> None:
    why = "the client speaks before the server has let it in"
    link.failed(BadBytes("PostgreSQL message", why))


def _read_server(link: Beginning, core: _Core, some: bytes) -> None:
    core.inbox += some
    at = 0
    try:
        while not isinstance(message := wire.next_message(core.inbox, at, MESSAGE_BYTES), More):
            at += wire.HEAD + len(message.body)
            if len(core.outbox) + at > SERVER_BYTES:
                raise BadBytes("PostgreSQL message", "too many before the first query")
            if _is_last(link, core, message, at):
                return
    except BadBytes as error:
        link.failed(TargetBroken(core.target, error.why))
    core.inbox = core.inbox[at:]


def _is_last(link: Beginning, core: _Core, message: wire.Message, end: int) -> bool:
    """Look at one message; what the client gets of it goes to the outbox.

    What the machine is told here it hears when this is done: nothing is read behind the last.

    Raises:
        BadBytes: no server says that here.
    """
    match message.kind:
        case b"R":
            if what := wire.wanted(message.body):
                link.failed(TargetAsks(core.target, what, core.user))
                return True
            link.let_in()
        case b"E":
            core.outbox += message.bytes()
            said = wire.read_error(message.body)
            link.failed(TargetSaid(core.target, said.get("C", ""), said.get("M", "")))
            return True
        case b"v":
            core.minor = min(core.minor, wire.agreed_minor(message.body))
        case b"K":
            core.effects.keyed(wire.read_key(message.body))
            if core.key:
                core.outbox += wire.key_message(core.key, core.minor)
            return False
        case b"Z":
            core.outbox += message.bytes()
            link.ready(core.inbox[end:])
            return True
        case b"N" | b"S":
            pass
        case _:
            raise BadBytes("PostgreSQL message", f"{message.kind!r} comes before the first query")
    core.outbox += message.bytes()
    return False


def _carry(link: Beginning, core: _Core, rest: bytes) -> None:
    core.effects.carry(core.outbox + rest)


def _ready_early(link: Beginning, core: _Core, rest: bytes) -> None:
    link.failed(TargetBroken(core.target, "it is ready before it has let anybody in"))


def _refuse(link: Beginning, core: _Core, error: GateError) -> None:
    core.effects.refuse(error)


def last_words(error: GateError) -> bytes:
    """Say *error* as the server would."""
    return error_response(_SQLSTATES.get(error.reason, _OTHERS), str(error))


def _give_up(link: Beginning, core: _Core, error: GateError) -> None:
    words = core.outbox
    if not isinstance(error, TargetSaid):
        words += last_words(error)
    core.effects.give_up(words, error)


_fresh.upon(Beginning.begun).to(_asking)(_begin)
_asking.upon(Beginning.server_said).loop()(_read_answer)
_asking.upon(Beginning.offered).to(_securing)(_secure)
_securing.upon(Beginning.secured).to(_listening)(_accept)
_listening.upon(Beginning.client_said).loop()(_read_startup)
_listening.upon(Beginning.asked).to(_entering)(_enter)
_entering.upon(Beginning.server_said).loop()(_read_server)
_entering.upon(Beginning.let_in).to(_starting).returns(None)
_entering.upon(Beginning.ready).loop()(_ready_early)
_starting.upon(Beginning.server_said).loop()(_read_server)
_starting.upon(Beginning.ready).to(_over)(_carry)


def _hear_unasked(link: Beginning, core: _Core, some: bytes) -> None:
    link.failed(TargetBroken(core.target, "it speaks without being asked"))


def _let_in_twice(link: Beginning, core: _Core) -> None:
    link.failed(TargetBroken(core.target, "it lets somebody in twice"))


_listening.upon(Beginning.server_said).loop()(_hear_unasked)
_starting.upon(Beginning.let_in).loop()(_let_in_twice)
for _state in (_entering, _starting):
    _state.upon(Beginning.client_said).loop()(_hear_early)
for _state in (_fresh, _asking, _securing):
    _state.upon(Beginning.failed).to(_over)(_refuse)
for _state in (_listening, _entering, _starting):
    _state.upon(Beginning.failed).to(_over)(_give_up)
for _state in (_fresh, _asking, _securing, _listening, _entering, _starting):
    _state.upon(Beginning.stopped).to(_over).returns(None)

# Nothing that comes late does anything. A pair that is not said here cannot be: the machine
# tells itself only what it has read in that state, and a shell reads nobody unasked.
_over.upon(Beginning.let_in).loop().returns(None)
_over.upon(Beginning.ready).loop().returns(None)
_over.upon(Beginning.secured).loop().returns(None)
_over.upon(Beginning.server_said).loop().returns(None)
_over.upon(Beginning.client_said).loop().returns(None)
_over.upon(Beginning.failed).loop().returns(None)
_over.upon(Beginning.stopped).loop().returns(None)

_machine: Final = _builder.build()


def beginning(effects: Effects, user: str, database: str, target: str, key: bytes) -> Beginning:
    """Make a machine; `begun` is still to come.

    Args:
        user, database: that were decided about.
        target: how messages call the server.
        key: what the client gets in place of the server's (`core.cancelkeys`); b"": nothing.
    """
    return _machine(_Core(effects, user, database, target, key))
