"""tgsh and applications end to end: certificates for curl, and the local proxy."""

from __future__ import annotations

import atexit
import functools
import json
import shlex
import socket
import subprocess

from tests.support.child import PATIENCE_SECONDS, until
from tests.support.echo import Echo
from tests.support.localhouse import LocalCase, LocalTests, at_once
from tests.support.webapps import Shower

#: At once through one local proxy.
CONNECTIONS = 40
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Origin: http://%b\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


class House:
    """A cluster, an agent with applications, and alice."""

    def __init__(self) -> None:
        case = self.case = LocalCase()
        atexit.register(case.doCleanups)
        self.shower = Shower()
        self.shower.start()
        case.addCleanup(self.shower.stop)
        self.echo = Echo()
        case.addCleanup(self.echo.stop)
        self.echo.start()
        case.open()
        prod = {"env": "prod"}
        shown = f"http://127.0.0.1:{self.shower.port}"
        self.agent = case.agent(
            case.hub,
            "apps1",
            apps=[
                # No client takes a certificate for *.localhost, where the gateway is.
                {
                    "name": "shower",
                    "uri": shown,
                    "labels": prod,
                    "description": "shows",
                    "public_addr": "shower.gw.test",
                },
                {"name": "feed", "uri": f"tcp://127.0.0.1:{self.echo.port}", "labels": prod},
                {"name": "secret", "uri": shown, "labels": {"env": "secret"}},
            ],
        )
        self.alice = case.person("alice", ["use"])


@functools.cache
def house() -> House:
    """The one of this process."""
    return House()


class TgshAppsTests(LocalTests):
    """What alice does."""

    def setUp(self) -> None:
        self.house = house()
        self.curl = ("curl", "-sS", "--connect-to", f"::127.0.0.1:{self.house.case.web_port}")

    def test_ls(self) -> None:
        """She sees what her roles open, and nothing else."""
        self.assertEqual(self.says("tgsh", "apps", "ls", "--format=names"), "feed\nshower\n")
        self.assertIn("shows", self.says("tgsh", "apps", "ls", "env=prod"))
        self.assertIn("no application is called", self.fails("tgsh", "apps", "login", "secret"))

    def test_curl(self) -> None:
        """curl gets there with the words that tgsh prints, and with no certificate it does not."""
        self.says("tgsh", "apps", "login", "shower")
        words = self.says("tgsh", "apps", "config", "shower", "--format=curl").split()
        shown = json.loads(self.says(*self.curl, *words))
        self.assertIn(["x-tlsgate-user", "alice"], shown["fields"])
        bare = words[: words.index("--cert")] + words[words.index("--key") + 2 :]
        done = self.do(*self.curl, "-o", "/dev/null", "-w", "%{http_code}", *bare)
        self.assertNotEqual(done.stdout, b"200")

    def test_another_application(self) -> None:
        """The certificate for one application opens no other."""
        self.says("tgsh", "apps", "login", "feed")
        self.says("tgsh", "apps", "login", "shower")
        uri = self.says("tgsh", "apps", "config", "shower", "--format=uri").strip()
        other = [
            self.says("tgsh", "apps", "config", "feed", f"--format={what}").strip()
            for what in ("cert", "key", "ca")
        ]
        words = ("--cert", other[0], "--key", other[1], "--cacert", other[2])
        done = self.do(*self.curl, *words, "-w", "%{http_code}", "-o", "/dev/null", f"{uri}/")
        self.assertEqual(done.stdout, b"403", done.stderr)

    def test_proxy(self) -> None:
        """A browser's way: plain HTTP on this machine, one certificate behind."""
        proxy = self.proxy("app", "shower")
        uri = proxy.ready["uri"]
        shown = json.loads(self.says(*shlex.split(proxy.ready["command"]), "-sS"))
        fields = dict(shown["fields"])
        self.assertEqual(fields["x-tlsgate-user"], "alice")
        self.assertTrue(fields["host"].startswith("shower.gw.test"), fields)
        body = "x" * (1 << 20)
        file = self.house.alice.home / "body"
        file.write_text(body)
        said = self.says("curl", "-sS", "--data-binary", f"@{file}", f"{uri}/echo", f"{uri}/echo")
        self.assertEqual(said, 2 * body)
        head = self.says("curl", "-sSI", f"{uri}/redirect")
        self.assertNotIn("shower.gw.test", head)
        self.assertEqual((proxy.end(), proxy.said), (0, ""))

    def test_other_pages(self) -> None:
        """A name that is bound to this machine gets nothing, and neither does another page."""
        proxy = self.proxy("app", "shower")
        uri = proxy.ready["uri"]
        before = len(self.house.shower.requests)
        for words in (
            ("-H", "Host: evil.test"),
            ("-H", "Origin: http://evil.test", "-d", "x"),
            ("-H", "Sec-Fetch-Site: cross-site"),
        ):
            said = self.says("curl", "-sS", "-w", "%{http_code}", *words, uri)
            self.assertTrue(said.endswith("403"), said)
        self.assertEqual(len(self.house.shower.requests), before)

    def test_websockets(self) -> None:
        """Many at once, each its own bytes back."""
        proxy = self.proxy("app", "shower")
        port = proxy.ready["port"]
        name = b"127.0.0.1:%d" % port

        def one(number: int) -> None:
            with socket.create_connection(("127.0.0.1", port), 60) as sock:
                sock.sendall(UPGRADE % (name, name))
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += sock.recv(4096)
                assert answer.startswith(b"HTTP/1.1 101"), answer
                words = b"number %d" % number
                sock.sendall(words)
                words = b"hello" + words  # the application speaks first
                found = answer.partition(b"\r\n\r\n")[2]
                while len(found) < len(words):
                    found += sock.recv(4096)
                assert found == words, found

        self.assertEqual(at_once(one, CONNECTIONS), [])

    def test_restart(self) -> None:
        """A gateway that comes back is used again: a request waits for it, and one line says so."""
        house = self.house
        proxy = self.proxy("app", "shower")
        uri = proxy.ready["uri"]
        self.says("curl", "-sSf", uri)
        house.case.hub.stop()
        waiting = subprocess.Popen(
            ["curl", "-sS", uri], env=house.alice.env, stdout=subprocess.PIPE
        )
        until(lambda: "trying again" in proxy.said, "the proxy has noticed")
        house.case.hub = house.case.again(house.case.hub)
        waiting.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(waiting.returncode, 0)
        house.case.until_tunnel(house.agent)
        until(lambda: self.do("curl", "-sSf", uri).returncode == 0, "the application is back")
        lines = proxy.said.splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("is back", lines[1])

    def test_tcp(self) -> None:
        """Bytes of a TCP application, over a socket of her own; each direction ends alone."""
        path = self.house.alice.home / "feed.sock"
        proxy = self.proxy("app", "feed", f"--socket={path}")
        self.assertEqual(proxy.ready["socket"], str(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

        def one(number: int) -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(60)
                sock.connect(str(path))
                words = b"%d " % number * 20_000
                sock.sendall(words)
                sock.shutdown(socket.SHUT_WR)
                found = b""
                while piece := sock.recv(65536):
                    found += piece
                assert found == words, (len(found), len(words))

        self.assertEqual(at_once(one, CONNECTIONS // 4), [])
        self.assertEqual((proxy.end(), proxy.said), (0, ""))
        self.assertFalse(path.exists())
