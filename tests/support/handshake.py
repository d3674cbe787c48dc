"""A TLS handshake between two connections in memory, and what came of it."""

from __future__ import annotations

from attrs import define, field
from OpenSSL import SSL


@define(eq=False)
class Wire:
    """A client and a server whose bytes are carried by hand.

    Attributes:
        client_error: what ended the client's side, None while all is well.
        server_error: the same for the server's side.
        to_client: every byte that the server has sent.
        to_server: every byte that the client has sent.
    """

    client: SSL.Connection
    server: SSL.Connection
    client_error: SSL.Error | None = None
    server_error: SSL.Error | None = None
    to_client: bytes = b""
    to_server: bytes = b""
    _settled: list[SSL.Connection] = field(factory=list)

    def handshake(self, record_bytes: int | None = None) -> Wire:
        """Shake hands until neither side has more to say.

        Args:
            record_bytes: hand the client's bytes over in pieces of that many.
        """
        for _ in range(20):
            self.client_error = self.client_error or self._step(self.client)
            moved = self._carry(self.client, self.server, record_bytes)
            self.server_error = self.server_error or self._step(self.server)
            moved |= self._carry(self.server, self.client, None)
            if not moved:
                break
        return self

    @property
    def done(self) -> bool:
        """Both sides have finished and nothing went wrong."""
        both = self.client in self._settled and self.server in self._settled
        return both and self.client_error is None and self.server_error is None

    def deliver(self) -> None:
        """Let the client read what the server wrote after the handshake (tickets, alerts)."""
        try:
            self._carry(self.server, self.client, None)
            self.client.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.client_error = self.client_error or error

    def say(self, data: bytes) -> bytes:
        """Send *data* to the server; gives what it read."""
        self.client.send(data)
        self._carry(self.client, self.server, None)
        return self.server.recv(65536)

    def _step(self, side: SSL.Connection) -> SSL.Error | None:
        if side in self._settled:
            if side is self.client:  # a TLS 1.3 client hears of its refusal only by reading
                try:
                    side.recv(1)
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    return error
            return None
        try:
            side.do_handshake()
        except SSL.WantReadError:
            return None
        except SSL.Error as error:
            return error
        self._settled.append(side)
        return None

    def _carry(self, source: SSL.Connection, sink: SSL.Connection, piece_bytes: int | None) -> bool:
        moved = False
        while True:
            try:
                data = source.bio_read(65536)
            except SSL.WantReadError:
                return moved
            moved = True
            if sink is self.client:
                self.to_client += data
            else:
                self.to_server += data
            size = piece_bytes or len(data)
            for start in range(0, len(data), size):
                sink.bio_write(data[start : start + size])


def alert_of(records: bytes) -> int | None:
    """The number of the first fatal alert among plaintext *records*, None without one."""
    while len(records) >= 5:
        length = int.from_bytes(records[3:5], "big")
        body = records[5 : 5 + length]
        if records[0] == 21 and length == 2 and body[0] == 2:
            return body[1]
        records = records[5 + length :]
    return None
