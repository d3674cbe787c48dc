"""HTTP servers to stand behind the gateway: one that shows what it got, and WebSocket echo."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from typing import Any

import h11

_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Shower:
    """Answers each request with what it is, as JSON; each connection has a thread.

    Paths: /echo gives the body back, /slow?N waits N tenths of a second, /stream?N sends N
    chunks, /trickle?N 20 of them a second, /drop closes without an answer, /ws takes a
    WebSocket and echoes raw bytes, /badws says 101 with a wrong hash, /redirect sends to its own
    address, /cookie sets two cookies.

    Attributes:
        requests: (method, target, fields) of every one, in order.
        connections: how many have been accepted.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        spoken = h11.Connection(h11.SERVER)
        with connection, contextlib.suppress(OSError, h11.ProtocolError):
            while self._one(connection, spoken):
                spoken.start_next_cycle()

    def _one(self, connection: socket.socket, spoken: h11.Connection) -> bool:
        request = self._event(connection, spoken)
        if not isinstance(request, h11.Request):
            return False
        fields = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
        target = request.target.decode()
        self.requests.append((request.method.decode(), target, fields))
        path, _, query = target.partition("?")
        if path in ("/ws", "/badws"):
            self._websocket(connection, dict(fields), good=path == "/ws")
            return False
        if path == "/drop":
            return False
        if path == "/early":
            self._say(connection, spoken, 413, [], b"too long")
            return False
        body = b""
        if spoken.they_are_waiting_for_100_continue:
            connection.sendall(
                spoken.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
            )
        while isinstance(event := self._event(connection, spoken), h11.Data):
            body += event.data
        if path == "/slow":
            time.sleep(int(query) / 10)
        extra: list[tuple[str, str]] = []
        status = 200
        if path == "/redirect":
            status, extra = 302, [("location", f"http://127.0.0.1:{self.port}/next")]
        elif path == "/cookie":
            extra = [("set-cookie", "a=1"), ("set-cookie", "__Host-tlsgate-app=x; Secure")]
        elif path == "/empty":
            status = 204
        if path in ("/stream", "/trickle"):
            wait = 0.05 if path == "/trickle" else 0.0
            self._stream(connection, spoken, int(query), wait)
        elif path == "/until-close":
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
            return False
        elif path == "/echo":
            self._say(connection, spoken, 200, extra, body)
        else:
            shown: dict[str, Any] = {
                "method": request.method.decode(),
                "target": target,
                "fields": fields,
                "body": len(body),
            }
            said = b"" if status == 204 else json.dumps(shown).encode()
            self._say(connection, spoken, status, extra, said)
        return True

    def _event(self, connection: socket.socket, spoken: h11.Connection) -> Any:
        while (event := spoken.next_event()) is h11.NEED_DATA:
            spoken.receive_data(connection.recv(65536))
        return event

    def _say(
        self,
        connection: socket.socket,
        spoken: h11.Connection,
        status: int,
        extra: list[tuple[str, str]],
        body: bytes,
    ) -> None:
        length = [] if status == 204 else [("content-length", str(len(body)))]
        head = h11.Response(status_code=status, headers=[*length, *extra])
        out = spoken.send(head) or b""
        out += spoken.send(h11.Data(data=body)) or b""
        out += spoken.send(h11.EndOfMessage()) or b""
        connection.sendall(out)

    def _stream(
        self, connection: socket.socket, spoken: h11.Connection, count: int, wait: float
    ) -> None:
        head = h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")])
        connection.sendall(spoken.send(head) or b"")
        for number in range(count):
            connection.sendall(spoken.send(h11.Data(data=b"%d\n" % number)) or b"")
            time.sleep(wait)
        connection.sendall(spoken.send(h11.EndOfMessage()) or b"")

    def _websocket(self, connection: socket.socket, fields: dict[str, str], *, good: bool) -> None:
        key = fields["sec-websocket-key"].encode() + (_WEBSOCKET if good else b"x")
        digest = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: %b\r\n\r\nhello" % digest
        )
        while data := connection.recv(65536):
            connection.sendall(data)
