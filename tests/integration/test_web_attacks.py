"""Attacks on the web port with what is well-formed, and never ends (S32, S33): sent away."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame

from tests.integration.test_signals import EchoCase
from tests.support.certs import pki
from tests.support.child import Child, program, until
from tests.support.harness import Gate
from tests.support.watched import Cost, Regular, descriptors

SLOW_ONLY = "slowhttptest uses a core for itself; unit tests have each rule"

#: Connections of each kind that slowhttptest holds, and how long a request's head may take.
_SLOW = 300
_OPENING = 10
#: So many begin in a second; slowhttptest and the gateway share two cores with everybody.
_RATE = 100

#: Who attacks by HTTP/2 is gone after so long, and has cost the daemon less than half a core.
_GONE_SECONDS = 2.0
_SHARE = 0.6
_ATTACKERS = 5

_LIMITS = {
    "connections": 20_000,
    "unauthenticated": 20_000,
    "unauthenticated_per_address": 5_000,
    "handshakes_per_second_per_address": 10_000,
}

_FIELDS = ((":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/"))


class AttackedTests(EchoCase):
    """A gateway with a good client, and programs that are made to keep web servers busy."""

    def attacked(self) -> tuple[Gate, Regular]:
        """Start it, with limits that let a crowd in."""
        timeouts = {"prelude_seconds": 5, "opening_seconds": _OPENING, "drain_seconds": 1}
        gate = self.echo_gate(proxy={"timeouts": timeouts, "limits": _LIMITS})
        regular = Regular(gate)
        for _ in range(20):
            regular.come()
        until(lambda: not gate.admin("GET", "/v1/connections"), "the good client has left")
        return gate, regular

    def test_s33_slowhttptest(self) -> None:
        """S33: slow heads, bodies and readers, and ranges: its own probe is always served.

        All are sent away by the deadline but readers: the page is theirs before they read it.
        """
        gate, regular = self.attacked()
        open_before = descriptors(gate.pid)
        folder = self.folder()
        tool = program("slowhttptest", "slowhttptest")
        kinds = {
            "heads": ("-H", "-i", 1),
            "bodies": ("-B", "-i", 1),
            "ranges": ("-R", "-t", "HEAD"),
            "readers": ("-X", "-w", 10, "-y", 20, "-n", 2, "-z", 8, "-k", 5),
        }
        page = f"https://127.0.0.1:{gate.port()}/web/login"
        more = ("-c", _SLOW, "-r", _RATE, "-l", _OPENING + 8, "-p", 3, "-u", page, "-g", "-o")
        visit = regular.often()
        for kind, how in kinds.items():
            command = [str(one) for one in (tool, *how, *more, folder / kind)]
            attack = Child(command, folder / f"{kind}.out")
            self.addCleanup(attack.end)
            self.watch(attack, visit)
            rows = [line.split(",") for line in (folder / f"{kind}.csv").read_text().split("\n")]
            numbers = [[int(one) for one in row] for row in rows if row[0].strip().isdecimal()]
            self.assertGreater(len(numbers), 1, (kind, rows))
            # Seconds, closed, pending, connected, and whether its probe was answered.
            self.assertEqual({row[4] > 0 for row in numbers}, {True}, (kind, numbers))
            if kind in ("heads", "bodies"):
                self.assertGreater(max(row[3] for row in numbers), _SLOW / 2, (kind, numbers))
            if kind != "readers":
                self.assertIn("No open connections left", attack.text(), kind)
                self.assertLess(numbers[-1][0], _OPENING + 6, (kind, numbers))
        self.assertLess(regular.slowest, 1.0)
        until(lambda: descriptors(gate.pid) <= open_before, "no descriptor is left")

    def watch(self, attack: Child, visit: Callable[[], None]) -> None:
        """Have the good client come until the attack is over."""

        def ended() -> bool:
            visit()
            return attack.code is not None

        until(ended, "the attack's end")

    def test_s32_http2_attackers(self) -> None:
        """S32: who floods by HTTP/2 is gone in two seconds, and good clients wait for none."""
        gate, regular = self.attacked()
        usual = regular.usual
        for kind, flood in _FLOODS.items():
            regular.took.clear()
            before = Cost.of(gate.pid)
            began = time.monotonic()
            for _ in range(_ATTACKERS):
                stayed = self.flood(gate, flood, regular.often(0.05))
                self.assertLess(stayed, _GONE_SECONDS, kind)
            self.assertLess(before.cpu_share(), _SHARE, (kind, time.monotonic() - began))
            regular.come()
            self.assertLess(regular.slowest, max(4 * usual, 0.5), kind)
        until(lambda: not gate.admin("GET", "/v1/connections"), "nobody is left")

    def flood(self, gate: Gate, flood: _Flood, meanwhile: Callable[[], None]) -> float:
        """Attack until the gateway has had enough; gives how long that took."""
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", gate.port()), 10)
        with raw, context.wrap_socket(raw, server_hostname="localhost") as secured:
            self.assertEqual(secured.selected_alpn_protocol(), "h2")
            connection = H2Connection(H2Configuration(client_side=True))
            connection.initiate_connection()
            secured.sendall(connection.data_to_send())
            secured.settimeout(0)
            began = time.monotonic()
            for piece in flood(connection):
                with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    try:
                        secured.send(piece)
                        while secured.recv(65536):
                            pass
                    except (OSError, ssl.SSLZeroReturnError) as error:
                        if isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
                            raise
                        break
                    else:
                        break  # the gateway has said all
                if time.monotonic() > began + 2 * _GONE_SECONDS:
                    break
                meanwhile()
            return time.monotonic() - began


_Flood = Callable[[H2Connection], Iterator[bytes]]


def _resets(connection: H2Connection) -> Iterator[bytes]:
    """Requests that are taken back at once (CVE-2023-44487)."""
    while True:
        for _ in range(50):
            number = connection.get_next_available_stream_id()
            connection.send_headers(number, _FIELDS, end_stream=True)
            connection.reset_stream(number)
        yield connection.data_to_send()


def _continuations(connection: H2Connection) -> Iterator[bytes]:
    """A head without an end (VU#421644)."""
    yield HeadersFrame(1, connection.encoder.encode(_FIELDS)).serialize()
    while True:
        yield ContinuationFrame(1, b"").serialize() * 50


def _again(piece: bytes) -> _Flood:
    """The same without end."""

    def flood(connection: H2Connection) -> Iterator[bytes]:
        while True:
            yield piece * 50

    return flood


def _empty(connection: H2Connection) -> Iterator[bytes]:
    """A body of nothing, without end (CVE-2019-9518)."""
    fields = (*_FIELDS[1:], (":method", "POST"))
    yield HeadersFrame(1, connection.encoder.encode(fields), flags=["END_HEADERS"]).serialize()
    while True:
        yield DataFrame(1, b"").serialize() * 50


_FLOODS: dict[str, _Flood] = {
    "resets": _resets,
    "continuations": _continuations,
    "settings": _again(SettingsFrame(0, {4: 65_535}).serialize()),
    "pings": _again(PingFrame(0, b"12345678").serialize()),
    "empty": _empty,
}
