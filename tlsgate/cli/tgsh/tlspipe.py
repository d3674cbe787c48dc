"""TLS between two descriptors and a gateway: each direction ends on its own.

`SSLSocket` cannot end one direction, so the records go through memory: what is typed becomes
records, records become what is shown, and a close_notify (RFC 8446 section 6.1) ends either
side while the other goes on. One thread waits for all of it.

With a `-ping` token every message is a frame: four bytes of length, big endian, then as many
bytes. A length of 0 is a ping, and is dropped. After three intervals without a byte the
gateway is taken for gone.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import stat
import time

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from collections.abc import Callable

#: Of one read, and of what waits to be written: beyond it the other side is not read.
CHUNK_BYTES = 256 << 10
#: Of a frame; the gateway's are far smaller.
FRAME_BYTES = 16 << 20
#: Between two pings, until the gateway says otherwise.
PING_SECONDS = 30.0
#: So many of them without a byte, and the gateway is gone.
SILENT_INTERVALS = 3


class Silent(OSError):
    """Nothing has come from the gateway for three intervals of its pings."""


class Unframe:
    """Frames to their contents; *gap* is the longest time seen between two pings."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._head = b""
        self._left = 0
        self._pinged: float | None = None
        self.gap = 0.0

    def feed(self, read: bytes) -> bytes:
        """The contents of *read*, however it is cut.

        Raises:
            OSError: a frame is longer than any.
        """
        found = []
        at = 0
        while at < len(read):
            if self._left:
                piece = read[at : at + self._left]
                found.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            missing = 4 - len(self._head)
            self._head += read[at : at + missing]
            at += missing
            if len(self._head) == 4:
                self._left = int.from_bytes(self._head, "big")
                self._head = b""
                if self._left > FRAME_BYTES:
                    raise OSError(f"a frame of {self._left} bytes")
                if not self._left:
                    self._ping()
        return found[0] if len(found) == 1 else b"".join(found)

    def _ping(self) -> None:
        now = self._now()
        if self._pinged is not None:
            self.gap = max(self.gap, now - self._pinged)
        self._pinged = now


class TlsPipe:
    """TLS over *sock*, which has a timeout until `carry`.

    Every method raises OSError (`ssl.SSLError` is one) where the connection fails.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None
    ) -> None:
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        # As bytes: text would have IDNA imported, which takes longer than all of TLS.
        name = None if server_name is None else server_name.encode("ascii")
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._frames: Unframe | None = None
        self._broken: OSError | None = None
        self._ended = False  #: the gateway has said that nothing follows
        #: Seconds between the gateway's pings, as it has said; 0: it has not.
        self.ping_seconds = 0.0

    def shake(self) -> None:
        """Shake hands."""
        try:
            while True:
                try:
                    self.tls.do_handshake()
                    return
                except ssl.SSLWantReadError:
                    self._flush()
                    self._fill()
        finally:
            self._flush_quietly()

    def framed(self) -> None:
        """Speak in frames from here on."""
        self._frames = Unframe()

    def send(self, data: bytes) -> None:
        """Write *data*, all of it."""
        self._encrypt(data)
        self._flush()

    def receive(self) -> bytes:
        """The next bytes; b"" at the end."""
        while True:
            found = self._decrypt()
            if found or self._ended:
                return found
            self._fill()

    def _encrypt(self, data: bytes) -> None:
        if self._frames is not None:
            data = len(data).to_bytes(4, "big") + data
        self.tls.write(data)

    def _decrypt(self) -> bytes:
        """All that has come; its end may have come with it."""
        if self._broken is not None:
            raise self._broken
        found: list[bytes] = []
        while not self._ended:
            try:
                piece = self.tls.read(CHUNK_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            except ssl.SSLError as e:
                if not found:
                    raise
                self._broken = e  # what came before it comes first
                break
            if piece:
                found.append(piece)
            else:
                self._ended = True
        read = b"".join(found)
        return read if self._frames is None else self._frames.feed(read)

    def _fill(self) -> None:
        read = self.sock.recv(CHUNK_BYTES)
        if read:
            self._in.write(read)
        else:
            self._in.write_eof()

    def _flush(self) -> None:
        while self._out.pending:
            self.sock.sendall(self._out.read(CHUNK_BYTES))

    def _flush_quietly(self) -> None:
        """An alert of ours has to leave, but what it is about is the news."""
        try:  # noqa: SIM105  # contextlib takes time to be imported
            self._flush()
        except OSError:
            pass

    def _end(self) -> None:
        """Say that nothing follows; what comes from the gateway is read on.

        All that has come is decrypted already: `unwrap` would take data for a mistake.
        """
        try:  # noqa: SIM105  # the same
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # it wants the gateway's end of it, which has time

    # -- for somebody else's loop ------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the gateway has said that nothing follows."""
        return self._ended

    def take(self, records: bytes) -> bytes:
        """What is in *records*, which came from the socket; b"" of them: the socket's end."""
        if records:
            self._in.write(records)
        else:
            self._in.write_eof()
        return self._decrypt()

    def rest(self) -> bytes:
        """What came with the handshake, or before an error that the next call raises."""
        return self._decrypt()

    def give(self, data: bytes) -> bytes:
        """Records that are *data*; more may wait in `records`."""
        self._encrypt(data)
        return self._out.read()

    def records(self) -> bytes:
        """Records that wait, of whatever kind."""
        return self._out.read()

    def finish(self) -> bytes:
        """The records that say that nothing follows."""
        self._end()
        return self._out.read()

    # -- both ways ---------------------------------------------------------------

    def carry(self, stdin: int, stdout: int, first: bytes = b"") -> None:
        """Carry bytes from *stdin* to the gateway and from there to *stdout*, to both ends.

        Args:
            stdin: is read to its end.
            stdout: is closed when the gateway has ended.
            first: what came from the gateway before.

        Raises:
            Silent: the gateway has gone without a word.
        """
        self.sock.setblocking(False)
        for number in (stdin, stdout):
            if stat.S_ISFIFO(mode := os.fstat(number).st_mode) or stat.S_ISSOCK(mode):
                os.set_blocking(number, False)  # a terminal is shared with others: it stays
        _Carrying(self, stdin, stdout, first).run()

    def silent_seconds(self) -> float | None:
        """How long the gateway may be silent; None: for ever."""
        if self._frames is None:
            return None
        return SILENT_INTERVALS * max(self.ping_seconds or PING_SECONDS, self._frames.gap)


