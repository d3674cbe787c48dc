"""Clients in numbers, as child processes of a test: short connections, or long streams.

    python -m tests.support.flood connect PORT RATE LEAST STOP
    python -m tests.support.flood stream PORT COUNT 0 STOP

`connect` makes RATE (0: as many as go) TLS connections a second with alice's certificate and
ALPN `echo`, has one byte echoed on each and closes it. `stream` holds COUNT connections with
ALPN `source` and compares what a `Source` sends, byte by byte. Both go on until the file
STOP exists, and `connect` until it has made LEAST; then they print one JSON line: how many,
what failed, for how long.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.echo import Target

#: Names CA, certificate and key: each process makes a test PKI of its own.
VARIABLE = "FLOOD_CERTIFICATES"
#: What a source sends, again and again.
BLOCK = bytes(range(256)) * 256
#: Each stream gets a block so often: 1 MiB a second.
_BLOCK_SECONDS = len(BLOCK) / (1 << 20)
#: Threads of `connect`; they wait more than they work.
_THREADS = 16
#: linux/in.h; a port is chosen at connect, when the whole pair of addresses is known.
_IP_BIND_ADDRESS_NO_PORT = 24


class Source(Target):
    """Sends `BLOCK` at 1 MiB a second to each who connects, until they go."""

    def serve(self, connection: socket.socket) -> None:
        """Send until the client ends."""
        due = time.monotonic()
        while True:
            connection.sendall(BLOCK)
            due += _BLOCK_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))


def context(alpn: str) -> ssl.SSLContext:
    """TLS as alice, verifying the gateway."""
    ca, cert, key = os.environ[VARIABLE].split(os.pathsep)
    made = ssl.create_default_context(cafile=ca)
    made.set_alpn_protocols([alpn])
    made.load_cert_chain(cert, key)
    return made


def alice() -> dict[str, str]:
    """The environment in which a child finds the certificates of this test run."""
    pair = pki().keypair("alice")
    files = (pki().file("ca.pem"), pair.cert_file, pair.key_file)
    return {VARIABLE: os.pathsep.join(map(str, files))}


def dial(tls: ssl.SSLContext, port: int, number: int) -> ssl.SSLSocket:
    """A connection from one of many addresses of loopback, so that ports last."""
    raw = socket.socket()
    try:
        raw.settimeout(20)
        raw.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        raw.bind((f"127.0.1.{number % 200 + 1}", 0))
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(raw, server_hostname="gw.test")
    except BaseException:
        raw.close()
        raise


def connect(port: int, rate: float, least: int, stop: Path) -> dict[str, Any]:
    """Short connections; see the module."""
    tls, failed, lock = context("echo"), Counter[str](), threading.Lock()
    counts = [0] * _THREADS
    begun = time.monotonic()

    def work(mine: int) -> None:
        while not (stop.exists() and sum(counts) >= least):
            if rate:
                due = begun + (counts[mine] * _THREADS + mine) / rate
                time.sleep(max(0.0, due - time.monotonic()))
            counts[mine] += 1
            try:
                with dial(tls, port, counts[mine]) as connection:
                    connection.sendall(b"x")
                    if connection.recv(1) != b"x":
                        raise EOFError("closed before the echo")
            except (OSError, EOFError) as e:
                with lock:
                    failed[f"{type(e).__name__}: {e}"] += 1

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"count": sum(counts), "failed": failed, "seconds": time.monotonic() - begun}


def stream(port: int, count: int, least: int, stop: Path) -> dict[str, Any]:
    """Long streams; see the module."""
    tls, failed = context("source"), Counter[str]()
    chosen = selectors.DefaultSelector()
    received: dict[ssl.SSLSocket, int] = {}
    begun = time.monotonic()
    for number in range(count):
        connection = dial(tls, port, number)
        connection.setblocking(False)
        chosen.register(connection, selectors.EVENT_READ)
        received[connection] = 0
    twice = memoryview(BLOCK * 2)
    while not stop.exists():
        for key, _ in chosen.select(0.1):
            connection = key.fileobj  # type: ignore[assignment]
            try:
                # One record a turn, or the first connection would starve the others.
                data = connection.recv(16384)
                if not data:
                    raise EOFError("ended early")
                place = received[connection] % len(BLOCK)
                if data != twice[place : place + len(data)]:
                    raise ValueError("wrong bytes")
                received[connection] += len(data)
            except ssl.SSLWantReadError:
                continue
            except (OSError, EOFError, ValueError) as e:
                failed[f"{type(e).__name__}: {e}"] += 1
                chosen.unregister(connection)
    for connection in received:
        connection.close()
    return {
        "count": count,
        "failed": failed,
        "seconds": time.monotonic() - begun,
        "bytes": sum(received.values()),
    }


def main() -> None:
    """See the module."""
    how, port, number, least, stop = sys.argv[1:]
    os.nice(1)
    work = {"connect": connect, "stream": stream}[how]
    print(json.dumps(work(int(port), int(number), int(least), Path(stop))), flush=True)


if __name__ == "__main__":
    main()
