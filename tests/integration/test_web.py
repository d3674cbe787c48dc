"""The web protocol, the separate ports and the diagnostic port, with the clients people use."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.child import program
from tests.support.harness import Gate, GateCase, drain, receive, route
from tests.support.ports import free_port
from tlsgate import __version__

#: Every separate port, each on a port of the system's choice.
PORTS = {
    f"{name}listen_addr": "127.0.0.1:0"
    for name in ("", "tunnel_", "kube_", "mysql_", "postgres_", "mongo_")
}


def run(*command: str | Path, seconds: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """What a client says."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/nonexistent", **env},
    )


class WebCase(GateCase):
    """Daemons with a web port."""

    def curl(self, gate: Gate, path: str, *more: str, host: str = "gw.test") -> str:
        """What curl prints."""
        port = gate.port()
        done = run(
            program("curl", "curl"),
            *("--silent", "--show-error", "--max-time", "20"),
            *("--cacert", pki().file("ca.pem")),
            *("--resolve", f"{host}:{port}:127.0.0.1"),
            *more,
            f"https://{host}:{port}{path}",
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout


class CurlTests(WebCase):
    """The console and its API, over both versions of HTTP."""

    def test_both_versions(self) -> None:
        """Page, documents and errors are the same over HTTP/1.1 and HTTP/2."""
        gate = self.gate(auth={"cluster_name": "root.example.com"})
        seen: dict[str, str] = {}
        for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
            for path, code in (
                ("/", 200),
                ("/webapi/ping", 200),
                ("/webapi/find", 200),
                ("/x", 404),
            ):
                out = self.curl(gate, path, option, "-w", "\n%{http_version} %{http_code}")
                body, _, said = out.rpartition("\n")
                self.assertEqual(said, f"{version} {code}", path)
                self.assertEqual(seen.setdefault(path, body), body)
        self.assertIn("root.example.com", seen["/"])
        document = json.loads(seen["/webapi/ping"])
        self.assertEqual(document["server_version"], __version__)
        self.assertEqual(document["proxy"]["ssh"]["web_listen_addr"], f"127.0.0.1:{gate.port()}")

    def test_s05_at_the_port(self) -> None:
        """S05: who comes by the console's name and asks for a guarded one gets 421."""
        gate = self.gate(
            routes=[{**route("vault", sni=["vault.gw.test"], target="tcp:127.0.0.1:9")}]
        )
        for option in ("--http1.1", "--http2"):
            out = self.curl(
                gate,
                "/",
                option,
                "-H",
                "Host: vault.gw.test",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            )
            self.assertEqual(out, "421")
        with gate.dial(alpn=["http/1.1"]) as connection:
            connection.sendall(
                b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\n\r\n"
                b"GET /webapi/find HTTP/1.1\r\nHost: vault.gw.test\r\nConnection: close\r\n\r\n"
            )
            codes = re.findall(rb"HTTP/1.1 (\d+)", drain(connection))
        self.assertEqual(codes, [b"200", b"421"])

    def test_http_in_the_clear(self) -> None:
        """A plain request on the TLS port gets a sentence that helps."""
        gate = self.gate()
        done = run(
            program("curl", "curl"),
            *("--silent", "--max-time", "20", "-w", "%{http_code}"),
            f"http://127.0.0.1:{gate.port()}/",
        )
        self.assertEqual(done.stdout, "This port takes TLS only: ask again with https://\n400")

    def test_slow_reader(self) -> None:
        """Ten thousand pipelined requests of one who reads nothing cost next to nothing."""
        gate = self.gate()
        before = resident_kib(gate.pid)
        with gate.dial(alpn=["http/1.1"]) as connection:
            connection.settimeout(2)
            requests = b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 100
            with self.assertRaises(TimeoutError):
                for _ in range(2000):
                    connection.sendall(requests)
            self.assertTrue(resident_kib(gate.pid) - before < 8192)


def resident_kib(pid: int) -> int:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1])


