"""One daemon with real servers behind it, started once a process and shared by tests.

Its single port leads to an echo, OpenSSH (by token and by banner), PostgreSQL, Redis (in
the clear and over TLS), nginx (plain, told who dials, over TLS, untouched) and HAProxy. A
test that breaks it would break its neighbours, so tests only use it; `atexit` ends it.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from tests.support.certs import pki
from tests.support.child import temporary
from tests.support.harness import Gate, settings
from tests.support.servers import Echo, Haproxy, Nginx, Postgres, Redis, Server, Sshd

S = TypeVar("S", bound=Server | Echo)

#: Tests are more clients at one address than a gateway lets in by default.
UNLIMITED = dict.fromkeys(
    ("unauthenticated_per_address", "handshakes_per_second_per_address"), 10_000
)

#: Pages of servers that are told by a PROXY header whom they talk to.
_NGINX_PAGE = "return 200 '$proxy_protocol_addr:$proxy_protocol_port';"
_HAPROXY_PAGE = """\
frontend page
  mode http
  bind 127.0.0.1:PORT accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"
"""

#: For one client program.
_CLIENT_SECONDS = 60


def web(name: str, **keys: object) -> dict[str, Any]:
    """The route of an application under NAME.gw.test."""
    return {"name": name, "sni": [f"{name}.gw.test"], "alpn": ["http/1.1"], **keys}


class House:
    """The daemon, the servers behind it, and how a client program is run."""

    def __init__(self, ends: Callable[[Callable[[], object]], object]) -> None:
        def begin(server: S) -> S:
            server.start()
            ends(server.stop)
            return server

        folder = temporary("house")
        ends(functools.partial(shutil.rmtree, folder, ignore_errors=True))
        self.echo = begin(Echo())
        self.sshd = begin(Sshd())
        self.postgres = begin(Postgres())
        self.redis = begin(Redis())
        self.redis_tls = begin(Redis(pki().keypair("target")))
        self.nginx = begin(Nginx())
        told_v1 = begin(Nginx(_NGINX_PAGE, proxy_protocol=True))
        told_v2 = begin(Haproxy(_HAPROXY_PAGE))
        self.nginx_tls = begin(Nginx("return 200 '$ssl_server_name';", tls=pki().keypair("target")))
        ca = pki().file("ca.pem")
        over_tls = f"tls:localhost:{self.redis_tls.port}:trustRoots={ca}"
        named = f"tls:target.test:{self.nginx_tls.port}:trustRoots={ca}"
        named += rf":endpoint=tcp\:127.0.0.1\:{self.nginx_tls.port}"
        plain: dict[str, Any] = {"client_cert": "none", "unsafe_anyone": True}
        routes: list[dict[str, Any]] = [
            {"name": "echo", "alpn": ["demo-echo"], "target": self.echo.endpoint},
            {"name": "ssh", "alpn": ["demo-ssh"], "target": self.sshd.endpoint},
            {"name": "bastion", "protocol": "ssh", "target": self.sshd.endpoint, **plain},
            {
                "name": "orders",
                "protocol": "postgres",
                "sni": ["orders.gw.test"],
                "target": self.postgres.endpoint,
            },
            {"name": "cache", "sni": ["cache.gw.test"], "target": self.redis.endpoint},
            {"name": "safe", "sni": ["safe.gw.test"], "target": over_tls},
            web("app", target=self.nginx.endpoint),
            web("nginx", target=told_v1.endpoint, send_proxy="v1"),
            web("haproxy", target=told_v2.endpoint, send_proxy="v2"),
            web("secure", target=named),
            {
                "name": "untouched",
                "sni": ["target.test"],
                "passthrough": True,
                "target": self.nginx_tls.endpoint,
            },
        ]
        self.gate = Gate(folder, settings(folder / "data", routes=routes))
        ends(self.gate.stop)
        self.gate.until_ready()
        #: The one port.
        self.port = self.gate.port()

    def run(
        self,
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002 -- as subprocess calls it
        env: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """The exit code of a client program, and all that it printed on both channels."""
        done = subprocess.run(
            arguments,
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_CLIENT_SECONDS,
            check=False,
            env={"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": str(self.gate.folder), **(env or {})},
        )
        return done.returncode, done.stdout


@functools.cache
def house() -> House:
    """The one house of this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    try:
        return House(stack.callback)
    except BaseException:
        stack.close()
        raise
