"""Connections that are held while a cluster changes: each is asked again and again if it lives."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from attrs import define, field

from tests.support.certs import pki
from tests.support.cluster import Holder, User

#: How long one of them may take to say what it was asked.
ANSWER_SECONDS = 20.0
#: Between two questions to each of them.
_EVERY_SECONDS = 1.0

_FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Origin": "null",
    "Sec-Fetch-Site": "same-origin",
}


class Lost(AssertionError):
    """A connection that was held is gone, or says something else."""


class Held:
    """One connection.

    Attributes:
        name: for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self) -> None:
        """Send something through, and see it come back.

        Raises:
            Lost: it does not.
            OSError: the connection is gone.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End it."""
        raise NotImplementedError


class HeldProgram(Held):
    """A client program that answers on stdout what is written to its stdin.

    Args:
        words: the command.
        say: what makes it answer with a word, as a line.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        env: Mapping[str, str],
        say: Callable[[str], str] = str,
    ) -> None:
        super().__init__(name)
        self._say = say
        self._process = subprocess.Popen(
            words,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        self._heard = b""

    def ask(self) -> None:
        """See `Held`."""
        assert self._process.stdin is not None
        word = secrets.token_hex(8)
        try:
            self._process.stdin.write(f"{self._say(word)}\n".encode())
        except OSError as e:
            self._read(time.monotonic() + 1.0, word)
            raise Lost(f"{self.name}: {self._heard[-500:]!r}") from e
        if not self._read(time.monotonic() + ANSWER_SECONDS, word):
            raise Lost(f"{self.name} does not answer ({self._process.poll()}): {self._heard!r}")

    def _read(self, until: float, word: str) -> bool:
        out = self._process.stdout
        assert out is not None
        while f"{word}\n".encode() not in self._heard:
            left = until - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                return False
            data = os.read(out.fileno(), 65536)
            if not data:
                return False
            self._heard = (self._heard + data)[-4096:]
        return True

    def close(self) -> None:
        """See `Held`."""
        self._process.kill()
        self._process.wait(ANSWER_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def application(port: int, who: Holder, host: str) -> ssl.SSLSocket:
    """A connection to an application, with a certificate."""
    context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
    context.load_cert_chain(who.cert, who.key)
    context.set_alpn_protocols(["http/1.1"])
    raw = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
    return context.wrap_socket(raw, server_hostname=host)


class HeldSocket(Held):
    """A connection of this process."""

    _connection: ssl.SSLSocket

    @property
    def port(self) -> int:
        """Its own, by which the gateway knows it."""
        return int(self._connection.getsockname()[1])


class HeldTransfer(HeldSocket):
    """An answer of an application that goes on and on, and is numbered."""

    def __init__(self, name: str, port: int, who: Holder, host: str) -> None:
        super().__init__(name)
        self._connection = application(port, who, host)
        self._connection.sendall(
            f"GET /trickle?1000000 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        self._file = self._connection.makefile("rb")
        while self._file.readline() not in (b"\r\n", b""):
            pass
        self._next = 0

    def ask(self) -> None:
        """See `Held`; a piece has to be the one that comes after the last."""
        until = time.monotonic() + ANSWER_SECONDS
        first = self._next
        while self._next == first or self._waits():
            if time.monotonic() > until:
                break
            piece = self._piece()
            if piece != b"%d\n" % self._next:
                raise Lost(f"{self.name}: {piece!r} in place of {self._next}")
            self._next += 1

    def _waits(self) -> bool:
        """Whether more has come already, as far as one can see."""
        return bool(self._connection.pending()) or bool(
            select.select([self._connection], [], [], 0)[0]
        )

    def _piece(self) -> bytes:
        size = self._file.readline()
        if not size.strip():
            raise Lost(f"{self.name} has ended after {self._next} pieces")
        piece = self._file.read(int(size, 16))
        self._file.readline()
        return piece

    def close(self) -> None:
        """See `Held`."""
        self._file.close()
        self._connection.close()


class HeldWebSocket(HeldSocket):
    """A WebSocket of an application that echoes."""

    def __init__(self, name: str, port: int, who: Holder, host: str) -> None:
        super().__init__(name)
        self._connection = application(port, who, host)
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._connection.sendall(head.encode())
        said = b""
        while not said.endswith(b"\r\n\r\nhello"):
            more = self._connection.recv(4096)
            if not more:
                raise Lost(f"{name} does not begin: {said!r}")
            said += more

    def ask(self) -> None:
        """See `Held`."""
        word = secrets.token_bytes(16)
        self._connection.sendall(word)
        said = b""
        while len(said) < len(word):
            more = self._connection.recv(4096)
            if not more:
                raise Lost(f"{self.name} has ended")
            said += more
        if said != word:
            raise Lost(f"{self.name}: {said!r} in place of {word!r}")

    def close(self) -> None:
        """See `Held`."""
        self._connection.close()


class HeldLogin(Held):
    """A session of the web console; each question is a connection of its own."""

    def __init__(self, name: str, port: int, user: User) -> None:
        super().__init__(name)
        self._port = port
        self._jar: dict[str, str] = {}
        _, page = self._request("GET", "/web/login")
        found = re.search(r'name="form" value="(\w+)"', page)
        if found is None:
            raise Lost(f"{name}: no form to log in with")
        fields = {"user": user.name, "password": user.password, "form": found[1]}
        fields["code"] = user.code(time.time())
        self._request("POST", "/web/login", urlencode(fields))
        self.ask()

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        raw = socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS)
        spoken = http.client.HTTPConnection("localhost", self._port, timeout=ANSWER_SECONDS)
        spoken.sock = context.wrap_socket(raw, server_hostname="localhost")
        headers = {} if body is None else dict(_FORM)
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._jar.items())
        try:
            spoken.request(method, path, body, headers)
            answer = spoken.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                key, _, value = cookie.partition(";")[0].partition("=")
                self._jar[key] = value
            return answer.status, answer.read().decode()
        finally:
            spoken.close()

    def ask(self) -> None:
        """See `Held`."""
        status, page = self._request("GET", "/web")
        if status != 200:
            raise Lost(f"{self.name}: the console says {status}: {page[:300]}")

    def close(self) -> None:
        """See `Held`."""


@define
class Holding:
    """All that is held, asked once a second by a thread; use it as a context manager.

    Attributes:
        lost: what went wrong, by name, with when; whoever is lost is not asked again.
        asked: how often each has answered.
    """

    held: list[Held]
    lost: dict[str, tuple[float, str]] = field(factory=dict)
    asked: dict[str, int] = field(factory=dict)
    _stopped: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def __enter__(self) -> Holding:
        for one in self.held:
            thread = threading.Thread(target=self._hold, args=(one,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and end all of them."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)
        for one in self.held:
            with contextlib.suppress(OSError):
                one.close()

    def until_asked(self, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until each has answered once more, or is lost."""
        before = dict(self.asked)
        end = time.monotonic() + seconds
        for one in self.held:
            while self.asked.get(one.name, 0) <= before.get(one.name, 0):
                if one.name in self.lost:
                    break
                if time.monotonic() > end:
                    raise Lost(f"{one.name} has not answered within {seconds:g} s")
                time.sleep(0.05)

    def _hold(self, one: Held) -> None:
        while not self._stopped.is_set():
            try:
                one.ask()
            except (OSError, AssertionError, ValueError, http.client.HTTPException) as e:
                self.lost[one.name] = (time.monotonic(), repr(e))
                return
            self.asked[one.name] = self.asked.get(one.name, 0) + 1
            self._stopped.wait(_EVERY_SECONDS)
