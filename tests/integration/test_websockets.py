"""Five hundred WebSockets through one gateway and one agent, all of which say something at once."""

from __future__ import annotations

import json
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.agent import AgentCase
from tests.support.harness import CLIENT_SECONDS
from tests.support.webapps import Shower

SOCKETS = 500
#: A crowd from one address is no attack here.
LIMITS = {"handshakes_per_second_per_address": 10_000, "unauthenticated_per_address": 1_000}
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: shower.gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class WebSocketsTests(AgentCase):
    """Many at once."""

    def test_five_hundred(self) -> None:
        """Each gets its own bytes back, is counted in the audit log, and leaves nothing behind."""
        shower = Shower()
        shower.start()
        self.addCleanup(shower.stop)
        gate = self.cluster(proxy={"limits": LIMITS})
        apps = [{"name": "shower", "uri": f"http://127.0.0.1:{shower.port}"}]
        agent = self.agent(gate, "apps1", apps=apps)
        self.add_user(gate, "ann", ["access"])
        who = self.sign(gate, "ann")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(who.cert, who.key)
        context.set_alpn_protocols(["http/1.1"])

        def opened(_: int) -> ssl.SSLSocket:
            made = context.wrap_socket(gate.connect(), server_hostname="shower.gw.test")
            made.sendall(_UPGRADE)
            said = b""
            while not said.endswith(b"\r\n\r\nhello"):
                piece = made.recv(4096)
                self.assertTrue(piece, said)
                said += piece
            self.assertTrue(said.startswith(b"HTTP/1.1 101 "), said)
            return made

        with ThreadPoolExecutor(8) as crowd:
            sockets = list(crowd.map(opened, range(SOCKETS)))
        for one in sockets:
            self.addCleanup(one.close)
        self.assertGreaterEqual(len(gate.admin("GET", "/v1/connections")), 2 * SOCKETS)
        words = [os.urandom(1000) for _ in sockets]
        began = time.monotonic()
        for one, word in zip(sockets, words, strict=True):
            one.sendall(word)
        for one, word in zip(sockets, words, strict=True):
            back = b""
            while len(back) < len(word):
                piece = one.recv(4096)
                self.assertTrue(piece)
                back += piece
            self.assertEqual(back, word)
        self.assertLess(time.monotonic() - began, CLIENT_SECONDS)
        for one in sockets:
            one.close()

        def ended() -> list[dict[str, Any]]:
            trail = (gate.data_dir / "log/events.log").read_text().splitlines()
            return [one for one in map(json.loads, trail) if one["event"] == "app.session.end"]

        gate.child.until(lambda: len(ended()) == SOCKETS, "all have ended")
        for event in ended():
            found = [event[name] for name in ("app", "user", "identity", "listener", "requests")]
            self.assertEqual(found, ["shower", "ann", "ann", "web", 1])
            self.assertTrue(event["route"])
            self.assertGreater(event["to_target"], 1000 + len(_UPGRADE))
            self.assertGreater(event["to_client"], 1005)
        self.assertEqual((gate.bugs(), agent.bugs()), ([], []))
