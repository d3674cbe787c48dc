"""Clients of nodes without SSH: TLS by the token, one CONNECT, and then the target's bytes."""

from __future__ import annotations

import contextlib
import socket
import ssl

from tests.support.harness import CLIENT_SECONDS

_TOKEN = "tlsgate-ssh"


def words(where: str) -> bytes:
    """The request for "node:port"."""
    return f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()


def connect(raw: socket.socket, context: ssl.SSLContext, where: str) -> ssl.SSLSocket:
    """Reach "node:port" over *raw*, which is the result's.

    Args:
        context: of somebody with a certificate, with the token; see `Holder.context`.

    Raises:
        AssertionError: it was refused; with the answer.
    """
    raw.settimeout(CLIENT_SECONDS)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection = context.wrap_socket(raw, server_hostname="gw.test")
    except BaseException:
        raw.close()
        raise
    try:
        connection.sendall(words(where))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                break
            head += byte
        if head.startswith(b"HTTP/1.1 200"):
            return connection
        with contextlib.suppress(OSError):
            head += connection.recv(65536)
        raise AssertionError(head.decode())
    except BaseException:
        connection.close()
        raise
