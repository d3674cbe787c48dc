"""What somebody who has logged in may do: reach nodes, each over a channel, and nothing else.

`direct-tcpip` (OpenSSH's -J and -W) names a node and opens when it is reached. A `session` is
open at once and takes one request, the subsystem "proxy:host:port[@cluster]". Every other
kind of channel, request and subsystem is refused, however it is spelled (S40): a table in the
tests freezes that. One file, above the usual length: what is allowed is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from tlsgate.core.access import Decision
from tlsgate.core.wire.sshmessages import (
    Message,
    Open,
    numbers,
    read_adjust,
    read_data,
    read_direct,
    read_global,
    read_number,
    read_open,
    read_request,
    read_subsystem,
    sentence,
)
from tlsgate.errors import (
    BadBytes,
    BadCertificate,
    BadName,
    GateError,
    TargetDenied,
    TargetSilent,
    TooMany,
)
from tlsgate.interfaces import IReach, IRouteContext
from tlsgate.net.ends import End
from tlsgate.net.relay import Pair
from tlsgate.protocols.jump.channel import PACKET, WINDOW, Channel
from tlsgate.protocols.jump.login import Bearer
from tlsgate.protocols.jump.transport import JumpTransport
from tlsgate.protocols.nodes import Found, find_node
from tlsgate.protocols.words import told

#: Of one connection at once, with those that are being opened.
CHANNELS: Final = 64
#: How long an agent may take to reach its target.
REACH_SECONDS: Final = 30.0
#: Nodes that one connection may be refused in a period: each is a line of the audit trail, and
#: costs a client nothing.
REFUSALS: Final = 100
_PERIOD_SECONDS: Final = 10.0

#: RFC 4254 section 5.1.
_PROHIBITED: Final = 1
_FAILED: Final = 2
_UNKNOWN: Final = 3
_SHORTAGE: Final = 4

#: What `ssh` without -J, -W or -s asks for.
_HERE: Final = frozenset((b"shell", b"exec", b"pty-req"))
_ADVICE: Final = "this is a jump host: ssh -J THIS-GATEWAY LOGIN@NODE"


@define(eq=False)
class _Purpose:
    """What a channel is for, once that is known."""

    target: str
    reach: IReach | None = None
    late: Any = None
    pair: Pair | None = None
    is_session: bool = False
    wants_answer: bool = False


@define(eq=False)
class _Opening:
    """A direct-tcpip channel that is open when its node is reached."""

    asked: Open
    reach: IReach | None = None
    late: Any = None


@define(eq=False)
class Channels:
    """All channels of one connection.

    Args:
        transport: of the connection.
        context: of the connection.
        bearer: who it is.
        now: seconds since the epoch.
    """

    transport: JumpTransport
    context: IRouteContext
    bearer: Bearer
    now: Callable[[], float]
    _channels: dict[int, Channel] = field(factory=dict)
    _opening: dict[int, _Opening] = field(factory=dict)
    _numbered: int = 0
    _pairs: int = 0
    _refused: int = 0
    _since: float = 0.0

    def start(self) -> None:
        """Take messages from now on."""
        self.transport.resumed = self._resumed
        self.transport.logged_in(self.take)

    def take(self, number: int, content: bytes) -> None:
        """Take one message.

        Raises:
            BadBytes: it cannot be read, or is of no channel.
        """
        if self._refused > REFUSALS:
            raise BadBytes("SSH channels", f"more than {REFUSALS} were refused in a moment")
        match number:
            case Message.GLOBAL_REQUEST:
                if read_global(content).wants_answer:
                    self.transport.answer(Message.REQUEST_FAILURE, b"")
            case Message.CHANNEL_OPEN:
                self._open(read_open(content))
            case Message.CHANNEL_DATA:
                which, data = read_data(content)
                self._channel(which).received(data)
            case Message.CHANNEL_WINDOW_ADJUST:
                which, more = read_adjust(content)
                self._channel(which).granted(more)
            case Message.CHANNEL_EOF:
                self._channel(read_number(content)).ended()
            case Message.CHANNEL_CLOSE:
                self._closed(self._channel(read_number(content)))
            case Message.CHANNEL_REQUEST:
                self._requested(content)
            case _:
                # Data for our standard error, and answers to what we have not asked.
                raise BadBytes("SSH message", f"number {number}, which no client sends here")

    def stop(self) -> None:
        """The connection is gone: so is all that it has carried."""
        for opening in list(self._opening.values()):
            _leave(opening)
        self._opening.clear()
        for channel in list(self._channels.values()):
            self._abandon(channel, "client_gone")
            channel.drop()
            self._remove(channel)

    # -- opening ---------------------------------------------------------------------------

    def _open(self, asked: Open) -> None:
        if len(self._channels) + len(self._opening) >= CHANNELS:
            error = TooMany("channels of one connection", CHANNELS)
            self._refuse(asked, _SHORTAGE, str(error))
        elif asked.most < 1024 or asked.number >= 1 << 32:
            self._refuse(asked, _PROHIBITED, "packets of less than 1024 bytes are not sent here")
        elif asked.kind == b"session":
            self._confirm(asked)
        elif asked.kind == b"direct-tcpip":
            self._direct(asked)
        else:
            # By name: it is known, and refused for good.
            known = asked.kind in (b"x11", b"forwarded-tcpip", b"auth-agent@openssh.com")
            self._refuse(asked, _PROHIBITED if known else _UNKNOWN, _ADVICE)

    def _direct(self, asked: Open) -> None:
        host, port = read_direct(asked.rest)
        self._numbered += 1
        opening = self._opening[self._numbered] = _Opening(asked)
        number = self._numbered

        def missed(error: GateError) -> None:
            if self._opening.pop(number, None) is not None:
                code = _PROHIBITED if isinstance(error, TargetDenied | BadCertificate) else _FAILED
                self._refuse(asked, code, told(error))

        def reached(end: End, target: str, limits: Decision) -> None:
            if self._opening.pop(number, None) is None:
                end.lease.abort()
                return
            channel = self._confirm(asked)
            channel.purpose = _Purpose(target)
            self._couple(channel, end, limits)

        self._reach(host, port, None, opening, reached, missed)

    def _confirm(self, asked: Open) -> Channel:
        self._numbered += 1
        channel = Channel(
            self.transport,
            self._numbered,
            asked.number,
            asked.window,
            asked.most,
            self.context.clock,
            self._over,
        )
        self._channels[channel.number] = channel
        content = numbers(asked.number, channel.number, WINDOW, PACKET)
        self.transport.sendPacket(Message.CHANNEL_OPEN_CONFIRMATION, content)
        return channel

    def _refuse(self, asked: Open, code: int, text: str) -> None:
        content = numbers(asked.number, code) + sentence(text)
        self.transport.answer(Message.CHANNEL_OPEN_FAILURE, content)

    # -- requests of a session ----------------------------------------------------------------

    def _requested(self, content: bytes) -> None:
        request = read_request(content)
        assert request.number is not None
        channel = self._channel(request.number)
        if channel.closed:
            return
        found = None
        if request.name == b"subsystem" and channel.purpose is None:
            found = read_subsystem(request.rest)
        if found is None:
            if request.name in _HERE and channel.purpose is None:
                channel.complain(_ADVICE)
            if request.wants_answer:
                channel.answer(good=False)
            return
        purpose = channel.purpose = _Purpose(
            f"node/{found[0]}", is_session=True, wants_answer=request.wants_answer
        )

        def missed(error: GateError) -> None:
            if not channel.closed:
                channel.complain(told(error))
                if purpose.wants_answer:
                    channel.answer(good=False)
                channel.exit(1)
                channel.say_end()
                channel.close()

        def reached(end: End, target: str, limits: Decision) -> None:
            purpose.target = target
            if channel.closed:
                end.lease.abort()
                return
            if purpose.wants_answer:
                channel.answer(good=True)
            self._couple(channel, end, limits)

        self._reach(found[0], found[1], found[2], purpose, reached, missed)

    # -- reaching a node ------------------------------------------------------------------------

    def _reach(
        self,
        host: str,
        port: int,
        cluster: str | None,
        holder: _Purpose | _Opening,
        reached: Callable[[End, str, Decision], None],
        missed: Callable[[GateError], None],
    ) -> None:
        """Decide, and have an agent reach the node; one of the two is called once."""
        try:
            node = self._find(host, port, cluster)
        except GateError as error:
            self._rejected(f"node/{host[:256]}", error)
            missed(error)
            return
        # No closure knows the reach but the timer's: whoever keeps one has no cycle (S57).
        reach, target, limits = node.reach, node.target, node.limits
        holder.reach = reach

        def found(end: End) -> None:
            _settle(holder)
            reached(end, target, limits)

        def failed(error: GateError) -> None:
            _settle(holder)
            self._rejected(target, error)
            missed(error)

        def late() -> None:
            holder.late = None
            reach.cancel()
            failed(TargetSilent(target, REACH_SECONDS))

        holder.late = self.context.clock.callLater(REACH_SECONDS, late)
        reach.start(found, failed)

    def _find(self, host: str, port: int, cluster: str | None) -> Found:
        """Who asks may reach that node now.

        Raises:
            GateError: with the sentence that the user reads.
        """
        context, bearer = self.context, self.bearer
        ours = context.cluster
        assert ours is not None
        if (why := context.closed()) is not None:
            raise why
        if cluster is not None and cluster.lower() != ours.name.lower():
            raise BadName(f"cluster {cluster[:64]!a}", f"this gateway is of {ours.name}")
        if self.now() >= bearer.certificate.valid_before:
            raise BadCertificate("it has ended meanwhile: run `tgsh login`")
        return find_node(context, bearer.identity, host, port, ssh_certificate=bearer.line)

    def _rejected(self, target: str, error: GateError) -> None:
        now = self.context.clock.seconds()
        if now - self._since > _PERIOD_SECONDS:
            self._since, self._refused = now, 0
        self._refused += 1
        fields = {
            "target": target,
            "cause": error.reason,
            "error": str(error),
            "fault": error.fault.value,
        }
        self.context.emit("session.rejected", fields)

    # -- carrying --------------------------------------------------------------------------

    def _couple(self, channel: Channel, end: End, decision: Decision) -> None:
        purpose = channel.purpose
        pair = purpose.pair = self.context.couple(channel.end, end, decision)
        self._pairs += 1
        self.context.busy(True)
        self._told("session.start", channel, pair)
        pair.start()

    def _over(self, channel: Channel) -> None:
        """*channel* carries nothing more."""
        purpose: _Purpose | None = channel.purpose
        if purpose is not None and purpose.pair is not None:
            pair = purpose.pair
            self._told("session.end", channel, pair)
            purpose.pair = None
            self._pairs -= 1
            if not self._pairs:
                self.context.busy(False)
            if purpose.is_session and not channel.closed_by_client:
                channel.exit(0 if pair.cause.endswith("_ended") else 1)
        if channel.closed_by_client:
            self._remove(channel)

    def _told(self, event: str, channel: Channel, pair: Pair) -> None:
        fields: dict[str, object] = {
            "target": channel.purpose.target,
            "to_target": pair.to_target.moved,
            "to_client": pair.to_client.moved,
            "channel": channel.number,
        }
        if event == "session.end":
            fields["cause"] = pair.cause
        self.context.emit(event, fields)

    def _closed(self, channel: Channel) -> None:
        """The client wants nothing more of *channel*."""
        if channel.closed_by_client:
            raise BadBytes("SSH channel", "closed twice")
        channel.close_received()
        if channel.closed:
            self._remove(channel)
        elif channel.purpose is None or channel.purpose.pair is None or not channel.waiting_bytes:
            self._abandon(channel, "client_closed")
            channel.close()

    def _remove(self, channel: Channel) -> None:
        """Its number is nobody's from now on."""
        if self._channels.pop(channel.number, None) is not None:
            channel.forget()

    def _abandon(self, channel: Channel, cause: str) -> None:
        """End what *channel* is for."""
        purpose: _Purpose | None = channel.purpose
        if purpose is None:
            return
        _leave(purpose)
        if purpose.pair is not None:
            purpose.pair.abort(cause)

    def _channel(self, number: int) -> Channel:
        channel = self._channels.get(number)
        if channel is None:
            raise BadBytes("SSH channel", "with a number that is nobody's")
        return channel

    def _resumed(self) -> None:
        """The client takes more: every channel may go on."""
        for channel in list(self._channels.values()):
            channel.end.lease.poke()


def _leave(holder: _Purpose | _Opening) -> None:
    """Reach for it no more."""
    reach = holder.reach
    _settle(holder)
    if reach is not None:
        reach.cancel()


def _settle(holder: _Purpose | _Opening) -> None:
    """The reach is over."""
    late, holder.late, holder.reach = holder.late, None, None
    if late is not None:
        late.cancel()
