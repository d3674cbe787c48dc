"""What a local proxy does with a program's connection to an application over HTTP.

1. A request's head is checked and changed (`localhttp`), the gateway reached where it is not
   yet, and the request goes on; its body follows as it comes.
2. The answer comes back the same way. Where both sides keep the connection, the next request
   follows; where only the gateway has closed, the next request has a new one.
3. After `101 Switching Protocols`, as WebSockets have it, bytes go both ways.

HTTP/1.1 is h11's on either side, so what one side says is framed anew for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import h11
from twisted.internet.defer import Deferred

from tlsgate.cli.tgsh.localends import SecureSide, Side, couple
from tlsgate.cli.tgsh.localgate import Gateway, Left
from tlsgate.cli.tgsh.localhttp import Names
from tlsgate.errors import GateError

#: Of a head; the gateway takes less.
_HEAD_BYTES = 128 << 10
#: Requests that may be sent twice where the first went into a connection that had ended.
_AGAIN = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Web:
    """One program's connection; the arguments are those of `localtunnel.Straight`."""

    def __init__(
        self,
        program: Side,
        gateway: Gateway,
        reactor: Any,
        say: Callable[[str], object],
        refused: Callable[[GateError], object],
        names: Names,
    ) -> None:
        self._program = program
        self._gateway = gateway
        self._say = say
        self._refused = refused
        self._names = names
        self._front = h11.Connection(h11.SERVER, _HEAD_BYTES)
        self._back: h11.Connection | None = None
        self._side: Side | None = None
        self._joining = False
        self._request: h11.Request | None = None
        self._method = b""
        self._used = False  #: the gateway's connection has had an answer already
        self._body = self._answered = False
        program.got = self._from_program
        program.ended = self._program_ended
        program.lost = self._program_lost

    # -- the program -------------------------------------------------------------

    def _from_program(self, data: bytes) -> None:
        self._front.receive_data(data)
        self._pull()

    def _program_ended(self) -> None:
        self._front.receive_data(b"")
        self._pull()

    def _program_lost(self, why: Exception | None) -> None:
        if self._side is not None:
            self._side.loose()
            self._side.cut()

    def _pull(self) -> None:
        """Take what the program has sent, as far as it can be given on."""
        while not self._joining and not self._program.gone:
            try:
                event = self._front.next_event()
            except h11.RemoteProtocolError as e:
                self._answer(e.error_status_hint, "this is no request of HTTP/1.1")
                return
            match event:
                case h11.NEED_DATA | h11.PAUSED:
                    return
                case h11.ConnectionClosed():
                    self._close()
                    return
                case h11.Request():
                    self._ask(event)
                case h11.Data() | h11.EndOfMessage():
                    self._body = self._body or isinstance(event, h11.Data)
                    self._to_gateway(event)

    def _ask(self, request: h11.Request) -> None:
        headers = [*request.headers]
        self._method = request.method
        fault = self._names.check(request.method, request.target, headers)
        if fault is not None:
            self._answer(fault.status, fault.sentence)
            return
        self._request = h11.Request(
            method=request.method,
            target=request.target,
            headers=self._names.to_app(headers),
        )
        self._body = self._answered = False
        if self._side is not None and self._back is not None:
            self._to_gateway(self._request)
        else:
            self._join()

    def _join(self, again: bool = False) -> None:
        """Have a connection to the gateway, and send the request."""
        self._joining = True
        cast(Any, self._program.transport).pauseProducing()
        joining = Deferred.fromCoroutine(self._reach(again))
        joining.addErrback(lambda failure: self._program.cut())

    async def _reach(self, again: bool) -> None:
        try:
            side = await self._gateway.reach(lambda: not self._program.gone)
        except Left:
            return
        except GateError as e:
            self._joining = False
            self._say(str(e))
            self._refused(e)
            self._answer(502, str(e))
            return
        self._joining = False
        self._side, self._back, self._used = side, h11.Connection(h11.CLIENT, _HEAD_BYTES), False
        side.got = lambda data: self._from_gateway(side, data)
        side.ended = lambda: self._from_gateway(side, b"")
        side.lost = lambda why: self._gateway_lost(side, why)
        self._program.tie(side)
        side.tie(self._program)
        assert self._request is not None
        self._to_gateway(self._request)
        if again:
            self._to_gateway(h11.EndOfMessage())
        if isinstance(side, SecureSide):
            side.begin()
        if not self._program.gone:
            cast(Any, self._program.transport).resumeProducing()
        self._pull()

    # -- the gateway -------------------------------------------------------------

    def _to_gateway(self, event: Any) -> None:
        if self._side is None or self._back is None:
            return  # it has answered, and closed, before it had all of the request
        if self._back.our_state in (h11.DONE, h11.MUST_CLOSE, h11.ERROR, h11.CLOSED):
            return
        self._side.send(self._back.send(event) or b"")

    def _from_gateway(self, side: Side, data: bytes) -> None:
        if side is not self._side or self._back is None:
            return
        back = self._back
        back.receive_data(data)
        while self._back is back:
            try:
                event = back.next_event()
            except h11.RemoteProtocolError:
                self._gateway_lost(side, None)
                return
            match event:
                case h11.NEED_DATA | h11.PAUSED:
                    return
                case h11.ConnectionClosed():
                    self._leave()
                    return
                case h11.InformationalResponse():
                    self._head(event)
                    if event.status_code == 101:
                        self._switch(side)
                        return
                case h11.Response():
                    self._head(event)
                case h11.Data():
                    self._program.send(self._front.send(event) or b"")
                case h11.EndOfMessage():
                    self._program.send(self._front.send(event) or b"")
                    self._cycle()

    def _head(self, event: Any) -> None:
        kind = type(event)
        headers = self._names.to_program([*event.headers], event.status_code)
        made = kind(status_code=event.status_code, headers=headers, reason=event.reason)
        self._answered = True
        self._program.send(self._front.send(made) or b"")

    def _cycle(self) -> None:
        """An answer is complete: go on with the next request, or close."""
        assert self._back is not None
        self._used = True
        if self._back.our_state is h11.DONE and self._back.their_state is h11.DONE:
            self._back.start_next_cycle()
        else:
            self._leave()
        if self._front.our_state is h11.DONE and self._front.their_state is h11.DONE:
            self._front.start_next_cycle()
            self._pull()
        elif self._front.our_state is not h11.DONE or self._front.their_state is h11.ERROR:
            self._close()
        elif self._side is None:
            self._close()  # the rest of the request has nowhere to go

    def _switch(self, side: Side) -> None:
        """The two speak something else from here on."""
        assert self._back is not None
        early, _ = self._front.trailing_data
        late, _ = self._back.trailing_data
        self._program.loose()
        side.loose()
        couple(self._program, side)
        self._side = self._back = None
        side.send(early)
        self._program.send(late)

    def _gateway_lost(self, side: Side, why: Exception | None) -> None:
        if side is not self._side:
            return
        meant = None if why is None else self._gateway.meaning(why)
        used, request = self._used, self._request
        self._leave()
        if self._front.their_state in (h11.IDLE,) and not self._joining:
            return  # between two requests
        if self._answered:
            self._program.cut()
        elif used and request is not None and request.method in _AGAIN and not self._body:
            # It was closed while the request was on its way: that is nobody's answer.
            self._join(again=self._front.their_state is not h11.SEND_BODY)
        else:
            if meant is not None:
                self._say(str(meant))
                self._refused(meant)
            self._answer(502, str(meant or "the gateway has closed the connection"))

    def _leave(self) -> None:
        """Let go of the gateway's connection."""
        side, self._side, self._back = self._side, None, None
        self._program.loose()
        if side is not None:
            side.loose()
            side.close()

    # -- answers of our own ------------------------------------------------------

    def _answer(self, status: int, sentence: str) -> None:
        """Answer by ourselves, and close."""
        if self._front.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._program.cut()
            return
        body = f"tgsh: {sentence}\n".encode()
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        sent = self._front.send(h11.Response(status_code=status, headers=headers)) or b""
        if self._method != b"HEAD":
            sent += self._front.send(h11.Data(data=body)) or b""
        sent += self._front.send(h11.EndOfMessage()) or b""
        self._program.send(sent)
        self._close()

    def _close(self) -> None:
        if self._side is not None:
            self._leave()
        self._program.close()
