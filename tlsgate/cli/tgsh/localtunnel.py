"""What a local proxy does with a program's connection where it carries bytes.

`Straight`: bytes as they are, for any protocol; with or without TLS of ours.
`Postgres`: the messages before a session are answered here (`localpg`), and a gateway that
refuses is heard by the program in words of its protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred

from tlsgate.cli.tgsh.localends import SecureSide, Side, couple
from tlsgate.cli.tgsh.localgate import Gateway, Left
from tlsgate.cli.tgsh.localpg import Begin, No, Prelude, refusal
from tlsgate.errors import BadBytes, GateError

#: A program says who it is at once.
PRELUDE_SECONDS = 30.0


class Straight:
    """One program, and the gateway.

    Args:
        program: has just connected.
        gateway: is reached for it.
        reactor: the loop.
        say: one line for people.
        refused: told of every refusal, which may end the certificate's use.
    """

    def __init__(
        self,
        program: Side,
        gateway: Gateway,
        reactor: Any,
        say: Callable[[str], object],
        refused: Callable[[GateError], object],
    ) -> None:
        self._program = program
        self._gateway = gateway
        self._reactor = reactor
        self._say = say
        self._refused = refused
        self.start()

    def start(self) -> None:
        """Begin."""
        self._join(b"")

    def words_of(self, error: GateError) -> bytes:
        """What the program is told of a refusal; b"" where it has no words for it."""
        return b""

    def _join(self, first: bytes) -> None:
        # Nobody reads the program until the gateway is there, so nothing piles up.
        cast(Any, self._program.transport).pauseProducing()
        joining = Deferred.fromCoroutine(self._reach(first))
        joining.addErrback(lambda failure: self._program.cut())

    async def _reach(self, first: bytes) -> None:
        program = self._program
        try:
            gateway = await self._gateway.reach(lambda: not program.gone)
        except Left:
            return
        except GateError as e:
            self._refuse(e)
            return
        couple(program, gateway)
        after = gateway.lost
        gateway.lost = lambda why: self._lost(gateway, why, after)
        gateway.send(first)
        if isinstance(gateway, SecureSide):
            gateway.begin()
        if not program.gone:
            cast(Any, program.transport).resumeProducing()

    def _lost(self, gateway: Side, why: Exception | None, after: Callable[[Any], object]) -> None:
        """The gateway's side is gone: in TLS 1.3 a refusal comes after the handshake."""
        meant = None if why is None else self._gateway.meaning(why)
        if meant is not None and isinstance(gateway, SecureSide) and not gateway.spoke:
            self._refuse(meant)
        else:
            after(why)

    def _refuse(self, error: GateError) -> None:
        self._say(str(error))
        self._refused(error)
        self._program.loose()
        if words := self.words_of(error):
            self._program.send(words)
            self._program.close()
        else:
            self._program.cut()


class Postgres(Straight):
    """The same for PostgreSQL."""

    def start(self) -> None:
        """See `Straight.start`."""
        self._prelude = Prelude()
        self._program.got = self._feed
        self._program.ended = self._program.close
        self._program.lost = self._gone
        self._timer = self._reactor.callLater(PRELUDE_SECONDS, self._program.cut)

    def words_of(self, error: GateError) -> bytes:
        """See `Straight.words_of`."""
        return refusal(str(error))

    def _gone(self, why: Exception | None) -> None:
        if self._timer.active():
            self._timer.cancel()

    def _feed(self, data: bytes) -> None:
        try:
            found = self._prelude.feed(data)
        except BadBytes as e:
            self._timer.cancel()
            self._refuse(e)
            return
        match found:
            case No():
                self._program.send(b"N")
            case Begin():
                self._timer.cancel()
                self._join(found.first)
