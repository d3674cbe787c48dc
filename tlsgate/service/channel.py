"""The wire between two of our processes: JSON lines, and listening sockets beside them.

It runs over a UNIX socket pair that the child has inherited. Either side may `tell` and
`ask`; an error of ours comes back as the error it was, as far as an operator needs it.
The end of the channel is the end of the other process.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.errors import (
    BadSettings,
    DaemonSaid,
    Fault,
    GateError,
    Place,
    Problem,
    ProcessGone,
)

#: A line that is longer is no line of ours.
LINE_BYTES = 256 << 20

#: What the other side asks or tells: a word, its fields, and the descriptors that came.
Hear = Callable[[str, dict[str, Any], list[int]], Awaitable[Any]]


@implementer(IFileDescriptorReceiver)
class Channel(Protocol):
    """One end of the wire.

    Args:
        hear: called with each word of the other side; gives what to answer (JSON types).
        lost: called once when the other process is gone.
    """

    log = Logger()

    def __init__(self, hear: Hear, lost: Callable[[], None]) -> None:
        self._hear = hear
        self._lost = lost
        self._parts: list[bytes] = []
        self._size = 0
        self._descriptors: list[int] = []
        self._waiting: dict[int, Deferred[Any]] = {}
        self._count = 0
        self.open = True

    def tell(self, word: str, descriptors: Iterable[int] = (), **fields: Any) -> None:
        """Say *word* with *fields*; nobody answers."""
        self._send({"word": word, "fields": fields}, tuple(descriptors))

    def ask(self, word: str, descriptors: Iterable[int] = (), **fields: Any) -> Deferred[Any]:
        """Say *word* and give what the other side answers.

        The descriptors have to stay open until it has.

        Raises (from the Deferred):
            BadSettings, DaemonSaid: what the other side raised.
            ProcessGone: it is gone.
        """
        answer: Deferred[Any] = Deferred()
        if not self.open:
            answer.errback(Failure(ProcessGone()))
            return answer
        self._count += 1
        self._waiting[self._count] = answer
        self._send({"word": word, "fields": fields, "ask": self._count}, tuple(descriptors))
        return answer

    def hang_up(self) -> None:
        """Close the wire."""
        if self.open and self.transport is not None:
            self.transport.loseConnection()

    # -- Twisted calls these -----------------------------------------------------------------

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor of the line that follows."""
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)

    def dataReceived(self, data: bytes) -> None:
        """A part of a line, or several."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._parts.append(line)
            whole = b"".join(self._parts)
            self._parts, self._size = [], 0
            self._line(whole)
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > LINE_BYTES:
                self.hang_up()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """The other side is gone."""
        self.open = False
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(Failure(ProcessGone()))
        self._lost()

    # -- inside ------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if not self.open or self.transport is None:
            return
        if descriptors:
            message["descriptors"] = len(descriptors)
            for descriptor in descriptors:
                self.transport.sendFileDescriptor(descriptor)  # type: ignore[attr-defined]
        self.transport.write(json.dumps(message).encode() + b"\n")

    def _line(self, line: bytes) -> None:
        message = json.loads(line)
        if "answer" in message:
            answer = self._waiting.pop(message["answer"], None)
            if answer is None:
                return
            if "error" in message:
                answer.errback(Failure(error_of(message["error"])))
            else:
                answer.callback(message.get("value"))
            return
        count = message.get("descriptors", 0)
        came, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        heard = Deferred.fromCoroutine(self._reply(message, came))
        heard.addErrback(lambda failure: self.log.failure("channel", failure=failure))

    async def _reply(self, message: dict[str, Any], descriptors: list[int]) -> None:
        ask = message.get("ask")
        try:
            value = await self._hear(message["word"], message["fields"], descriptors)
        except GateError as e:
            if ask is None:
                self.log.error("{word}: {error}", word=message["word"], error=str(e))
            else:
                self._send({"answer": ask, "error": error_fields(e)})
        except Exception:
            self.log.failure("channel: {word} failed", word=message["word"])
            if ask is not None:
                bug = "a bug of tlsgate; the log has the details"
                self._send({"answer": ask, "error": error_fields(GateError(), bug)})
        else:
            if ask is not None:
                self._send({"answer": ask, "value": value})


def connect(reactor: Any, descriptor: int, hear: Hear, lost: Callable[[], None]) -> Channel:
    """Make a channel of *descriptor*, one end of a socket pair, which is taken over."""
    channel = Channel(hear, lost)
    os.set_blocking(descriptor, False)
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, Factory.forProtocol(lambda: channel))
    os.close(descriptor)  # Twisted has made its own copy
    return channel


def error_fields(error: GateError, text: str | None = None) -> dict[str, Any]:
    """*error* in JSON types."""
    problems = error.problems if isinstance(error, BadSettings | DaemonSaid) else ()
    return {
        "reason": error.word if isinstance(error, DaemonSaid) else error.reason,
        "fault": (error.whose if isinstance(error, DaemonSaid) else error.fault).value,
        "text": text or str(error),
        "problems": [
            [one.place.file, one.place.line, one.place.column, one.path, one.message]
            for one in problems
        ],
    }


def error_of(fields: dict[str, Any]) -> GateError:
    """The error that `error_fields` was made of, or one that says the same."""
    problems = tuple(
        Problem(Place(file, line, column), path, message)
        for file, line, column, path, message in fields["problems"]
    )
    if problems:
        return BadSettings(problems)
    return DaemonSaid(fields["reason"], Fault(fields["fault"]), fields["text"])