class ChromiumTests(WebCase):
    """The landing page in a browser."""

    def test_landing_page(self) -> None:
        """Chromium shows the page over HTTP/2; no policy is violated, nothing else is fetched."""
        gate = self.gate(
            auth={"cluster_name": "root.example.com"},
            routes=[
                route("db", alpn=["postgresql"], protocol="postgres", target="tcp:127.0.0.1:9")
            ],
        )
        folder = Path(tempfile.mkdtemp(prefix="tlsgate-chromium-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        done = run(
            program("chromium", "chromium"),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--ignore-certificate-errors", "--enable-logging=stderr", "--v=0"),
            f"--user-data-dir={folder}",
            f"--host-resolver-rules=MAP gw.test 127.0.0.1:{gate.port()}",
            "--dump-dom",
            "https://gw.test/",
            HOME=str(folder),
        )
        self.assertIn("<h1>root.example.com</h1>", done.stdout)
        self.assertIn("PostgreSQL", done.stdout)
        self.assertNotIn("Content Security Policy", done.stderr)
        gate.event(event="connection.end", route="web", alpn="h2")
        served = gate.events(event="connection.end", route="web", alpn="h2")
        self.assertTrue(max(one["to_client"] for one in served) > 5000)


class SeparatePortTests(WebCase):
    """What the clients of separate ports are told while their protocols are not built."""

    def setUp(self) -> None:
        self.gateway = self.gate(version="v1", proxy=PORTS)

    def port(self, listener: str) -> str:
        """Where a listener is open."""
        return str(self.gateway.port(listener))

    def test_ssh(self) -> None:
        """ssh prints the sentence, on the SSH port and on the tunnel port."""
        for listener, words, more in (
            ("ssh", "SSH jump host", "this gateway is in none"),
            ("tunnel", "reverse tunnels", "ask the web port for everything else"),
        ):
            done = run(
                program("ssh", "openssh-client"),
                *("-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
                *("-o", "UserKnownHostsFile=/dev/null", "-p", self.port(listener), "127.0.0.1"),
            )
            self.assertIn("Received disconnect from 127.0.0.1", done.stderr)
            self.assertIn(f"{words} ", done.stderr)
            self.assertIn(more, done.stderr)

    def test_psql(self) -> None:
        """psql prints it, with TLS and without."""
        for mode in ("require", "disable"):
            dsn = f"host=127.0.0.1 port={self.port('postgres')} sslmode={mode} connect_timeout=15"
            done = run(program("psql", "postgresql-client"), f"{dsn} user=a dbname=b", "-c", "")
            self.assertIn("FATAL:  postgres is not served here: databases by name are", done.stderr)

    def test_mysql(self) -> None:
        """The client of MySQL and MariaDB prints it."""
        done = run(
            program("mysql", "mariadb-client"),
            *("--no-defaults", "-h", "127.0.0.1", "-P", self.port("mysql"), "-u", "root"),
        )
        self.assertIn("mysql is not served here: MySQL on a port of its own", done.stderr)

    def test_mongodb(self) -> None:
        """A driver's first message is answered under its own number."""
        hello = bytes.fromhex("3a000000 2a000000 00000000 dd070000") + bytes(42)
        for connection in (
            self.gateway.connect("mongo"),
            self.gateway.dial(listener="mongo", name="localhost"),
        ):
            with connection:
                connection.sendall(hello)
                answer = drain(connection)
            self.assertEqual(answer[8:12], b"\x2a\0\0\0")
            self.assertIn(b"mongodb is not served here", answer)

    def test_kubernetes(self) -> None:
        """A request over TLS is answered with a Status object."""
        done = run(
            program("curl", "curl"),
            *("--silent", "--max-time", "20", "--no-alpn", "--cacert", pki().file("ca.pem")),
            f"https://localhost:{self.port('kube')}/api",
        )
        said = json.loads(done.stdout)
        self.assertEqual((said["kind"], said["code"]), ("Status", 503))
        self.assertIn("Kubernetes access is not part of this release", said["message"])

    def test_advertised(self) -> None:
        """The ping document says where each of them is, with the ports that are open."""
        with self.gateway.dial(alpn=["http/1.1"]) as connection:
            connection.sendall(
                b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
            )
            body = drain(connection).partition(b"\r\n\r\n")[2]
        proxy: dict[str, Any] = json.loads(body)["proxy"]
        self.assertEqual(proxy["ssh"]["web_listen_addr"], self.gateway.address("web"))
        self.assertFalse(proxy["tls_routing_enabled"])


class DiagnosticTests(WebCase):
    """/healthz, /readyz and /metrics of a real daemon."""

    def test_figures(self) -> None:
        """What was done at the ports is in the figures, and nobody's name is."""
        diag = free_port()
        gate = self.gate(
            teleport={"diag_addr": f"127.0.0.1:{diag}"},
            routes=[route("echo", alpn=["echo"], target="tcp:127.0.0.1:9")],
        )
        with gate.dial(alpn=["http/1.1"]) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
            drain(connection)
        with self.assertRaises(OSError), gate.dial(alpn=["nothing"]):
            pass
        with gate.dial(alpn=["echo"], cert="bob") as denied:
            self.assertEqual(receive(denied, 1), b"")
        gate.child.until(
            lambda: 'reason="denied"' in self.ask(diag, "/metrics")[1], "the counts are there"
        )
        code, text = self.ask(diag, "/metrics")
        self.assertEqual(code, 200)
        for line in (
            'tlsgate_accepted_connections_total{listener="web"} 3.0',
            'tlsgate_refused_connections_total{listener="web",reason="no_route"} 1.0',
            'tlsgate_refused_connections_total{listener="web",reason="denied"} 1.0',
            'tlsgate_handshakes_total{listener="web",outcome="ok"} 2.0',
            "tlsgate_ready 1.0",
        ):
            self.assertIn(line + "\n", text)
        self.assertIn('names="gw.test,*.gw.test,localhost"', text)
        self.assertIn("tlsgate_reactor_delay_seconds_count ", text)
        self.assertNotIn("bob", text)
        self.assertEqual(self.ask(diag, "/healthz"), (200, '{"status": "ok"}\n'))
        self.assertEqual(self.ask(diag, "/readyz")[0], 200)

    def test_refused_reload(self) -> None:
        """After a reload that was refused the gate is degraded, until the next good one."""
        diag = free_port()
        gate = self.gate(teleport={"diag_addr": f"127.0.0.1:{diag}"})
        good = gate.file.read_text()
        gate.reload("version: v9\n", status=409)
        code, text = self.ask(diag, "/readyz")
        self.assertEqual((code, json.loads(text)["status"]), (400, "degraded"))
        gate.reload(good)
        self.assertEqual(self.ask(diag, "/readyz")[0], 200)

    def ask(self, port: int, path: str) -> tuple[int, str]:
        """Status and text at the diagnostic port."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
