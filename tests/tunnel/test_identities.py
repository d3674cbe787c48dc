"""No byte ever reaches another identity's client or target, whatever happens to a stream.

What a client sends, and what its target answers, spells who it is with every byte, and each
side compares all that it gets with what it should be. `CrowdTests` has chance decide who
does what when; `SweepTests` stops a conversation after every single byte on the wire.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import sized
from tests.tunnel.yard import NO, Agent, Asker, Cable, Yard, asked
from tlsgate.net.relay import Pair
from tlsgate.tunnel.stream import AgentStream, GatewayStream

IDENTITIES = 50
STREAMS = 6


class Voice:
    """One end of a conversation: what it says, and what it must hear.

    Attributes:
        said, heard: bytes so far.
        over: its socket has ended.
    """

    def __init__(self, says: bytes, hears: bytes) -> None:
        self._says = says
        self._hears = hears
        self.said = 0
        self.heard = 0
        self.over = False
        self.socket: socket.socket | None = None

    def say(self, size: int) -> None:
        """Send up to *size* bytes more."""
        if self.socket is not None:
            at = self.said % len(self._says)
            words = (self._says * (2 + size // len(self._says)))[at : at + size]
            with contextlib.suppress(OSError):
                self.said += self.socket.send(words)

    def listen(self) -> None:
        """Compare what has come."""
        if self.socket is None or self.over:
            return
        try:
            got = self.socket.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.over = True
            return
        at = self.heard % len(self._hears)
        wanted = (self._hears * (2 + len(got) // len(self._hears)))[at : at + len(got)]
        assert got == wanted, f"heard {got[:40]!r}, not {wanted[:40]!r}"
        self.heard += len(got)

    def end(self) -> None:
        """Say no more."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Listen to the last word, and go."""
        if self.socket is not None:
            self.listen()
            self.socket.close()


class Line:
    """One stream with its cable; another one in its place when it is dead."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self.dials = 0
        self.dial()

    def dial(self) -> None:
        """Put a new stream there."""
        self.dials += 1
        self.agent = Agent()
        self.gateway: GatewayStream
        self.theirs: AgentStream
        self.gateway, self.theirs = self.yard.stream(self.agent, cable=True)
        self.cable: Cable = self.yard.cables.pop()

    def alive(self) -> bool:
        """False once either side has found it dead."""
        return self.gateway.open and self.theirs.open

    def turn(self) -> None:
        """Let everybody do what is ready now."""
        self.yard.poller.doRead()
        self.cable.turn()


class Talk:
    """One client of one identity on a line, from its request to its end."""

    def __init__(self, line: Line, identity: int, number: int) -> None:
        self.line = line
        name = f"{identity:02}-{number:05}"
        up, down = f"client {name};".encode(), f"target {name}!".encode()
        self.user = f"user {name}"
        self.client = Voice(up, down)
        self.target = Voice(down, up)
        self.asker = Asker()
        self.pairs: list[Pair] = []
        self.refuses = False
        self.cancelled = False
        self.ending = False  #: both ends say no more, as soon as they are connected
        line.gateway.ask(asked(self.user), self.asker.reached, self.asker.failed)

    def step(self) -> None:
        """Answer, connect and listen, as far as there is anything."""
        agent = self.line.agent
        while agent.asked:
            told, request = agent.asked.pop()
            if not request.open:
                continue
            assert told.user == self.user, f"{told.user} for {self.user}"
            if self.refuses:
                request.refuse(NO)
            else:
                pair, self.target.socket = self.line.yard.join(request.accept(), client=False)
                self.pairs.append(pair)
        if self.asker.end is not None and self.client.socket is None:
            pair, self.client.socket = self.line.yard.join(self.asker.end, client=True)
            self.pairs.append(pair)
        self.client.listen()
        self.target.listen()
        if self.ending:
            self.client.end()
            self.target.end()

    def cancel(self) -> None:
        """The client goes before it has an answer."""
        if self.asker.end is None:
            self.cancelled = True
            self.line.gateway.cancel()

    def break_client(self) -> None:
        """The client's socket breaks."""
        if self.client.socket is None:
            self.cancel()
            return
        pair = self.pairs[-1]
        if pair.open and pair.client.lease.open:
            pair.broke(pair.client)

    def break_target(self) -> None:
        """The target's socket breaks."""
        if self.target.socket is not None and self.pairs[0].open:
            self.pairs[0].broke(self.pairs[0].target)

    def close(self) -> None:
        """Close what is still open."""
        self.client.close()
        self.target.close()


