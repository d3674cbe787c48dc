"""Connections to gateways: straight, or through the HTTP proxy of the environment.

Nothing of ours is imported before it is needed: `tgsh proxy ssh` runs before every ssh.
"""

from __future__ import annotations

import os
import socket

#: Of a proxy's answer to CONNECT.
_ANSWER_BYTES = 16 << 10
_VARIABLES = ("https_proxy", "HTTPS_PROXY")


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to *host*, with *seconds* as its timeout.

    Raises:
        OSError: nobody is reached.
        Unreachable: the HTTP proxy refuses.
        BadBytes: HTTPS_PROXY names none.
    """
    if not any(map(os.environ.get, _VARIABLES)):
        return _dial(host, port, seconds)
    from tlsgate.core.outbound import connect_request, http_proxy

    proxy = http_proxy(host, port, os.environ)
    if proxy is None:
        return _dial(host, port, seconds)
    plain = _dial(proxy.host, proxy.port, seconds)
    try:
        plain.sendall(connect_request(host, port, proxy))
        _passed(plain, f"{proxy.host}:{proxy.port}")
    except BaseException:
        plain.close()
        raise
    return plain


def _dial(host: str, port: int, seconds: float) -> socket.socket:
    # As bytes: text is encoded with IDNA, even where it is ASCII, and that is 10 ms of imports.
    where = (host.encode("ascii") if host.isascii() else host, port)
    made = socket.create_connection(where, seconds)  # type: ignore[arg-type]  # bytes will do
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _passed(plain: socket.socket, where: str) -> None:
    """Read the proxy's answer, and not a byte of what follows it."""
    from tlsgate.errors import Unreachable

    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        more = plain.recv(1)  # it is short, once a connection, and what follows is TLS's
        if not more or len(answer) >= _ANSWER_BYTES:
            raise Unreachable(where, "the HTTP proxy of HTTPS_PROXY gives no answer of HTTP")
        answer += more
    version, _, rest = answer.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest.startswith(b"2"):
        said = rest.decode("ascii", "replace").strip() or "nothing"
        raise Unreachable(where, f"the HTTP proxy of HTTPS_PROXY refuses: {said}")
