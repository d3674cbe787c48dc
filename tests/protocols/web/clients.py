"""HTTP clients over an in-memory conversation, for the tests of the web protocol."""

from __future__ import annotations

from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded

from tlsgate.core.routing import CertRule, RouteTable
from tlsgate.protocols.web.protocol import Web
from tlsgate.testing import Conversation, FakeContext, connect, route


@define
class Answer:
    """One answer as a client read it."""

    code: int = 0
    headers: dict[bytes, bytes] = field(factory=dict)
    body: bytes = b""
    cookies: list[bytes] = field(factory=list)  #: each Set-Cookie


def visit(
    *,
    server_name: str | None = None,
    token: bytes | None = None,
    table: RouteTable | None = None,
    web: Web | None = None,
    context: FakeContext | None = None,
) -> Conversation:
    """Connect a client to the web protocol."""
    context = context or FakeContext(
        route=route(name="web", protocol="web", client_cert=CertRule.NONE, catch_all=True),
        server_name=server_name,
        token=token,
        table=table,
    )
    return connect(web or Web(), context)


def answers(wire: bytes) -> list[Answer]:
    """All HTTP/1.1 answers to GET requests in *wire*; each has a Content-Length."""
    found = []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        pairs = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
        headers = dict(pairs)
        length = int(headers.get(b"content-length", b"0"))
        code = int(status.split()[1])
        found.append(Answer(code, headers, wire[:length], _cookies(pairs)))
        wire = wire[length:]
    return found


def _cookies(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for name, value in headers if name == b"set-cookie"]


def get(talk: Conversation, path: str, host: str = "gw.test", method: str = "GET") -> Answer:
    """Ask once over HTTP/1.1 and give the only answer."""
    talk.take()
    talk.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    [answer] = answers(talk.take())
    return answer


class H2Client:
    """An HTTP/2 client on a conversation whose token is h2."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.takes = True  #: False: it opens no window for more than it has allowed
        self.connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.streams: dict[int, Answer] = {}
        self.ended: set[int] = set()
        self.kept: list[tuple[int, int]] = []
        self.connection.initiate_connection()
        self.pump()

    def pump(self) -> None:
        """Exchange bytes until both sides are silent."""
        while True:
            self.talk.send(self.connection.data_to_send())
            wire = self.talk.take()
            if not wire:
                return
            for event in self.connection.receive_data(wire):
                if isinstance(event, ResponseReceived):
                    headers = dict(event.headers)
                    code, cookies = int(headers[b":status"]), _cookies(list(event.headers))
                    self.streams[event.stream_id] = Answer(code, headers, b"", cookies)
                elif isinstance(event, DataReceived):
                    self.streams[event.stream_id].body += event.data
                    length = event.flow_controlled_length or 0
                    if not self.takes:
                        self.kept.append((event.stream_id, length))
                    elif event.stream_ended is None:
                        self.connection.acknowledge_received_data(length, event.stream_id)
                    else:
                        self.connection.increment_flow_control_window(length or 1)
                elif isinstance(event, StreamEnded):
                    self.ended.add(event.stream_id)

    def ask(self, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> Answer | None:
        """Send one request and give its answer, if there is one."""
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, headers, end_stream=not body)
        if body:
            self.connection.send_data(stream, body, end_stream=True)
        self.pump()
        return self.streams.get(stream)

    def get(self, path: str, host: str = "gw.test") -> Answer:
        """Ask once and give the answer."""
        answer = self.ask(
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", host.encode()),
                (b":path", path.encode()),
            ]
        )
        assert answer is not None
        return answer
