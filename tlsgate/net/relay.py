"""The relay: bytes between two lent sockets, TLS or plain on either side.

1. An `End` reads from and writes to one socket; `PlainEnd` and `SecureEnd` differ only in
   how.
2. A `Flow` is one direction: it fills the shared slab from its source and writes the sink
   straight from there. What the sink does not take is held (at most `CHUNK` bytes), and
   the source is not read until it has gone.
3. A `Pair` is two flows. One direction may end long before the other (half-close): the
   sink is told as soon as everything before has been written.
4. `Pair.due` looks at the byte counters now and then: idle, stalled, half-closed and old
   pairs end there, so that carrying bytes costs no timer.

Reading stops when the socket has nothing more (AGAIN), when the sink blocks, or, after a
turn's worth of bytes, when OpenSSL holds none: decrypted bytes inside it wake nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen

from tlsgate.net.ends import CHUNK, STRIDE, End
from tlsgate.net.refuse import Refusal
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, CUT, RECORD, Slab

#: What one flow may carry before the reactor's other work gets its turn.
TURN: Final = 32 * RECORD


@frozen(kw_only=True)
class Waits:
    """The waits of one pair in seconds; None switches one off."""

    idle_seconds: float | None
    write_stall_seconds: float
    close_seconds: float
    lifetime_seconds: float | None
    #: How often to look, so that no wait but the lifetime is exceeded by more than a quarter.
    look_seconds: float = field(init=False)

    @look_seconds.default
    def _find_look_seconds(self) -> float:
        waits = (self.idle_seconds, self.write_stall_seconds, self.close_seconds)
        return min(max(min(wait for wait in waits if wait is not None) / 4, 0.05), 15.0)

    def next_look(self, lived: float) -> float:
        """Give the seconds to the next look of what has lived *lived* seconds.

        The end of a certificate is a moment, and not about a moment (S08).
        """
        if self.lifetime_seconds is None:
            return self.look_seconds
        return min(self.look_seconds, max(self.lifetime_seconds - lived, 0.0))


class Flow:
    """One direction of a pair."""

    __slots__ = (
        *("_since", "_taken", "ended", "fill", "held"),
        *("moved", "pair", "said", "sink", "source"),
    )

    def __init__(self, pair: Pair, source: End, sink: End) -> None:
        self.pair = pair
        self.source = source
        self.sink = sink
        #: Of the source; who watches puts himself before it.
        self.fill: Callable[[Slab, int], int] = source.fill
        self.held: bytes | None = None  #: read, and not yet taken by the sink
        self.moved = 0  #: bytes read so far
        self.ended = False  #: the source will send no more
        self.said = False  #: and the sink knows
        self._taken: int | None = None  #: what the sink's peer had taken
        self._since = 0.0  #: when that was first seen

    def pump(self) -> None:
        """Carry what the source has, until one side has to be waited for."""
        if self.held is not None or self.ended:
            return
        source, sink, pair, fill = self.source, self.sink, self.pair, self.fill
        slab = pair.slab
        turn = self.moved + TURN
        size = CHUNK
        while True:
            count = fill(slab, size)
            if count <= 0:
                break
            self.moved += count
            gone = sink.put(slab, count)
            if gone != count:
                if gone == BROKEN:
                    pair.broke(sink)
                    return
                self.held = bytes(slab.view[gone:count])
                source.attend()
                sink.attend()
                return
            if (source.drained or self.moved >= turn) and not source.pending():
                return
            size = sink.step()
        if count == BLOCKED:
            source.read_blocked = True
        elif count == BROKEN:
            pair.broke(source)
        elif count != AGAIN:
            self.finish(cut=count == CUT)

    def flush(self) -> None:
        """Write what is held, say what has to be said, and read on."""
        held, pair = self.held, self.pair
        if held is not None:
            # More than the slab takes is held only when the pair begins with it.
            size = min(len(held), STRIDE)
            pair.slab.view[:size] = held[:size]
            gone = self.sink.put(pair.slab, size)
            if gone == BROKEN:
                pair.broke(self.sink)
                return
            if gone != len(held):
                if gone:
                    self.held = held[gone:]
                if gone == size:
                    self.flush()
                return
            self.held = None
            # Not left to the poller: what OpenSSL holds wakes nobody.
            self.pump()
            if pair.open:
                self.source.attend()
        elif self.ended and not self.said:
            self._say()

    def waiting(self) -> int:
        """Bytes that have been read and that the sink has not taken."""
        return 0 if self.held is None else len(self.held)

    def stalled_seconds(self, now: float) -> float:
        """How long the sink's peer has taken nothing of what waits for it.

        What is in the kernel counts: a slow peer empties its megabytes for minutes before
        the socket takes more from us. What goes the other way does not: a peer that only
        sends is as stuck as a silent one.
        """
        if self.held is None:
            return 0.0
        taken = self.moved - self.waiting() - self.sink.queued()
        if taken != self._taken:
            self._taken, self._since = taken, now
        return now - self._since

    def finish(self, *, cut: bool) -> None:
        """The source has ended; nothing is held."""
        self.ended = True
        self.pair.ended(self.source, cut=cut)
        self._say()

    def drop(self) -> None:
        """The pair is over: give back what was borrowed."""

    def _say(self) -> None:
        """Tell the sink that the source has ended; nothing is held."""
        outcome = self.sink.finish()
        if outcome == BLOCKED:
            self.sink.attend()
            return
        self.said = True
        if outcome == BROKEN:
            self.pair.broke(self.sink)
        else:
            self.pair.maybe_done()


def watched(source: End, see: Callable[[memoryview], None]) -> Callable[[Slab, int], int]:
    """Give a `Flow.fill` that shows *see* what it has read, before anybody writes it on.

    Args:
        see: must not raise; the memory is the slab's, and not its own to keep.
    """
    fill = source.fill

    def look(slab: Slab, size: int) -> int:
        count = fill(slab, size)
        if count > 0:
            see(slab.view[:count])
        return count

    return look


FlowKind = Callable[["Pair", End, End], Flow]


class Pair:
    """A client and its target, coupled until both are done.

    Who waits for the end hears it from the client socket's owner, whose protocol is told
    `connectionLost` when the pair closes it; by then `cause` is set.

    Args:
        now: seconds of a monotonic clock.
        flow: makes the two directions; `Flow` unless said otherwise.
    """

    __slots__ = (
        "_first_end",
        "_last_moved",
        "_last_time",
        "_started",
        "_waits",
        "_wheel",
        "cause",
        "client",
        "open",
        "slab",
        "slot",
        "target",
        "to_client",
        "to_target",
    )

    def __init__(
        self,
        client: End,
        target: End,
        slab: Slab,
        waits: Waits,
        wheel: Wheel,
        now: Callable[[], float],
        flow: FlowKind | None = None,
    ) -> None:
        self.client = client
        self.target = target
        self.slab = slab
        self.slot = 0
        self.open = True
        self.cause = ""
        self._waits = waits
        self._wheel = wheel
        self._started = self._last_time = now()
        self._last_moved = 0
        self._first_end = ""
        make = flow or Flow
        self.to_target = client.out = target.to = make(self, client, target)
        self.to_client = target.out = client.to = make(self, target, client)

    def start(self, to_target: bytes = b"", to_client: bytes = b"") -> None:
        """Begin: bytes may wait on either side already, in OpenSSL or in the kernel.

        Args:
            to_target: what has been read of the client before.
            to_client: what goes to the client before anything of the target's.
        """
        self._wheel.arm(self, self._waits.next_look(0.0))
        self.client.lease.on_ready = self.client.ready
        self.target.lease.on_ready = self.target.ready
        if to_client:
            self.to_client.held = to_client
            self.to_client.flush()
        if self.open and to_target:
            self.to_target.moved = len(to_target)
            self.to_target.held = to_target
            self.to_target.flush()
        elif self.open:
            self.to_target.pump()
        if self.open:
            self.client.attend()
            self.target.attend()

    def side(self, end: End) -> str:
        """Which of the two *end* is."""
        return "client" if end is self.client else "target"

    def ended(self, end: End, *, cut: bool) -> None:
        """The first direction to end names the cause."""
        if not self._first_end:
            self._first_end = f"{self.side(end)}_{'cut' if cut else 'ended'}"

    def maybe_done(self) -> None:
        """Close both sockets once both directions have been ended and told so."""
        if self.to_target.said and self.to_client.said:
            self._close(self._first_end)

    def broke(self, end: End) -> None:
        """*end* can neither be read nor written: reset the other one as well."""
        if self.open:
            cause = self._first_end if self._first_end.endswith("_cut") else ""
            self.abort(cause or f"{self.side(end)}_reset")

    def abort(self, cause: str) -> None:
        """End both sides at once with a reset."""
        self._close(cause, reset=True)

    @property
    def empty(self) -> bool:
        """Whether it is open, nothing is held in either direction, and neither has ended."""
        up, down = self.to_target, self.to_client
        held = up.held is not None or down.held is not None
        return self.open and not (held or up.ended or down.ended)

    def end_with(self, to_client: bytes, to_target: bytes, cause: str) -> None:
        """End in order, each side with last words of ours; only while it is `empty`.

        What a socket does not take of them is lost.
        """
        slab = self.slab
        for sink, words in ((self.client, to_client), (self.target, to_target)):
            slab.view[: len(words)] = words
            if sink.put(slab, len(words)) == len(words):
                sink.finish()
        self._close(cause, last=True)

    def due(self, now: float) -> float | None:
        """The wheel calls this: see whether a wait is over."""
        waits = self._waits
        if waits.lifetime_seconds is not None and now - self._started >= waits.lifetime_seconds:
            self._end_in_order("lifetime")
            return None
        up, down = self.to_target, self.to_client
        for flow in (up, down):
            if flow.stalled_seconds(now) >= waits.write_stall_seconds:
                self.abort("write_stall")
                return None
        # A reader takes part of what waits before more can be read.
        moved = up.moved + down.moved - up.waiting() - down.waiting()
        if self._first_end or up.held is not None or down.held is not None:
            # While a peer takes what the kernel holds for it, it is not silent.
            moved -= self.client.queued() + self.target.queued()
        if moved != self._last_moved:
            self._last_moved = moved
            self._last_time = now
            return waits.next_look(now - self._started)
        silent = now - self._last_time
        if silent >= waits.close_seconds and self._first_end:
            self.abort("close_timer")
            return None
        if waits.idle_seconds is not None and silent >= waits.idle_seconds:
            self._end_in_order("idle")
            return None
        return waits.next_look(now - self._started)

    def _end_in_order(self, cause: str) -> None:
        """Tell both peers as far as their sockets take it, and close."""
        for flow in (self.to_client, self.to_target):
            if not flow.said and flow.held is None:
                flow.sink.finish()
        self._close(cause)

    def _close(self, cause: str, *, reset: bool = False, last: bool = False) -> None:
        if not self.open:
            return
        self.open = False
        self.cause = cause
        self._wheel.drop(self)
        self.to_target.drop()
        self.to_client.drop()
        for end in (self.target, self.client):
            if reset:
                end.lease.abort()
            elif last and end is self.client:
                # Closed at once, bytes of the client's on their way would undo the words.
                Refusal(end.lease, b"", self._wheel)
            else:
                end.lease.close()
        # The cycle of pair, flows and ends would wait for the collector (S57).
        del self.client.out, self.client.to, self.target.out, self.target.to
        del self.to_target.pair, self.to_client.pair
