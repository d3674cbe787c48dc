"""TLS on a non-blocking socket, read into and written from one shared buffer.

The private binding of pyOpenSSL (`OpenSSL._util`) lets `SSL_read` and `SSL_write` work on
our buffer itself; the public calls copy every record twice. The binding may vanish with
any release, so this module is its only user, and `PublicSession` does the same through
public calls. `open_session` picks the one that works; tests run the relay on both.

Outcomes are plain integers, because one object or exception for each record would cost
more than the decryption: a count above zero, or one of the constants below.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from OpenSSL import SSL

try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib

    _lib.SSL_read, _lib.SSL_write, _lib.SSL_pending, _lib.SSL_clear_mode  # noqa: B018
except (ImportError, AttributeError):  # pragma: no cover - a pyOpenSSL without the binding
    _ffi = _lib = None

ENDED: Final = 0  #: the peer ended its direction: close_notify, or FIN on a plain socket
AGAIN: Final = -1  #: wait until the socket can be read
BLOCKED: Final = -2  #: wait until the socket can be written
BROKEN: Final = -3  #: reset or a protocol error; nothing more will come or go
#: FIN without close_notify: what came may be a part, and OpenSSL writes no more.
CUT: Final = -4

#: The most that one TLS record carries (RFC 8446 section 5.1).
RECORD: Final = 16384


#: Bytes before a slab's start, at places below 0: a header goes there, and leaves with what
#: follows it in one write.
HEADROOM: Final = 16


class Slab:
    """The buffer that every relay of a reactor reads into and writes from.

    It belongs to whoever runs; nobody keeps bytes in it across a return to the reactor.

    Attributes:
        view: from place 0 on.
        whole: from the headroom on; place 0 is at `HEADROOM`.
        base: the address of place 0, or None without the binding.
    """

    __slots__ = ("_memory", "base", "size", "view", "whole")

    def __init__(self, size: int = 16 * RECORD) -> None:
        memory = bytearray(HEADROOM + size)
        self.size = size
        self.whole = memoryview(memory)
        self.view = self.whole[HEADROOM:]
        self.base: Any = None
        if _ffi is not None:
            # The array keeps the memory in place for as long as it lives; a sum does not.
            self._memory = _ffi.from_buffer("char[]", memory)
            self.base = self._memory + HEADROOM


class Session(Protocol):
    """One direction-less TLS connection whose handshake is done."""

    def read(self, slab: Slab, at: int, size: int) -> int:
        """Read at most *size* bytes to *at*; gives how many, or one of the outcomes."""

    def write(self, slab: Slab, at: int, size: int) -> int:
        """Write from *at*; gives how many were taken, AGAIN, BLOCKED or BROKEN.

        After AGAIN or BLOCKED the same bytes must come again, at whatever place: part of
        them may have left.
        """

    def say(self, words: bytes) -> int:
        """Write *words*, which stand in no slab; the same outcomes as `write`."""

    def pending(self) -> int:
        """How many decrypted bytes wait inside, for which the socket will not wake us."""

    def end(self) -> int:
        """Send close_notify; gives ENDED when it left, AGAIN, BLOCKED or BROKEN."""


class BindingSession:
    """A `Session` through the private binding."""

    __slots__ = ("_ssl", "connection")

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self._ssl = connection._ssl
        # With it, OpenSSL returns after each record, and the loop over them is Python's.
        _lib.SSL_clear_mode(self._ssl, _lib.SSL_MODE_ENABLE_PARTIAL_WRITE)

    def read(self, slab: Slab, at: int, size: int) -> int:
        """See `Session.read`."""
        count: int = _lib.SSL_read(self._ssl, slab.base + at, size)
        return count if count > 0 else self._outcome(count)

    def write(self, slab: Slab, at: int, size: int) -> int:
        """See `Session.write`."""
        count: int = _lib.SSL_write(self._ssl, slab.base + at, size)
        if count > 0:
            return count
        outcome = self._outcome(count)
        return BROKEN if outcome in (ENDED, CUT) else outcome

    def say(self, words: bytes) -> int:
        """See `Session.say`."""
        count: int = _lib.SSL_write(self._ssl, _ffi.from_buffer(words), len(words))
        if count > 0:
            return count
        outcome = self._outcome(count)
        return BROKEN if outcome in (ENDED, CUT) else outcome

    def pending(self) -> int:
        """See `Session.pending`."""
        return _lib.SSL_pending(self._ssl)  # type: ignore[no-any-return]

    def end(self) -> int:
        """See `Session.end`."""
        count = _lib.SSL_shutdown(self._ssl)
        if count >= 0:
            return ENDED
        outcome = self._outcome(count)
        return BROKEN if outcome == CUT else outcome

    def _outcome(self, count: int) -> int:
        error = _lib.SSL_get_error(self._ssl, count)
        if error == _lib.SSL_ERROR_WANT_READ:
            return AGAIN
        if error == _lib.SSL_ERROR_WANT_WRITE:
            return BLOCKED
        if error == _lib.SSL_ERROR_ZERO_RETURN:
            return ENDED
        reason = _lib.ERR_GET_REASON(_lib.ERR_peek_error())
        # What stays in the thread's queue would be taken for the next connection's error.
        _lib.ERR_clear_error()
        return CUT if reason == _lib.SSL_R_UNEXPECTED_EOF_WHILE_READING else BROKEN


class PublicSession:
    """A `Session` through pyOpenSSL's public calls."""

    __slots__ = ("connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection

    def read(self, slab: Slab, at: int, size: int) -> int:
        """See `Session.read`."""
        try:
            at += HEADROOM
            return self.connection.recv_into(slab.whole[at : at + size], size)
        except SSL.WantReadError:
            return AGAIN
        except SSL.WantWriteError:
            return BLOCKED
        except SSL.ZeroReturnError:
            return ENDED
        except SSL.SysCallError as error:
            return CUT if error.args[0] == -1 else BROKEN
        except SSL.Error:
            return BROKEN

    def write(self, slab: Slab, at: int, size: int) -> int:
        """See `Session.write`."""
        at += HEADROOM
        return self._send(slab.whole[at : at + size])

    def say(self, words: bytes) -> int:
        """See `Session.say`."""
        return self._send(words)

    def _send(self, some: memoryview | bytes) -> int:
        try:
            return self.connection.send(some)
        except SSL.WantReadError:
            return AGAIN
        except SSL.WantWriteError:
            return BLOCKED
        except SSL.Error:
            return BROKEN

    def pending(self) -> int:
        """See `Session.pending`."""
        return self.connection.pending()

    def end(self) -> int:
        """See `Session.end`."""
        try:
            self.connection.shutdown()
        except SSL.WantReadError:
            return AGAIN
        except SSL.WantWriteError:
            return BLOCKED
        except SSL.Error:
            return BROKEN
        return ENDED


HAS_BINDING: Final = _lib is not None


def open_session(connection: SSL.Connection, binding: bool = HAS_BINDING) -> Session:
    """Wrap *connection*, whose handshake is done, for the relay."""
    return BindingSession(connection) if binding else PublicSession(connection)