def until(line: Line, talk: Talk | None, what: Callable[[], object]) -> None:
    """Turn until *what* is true."""
    for turn in range(20_000):
        if what():
            return
        line.turn()
        if talk is not None:
            talk.step()
        if turn % 500 == 499:
            line.yard.reactor.advance(0.25)
    raise AssertionError("it never came")


class SweepTests(SynchronousTestCase):
    """Something happens after every single byte on the wire, in either direction."""

    binding = True

    def converse(self, line: Line, talk: Talk, turns: int) -> None:
        """A conversation of a few frames each way, which ends in order if nobody stops it."""
        for turn in range(turns):
            line.turn()
            talk.step()
            if talk.client.socket is not None and turn % 3 == 0:
                if talk.client.said < 60:
                    talk.client.say(30)
                else:
                    talk.client.end()
            if talk.target.socket is not None and turn % 3 == 1:
                if talk.target.said < 60:
                    talk.target.say(30)
                else:
                    talk.target.end()

    def sweep(self, deed: Callable[[Line, Talk], None], every: int, *, cut: bool = False) -> Line:
        """Stop the wire after each number of bytes, do *deed*, let go, and serve another one.

        Returns:
            The line, which has served all of them.
        """
        yard = Yard(self, binding=self.binding)
        line = Line(yard)
        for way in (0, 1):
            whole, stop, number = -1, 0, 0
            while whole < 0 or stop < whole:
                if not line.alive():
                    line.dial()
                # The first round finds out how long a conversation is on the wire.
                until(line, None, lambda: not line.gateway.busy)
                before = line.cable.carried[way]
                line.cable.allowance[way] = None if whole < 0 else stop
                talk = Talk(line, number % IDENTITIES, number)
                self.converse(line, talk, 28)
                if whole < 0:
                    until(line, talk, lambda: not line.gateway.busy)
                    whole = line.cable.carried[way] - before
                    self.assertGreater(whole, 200)
                else:
                    deed(line, talk)
                    stop += every
                line.cable.allowance[way] = None
                number += 1
                talk.ending = True
                until(line, talk, lambda: not (line.alive() and line.gateway.busy))
                talk.step()
                talk.close()
                if cut and number > 1:
                    until(line, None, lambda: not line.alive())
        return line

    def test_the_wire_is_cut(self) -> None:
        """Nothing wrong arrives, and whoever is connected is told."""

        def cut(line: Line, talk: Talk) -> None:
            line.cable.cut()
            until(line, talk, lambda: not (line.gateway.open or line.theirs.open))

        self.sweep(cut, sized(7, 1), cut=True)

    def test_the_client_breaks(self) -> None:
        """The stream serves the next one, or is dead."""
        self.sweep(lambda line, talk: talk.break_client(), sized(2, 1))

    def test_the_target_breaks(self) -> None:
        """The stream serves the next one, or is dead."""
        self.sweep(lambda line, talk: talk.break_target(), sized(2, 1))

    def test_both_break(self) -> None:
        """Their resets cross at every place."""

        def both(line: Line, talk: Talk) -> None:
            talk.break_target()
            talk.break_client()

        self.sweep(both, sized(2, 1))

    def test_a_half_close(self) -> None:
        """Either end at every place; none of it needs another connection."""

        def ends(line: Line, talk: Talk) -> None:
            talk.client.end()
            line.turn()
            talk.target.end()

        line = self.sweep(ends, sized(2, 1))
        self.assertEqual(line.dials, 1)


