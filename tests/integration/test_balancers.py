"""HAProxy and nginx, behind the daemon and in front of it, with PROXY headers v1 and v2."""

from __future__ import annotations

import socket
import subprocess

from tests.support.certs import pki
from tests.support.child import program
from tests.support.harness import Gate, GateCase, receive, secure
from tests.support.servers import Echo, Haproxy, Nginx, NginxStream, Recorder

#: A page that says who the server behind a PROXY header believes to be talking to.
_NGINX_PAGE = "location / { return 200 '$proxy_protocol_addr:$proxy_protocol_port'; }"
_HAPROXY_PAGE = """\
frontend page
  mode http
  bind 127.0.0.1:PORT accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"
"""
#: A balancer of connections that adds a header of the version in its place.
_HAPROXY_FRONT = """\
listen front
  bind 127.0.0.1:PORT
  server gate 127.0.0.1:{port} {header}
"""

#: What a listener behind a balancer on this machine is configured with.
_BEHIND = {"proxy_protocol": {"mode": "on", "trusted": ["127.0.0.0/8"]}}


class BalancerCase(GateCase):
    """Clients who can tell their own address."""

    def page(self, gate: Gate) -> tuple[str, str]:
        """What curl gets from the route for app.gw.test, and the address it had meanwhile."""
        port = gate.port()
        keys = pki()
        done = subprocess.run(
            [
                *(program("curl", "curl"), "-sS", "--http1.1", "--cacert", keys.file("ca.pem")),
                *("--cert", keys.file("alice.pem"), "--key", keys.file("alice-key.pem")),
                *("--resolve", f"app.gw.test:{port}:127.0.0.1"),
                *("-w", "\n127.0.0.1:%{local_port}", f"https://app.gw.test:{port}/"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        page, _, mine = done.stdout.rpartition("\n")
        return page, mine

    def through(self, balancer_port: int) -> str:
        """Have a word echoed through a balancer; gives the address that we had meanwhile."""
        raw = self.raw(balancer_port)
        mine = "{}:{}".format(*raw.getsockname())
        with secure(raw, alpn=["demo-echo"], cert="alice") as client:
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")
        return mine

    def raw(self, port: int) -> socket.socket:
        """A plain connection to a port of this machine."""
        return socket.create_connection(("127.0.0.1", port), 20)


class BehindTests(BalancerCase):
    """The daemon in front, with `send_proxy`."""

    def app(self, target: str, version: str) -> Gate:
        route = {"name": "app", "sni": ["app.gw.test"], "alpn": ["http/1.1"], "target": target}
        return self.gate(routes=[{**route, "send_proxy": version}])

    def test_nginx_learns_the_client(self) -> None:
        """nginx reads both versions of the header and sees the client's own address."""
        nginx = self.serve(Nginx(_NGINX_PAGE, proxy_protocol=True))
        for version in ("v1", "v2"):
            page, mine = self.page(self.app(nginx.endpoint, version))
            self.assertEqual(page, mine, version)

    def test_haproxy_learns_the_client(self) -> None:
        """HAProxy reads both versions of the header and sees the client's own address."""
        haproxy = self.serve(Haproxy(_HAPROXY_PAGE))
        for version in ("v1", "v2"):
            page, mine = self.page(self.app(haproxy.endpoint, version))
            self.assertEqual(page, mine, version)


class InFrontTests(BalancerCase):
    """The daemon behind a balancer, with `proxy_protocol` on."""

    def behind(self) -> Gate:
        echo = self.serve(Echo())
        route = {"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}
        return self.gate(routes=[route], proxy=_BEHIND)

    def test_haproxy_tells_the_client(self) -> None:
        """Both versions of HAProxy's header give the log the client's own address."""
        gate = self.behind()
        for header in ("send-proxy", "send-proxy-v2"):
            front = self.serve(Haproxy(_HAPROXY_FRONT.format(port=gate.port(), header=header)))
            mine = self.through(front.port)
            self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")

    def test_nginx_tells_the_client(self) -> None:
        """nginx as a balancer of connections sends version 1."""
        gate = self.behind()
        front = self.serve(NginxStream(gate.port()))
        mine = self.through(front.port)
        self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")

    def test_the_client_is_passed_on(self) -> None:
        """A header that came in goes out again towards the target, with the same client."""
        recorder = self.serve(Recorder(answer=b"x"))
        route = {"name": "echo", "alpn": ["demo-echo"], "target": recorder.endpoint}
        gate = self.gate(routes=[{**route, "send_proxy": "v1"}], proxy=_BEHIND)
        front = _HAPROXY_FRONT.format(port=gate.port(), header="send-proxy-v2")
        raw = self.raw(self.serve(Haproxy(front)).port)
        host, port = raw.getsockname()
        with secure(raw, alpn=["demo-echo"], cert="alice") as client:
            client.sendall(b"hello")
            seen = recorder.wait_for(b"hello").decode()
        self.assertRegex(seen, rf"\APROXY TCP4 {host} 127\.0\.0\.1 {port} \d+\r\nhello\Z")

    def test_a_client_without_header_is_refused(self) -> None:
        """Where headers are on they are mandatory: who comes past the balancer gets nothing."""
        gate = self.behind()
        with self.assertRaises(OSError):
            gate.dial(alpn=["demo-echo"], cert="alice")
        self.assertEqual(gate.event(event="connection.refused")["cause"], "bad_proxy_header")

    def test_haproxy_prefix_on_the_endpoint(self) -> None:
        """`haproxy:tcp:…` as web_listen_addr is the same as `proxy_protocol: on`."""
        echo = self.serve(Echo())
        gate = self.gate(
            routes=[{"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}],
            proxy={"web_listen_addr": "haproxy:tcp:0:interface=127.0.0.1"},
        )
        front = _HAPROXY_FRONT.format(port=gate.port(), header="send-proxy-v2")
        mine = self.through(self.serve(Haproxy(front)).port)
        self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")

    def test_nginx_ends_tls_and_encrypts_again(self) -> None:
        """An HTTP balancer in front reaches a named route with a certificate of its own."""
        page = self.serve(Nginx("location / { return 200 'behind'; }"))
        app = {"name": "app", "sni": ["app.gw.test"], "target": page.endpoint}
        gate = self.gate(routes=[app])
        pair, ca = pki().keypair("alice"), pki().file("ca.pem")
        front = self.serve(
            Nginx(
                f"""location / {{
      proxy_pass https://127.0.0.1:{gate.port()};
      proxy_http_version 1.1;
      proxy_ssl_server_name on;
      proxy_ssl_name app.gw.test;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {ca};
      proxy_ssl_certificate {pair.cert_file};
      proxy_ssl_certificate_key {pair.key_file};
    }}"""
            )
        )
        with self.raw(front.port) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        self.assertTrue(answer.endswith(b"\r\n\r\nbehind"), answer)
