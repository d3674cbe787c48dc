"""Bytes from socket to socket inside the kernel, for connections that are not TLS here.

A pipe carries the bytes, and pipes are scarce: an unprivileged user has some 64 of 1 MiB
(pipe-user-pages-soft). So a flow borrows one only for the turn in which it moves much,
and keeps it only while the sink is slow; who gets none copies as any other relay.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from tlsgate.net.ends import End
from tlsgate.net.relay import TURN, Flow

if TYPE_CHECKING:
    from tlsgate.net.relay import Pair

#: What a flow has carried before it is worth a pipe: a short answer is copied faster.
BULK_BYTES: Final = 256 * 1024

_PIPE_BYTES: Final = 1 << 20
_PIPES: Final = 48
_FLAGS: Final = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK (fcntl.h)


class Pipes:
    """The pipes of one process, made when they are first needed."""

    def __init__(self, most: int = _PIPES) -> None:
        self._free: list[tuple[int, int]] = []
        self._left = most

    def lend(self) -> tuple[int, int] | None:
        """An empty pipe as (read, write), or None when all are lent."""
        if self._free:
            return self._free.pop()
        if not self._left:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            # Over the user's share: a pipe of the default size gains nothing.
            os.close(pipe[0])
            os.close(pipe[1])
            self._left = 0
            return None
        self._left -= 1
        return pipe

    def give(self, pipe: tuple[int, int], *, empty: bool = True) -> None:
        """Take *pipe* back; with bytes in it, it is no use to anyone else."""
        if empty:
            self._free.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])
            self._left += 1

    def close(self) -> None:
        """Close the pipes that are not lent."""
        while self._free:
            self.give(self._free.pop(), empty=False)


class SplicedFlow(Flow):
    """A `Flow` between two plain sockets that splices what is worth it."""

    __slots__ = ("_inside", "_pipe", "_pipes")

    def __init__(self, pair: Pair, source: End, sink: End, pipes: Pipes) -> None:
        super().__init__(pair, source, sink)
        self._pipes = pipes
        self._pipe: tuple[int, int] | None = None
        self._inside = 0  #: bytes in the pipe

    def waiting(self) -> int:
        """See `Flow.waiting`."""
        return super().waiting() + self._inside

    def pump(self) -> None:
        """See `Flow.pump`."""
        if self.held is not None or self.ended:
            return
        pipe = self._pipes.lend() if self.moved >= BULK_BYTES else None
        if pipe is None:
            super().pump()
            return
        self._pipe = pipe
        source = self.source.lease.fd
        turn = self.moved + 4 * TURN
        while self.moved < turn:
            try:
                count = os.splice(source, pipe[1], _PIPE_BYTES, flags=_FLAGS)
            except BlockingIOError:
                break
            except OSError:
                self.pair.broke(self.source)
                return
            if not count:
                self._return()
                self.finish(cut=False)
                return
            self.moved += count
            self._inside = count
            if not self._push():
                return
        self._return()

    def flush(self) -> None:
        """See `Flow.flush`."""
        if self._pipe is None:
            super().flush()
            return
        pair = self.pair
        if self._push():
            self.held = None
            self._return()
            self.pump()
            if pair.open:
                self.source.attend()

    def drop(self) -> None:
        """See `Flow.drop`."""
        if self._pipe is not None:
            self._pipes.give(self._pipe, empty=not self._inside)
            self._pipe = None

    def _push(self) -> bool:
        """Empty the pipe into the sink; False while it cannot be, or the pair is over."""
        assert self._pipe is not None
        out, sink = self._pipe[0], self.sink.lease.fd
        while self._inside:
            try:
                self._inside -= os.splice(out, sink, self._inside, flags=_FLAGS)
            except BlockingIOError:
                # What waits is in the kernel: nothing is held here, but somebody waits.
                self.held = b""
                self.source.attend()
                self.sink.attend()
                return False
            except OSError:
                self.pair.broke(self.sink)
                return False
        return True

    def _return(self) -> None:
        assert self._pipe is not None
        self._pipes.give(self._pipe)
        self._pipe = None