class PublicSweepTests(SweepTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class CrowdTests(SynchronousTestCase):
    """Many clients, few streams, and chance."""

    binding = True
    clients = sized(10_000, 40_000)

    def test_no_byte_reaches_another(self) -> None:
        """10,000 clients of 50 identities over six streams; cuts, resets and half-closes."""
        chance = random.Random(4)
        yard = Yard(self, binding=self.binding)
        lines = [Line(yard) for _ in range(STREAMS)]
        talks: dict[Line, tuple[Talk, Script]] = {}
        begun = done = bytes_heard = in_order = 0
        for turn in range(300 * self.clients // STREAMS):
            yard.poller.doRead()
            if turn % 200 == 199:
                yard.reactor.advance(0.25)
            for line in lines:
                line.cable.turn()
                if line not in talks:
                    if not line.alive():
                        line.dial()
                    if not line.gateway.busy and begun < self.clients:
                        begun += 1
                        talk = Talk(line, chance.randrange(IDENTITIES), begun)
                        talks[line] = talk, Script(chance, talk)
                    continue
                talk, script = talks[line]
                script.step()
                if script.over():
                    talk.step()
                    talk.close()
                    bytes_heard += talk.client.heard + talk.target.heard
                    in_order += script.in_order()
                    del talks[line]
                    done += 1
            if done == self.clients:
                break
        self.assertEqual(done, self.clients)
        self.assertGreater(in_order, self.clients // 4)
        self.assertGreater(bytes_heard, self.clients * 1_000)
        # Far fewer connections than clients: they were reused.
        self.assertLess(sum(line.dials for line in lines), self.clients // 4)


class Script:
    """What chance has one client and its target do."""

    def __init__(self, chance: random.Random, talk: Talk) -> None:
        self._chance = chance
        self._talk = talk
        self._turn = 0
        self._up = self._size()
        self._down = self._size()
        self._deed_at = chance.randrange(1, 30)
        fates = ("order",) * 6 + ("client", "target", "both", "cancel", "refuse", "half", "still")
        self._fate = chance.choice((*fates, "cut", "within"))
        talk.refuses = self._fate == "refuse"
        if self._fate == "within":
            # The wire goes in the middle of whatever is on it then.
            way = chance.randrange(2)
            talk.line.cable.allowance[way] = chance.randrange(1_500)
            talk.line.cable.cut_after = True

    def _size(self) -> int:
        return self._chance.choice((0, 1, 30, 300, 2_000, 20_000))

    def step(self) -> None:
        """One turn of it."""
        talk = self._talk
        self._turn += 1
        talk.step()
        for voice, size in ((talk.client, self._up), (talk.target, self._down)):
            if voice.said < size:
                voice.say(min(size - voice.said, self._chance.choice((1, 50, 9_000))))
            elif self._fate != "still" or self._turn > 40:
                voice.end()
        if self._turn == self._deed_at:
            self._act()

    def _act(self) -> None:
        talk, fate = self._talk, self._fate
        if fate in ("client", "both", "cancel"):
            talk.break_client()
        if fate in ("target", "both"):
            talk.break_target()
        if fate == "half":
            self._chance.choice((talk.client, talk.target)).end()
        if fate == "cut":
            talk.line.cable.cut()

    def over(self) -> bool:
        """True when it has come to its end, one way or the other."""
        line = self._talk.line
        if line.alive():
            return not line.gateway.busy and not line.theirs.busy and self._turn > 1
        return not (line.gateway.open or line.theirs.open)

    def in_order(self) -> bool:
        """True when both have heard all that the other was to say."""
        talk = self._talk
        return (talk.client.heard, talk.target.heard) == (self._down, self._up)


class PublicCrowdTests(CrowdTests):
    """The same without pyOpenSSL's private binding."""

    binding = False
    clients = sized(1_000, 40_000)