class _Carrying:
    """The loop of `TlsPipe.carry`."""

    def __init__(self, pipe: TlsPipe, stdin: int, stdout: int, first: bytes) -> None:
        self._pipe = pipe
        self._stdin, self._stdout = stdin, stdout
        self._back = bytearray(first)
        self._rest = memoryview(b"")  #: records that wait for the socket
        self._typed_all = self._shown_all = False
        self._got_all = pipe._ended
        self._left_alone = False
        self._heard = time.monotonic()

    def run(self) -> None:
        """Carry until both ends, or until nobody reads."""
        while not self._done():
            for number, events in self._wait():
                if number == self._pipe.sock.fileno():
                    self._socket(events)
                elif number == self._stdout and not self._shown_all:
                    self._show()
                if number == self._stdin and not self._typed_all:
                    self._type()
            self._write()

    def _done(self) -> bool:
        if self._got_all and not self._back and not self._shown_all:
            self._shown_all = True
            self._close_stdout()
        sent = not self._rest and not self._pipe._out.pending
        return self._left_alone or (self._shown_all and self._typed_all and sent)

    def _wait(self) -> list[tuple[int, int]]:
        wanted: dict[int, int] = {}
        waiting = len(self._rest) + self._pipe._out.pending
        room = len(self._back) < CHUNK_BYTES
        number = self._pipe.sock.fileno()
        wanted[number] = (select.POLLOUT if waiting else 0) | (
            select.POLLIN if room and not self._got_all else 0
        )
        if not self._typed_all and waiting < CHUNK_BYTES:
            wanted[self._stdin] = select.POLLIN
        if self._back and not self._shown_all:
            wanted[self._stdout] = wanted.get(self._stdout, 0) | select.POLLOUT
        poll = select.poll()
        for one, events in wanted.items():
            poll.register(one, events)
        limit = self._pipe.silent_seconds()
        if limit is None or self._got_all or not room:
            return poll.poll()
        left = self._heard + limit - time.monotonic()
        found = poll.poll(max(left, 0) * 1000)
        if not found and left <= 0:
            raise Silent(f"it has been silent for {limit:g} s; the connection is given up")
        return found

    def _socket(self, events: int) -> None:
        pipe = self._pipe
        if self._got_all:
            if events & (select.POLLERR | select.POLLHUP):
                self._typed_all = True  # nobody is left who reads
                pipe._out.read()
                self._rest = memoryview(b"")
            return
        if not events & (select.POLLIN | select.POLLERR | select.POLLHUP):
            return
        try:
            pipe._fill()
        except BlockingIOError:
            return
        self._heard = time.monotonic()
        self._back += pipe._decrypt()
        self._got_all = pipe._ended
        self._show()
        if pipe._broken is not None:
            raise pipe._broken

    def _show(self) -> None:
        if not self._back:
            return
        try:
            del self._back[: os.write(self._stdout, self._back)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._left_alone = True  # ssh has ended, and has said why

    def _type(self) -> None:
        try:
            read = os.read(self._stdin, CHUNK_BYTES)
        except BlockingIOError:
            return
        if read:
            self._pipe._encrypt(read)
        else:
            self._typed_all = True
            self._pipe._end()

    def _write(self) -> None:
        pipe = self._pipe
        while self._rest or pipe._out.pending:
            if not self._rest:
                self._rest = memoryview(pipe._out.read(CHUNK_BYTES))
            try:
                self._rest = self._rest[pipe.sock.send(self._rest) :]
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                if not self._got_all:
                    raise
                self._left_alone = True  # the gateway has said all, and reads no more
                return

    def _close_stdout(self) -> None:
        if stat.S_ISSOCK(os.fstat(self._stdout).st_mode):
            with socket.socket(fileno=os.dup(self._stdout)) as shown:
                shown.shutdown(socket.SHUT_WR)
            return
        # Not closed but replaced: a number that is free would be given to something else.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stdout)
        os.close(nothing)
