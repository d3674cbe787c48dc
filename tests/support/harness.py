"""The real daemon as a child process, and clients that talk to it.

1. `GateCase.gate` writes a configuration file, most simply one made by `settings`;
2. it starts `twistd -n tlsgate` and waits until the admin socket says `ready`;
3. a test uses `gate.port()`, `gate.dial()`, `gate.admin()`, `gate.events()`;
4. afterwards it is stopped by its pid, and its log must show no unhandled error.

Listeners may say port 0: `port` asks the daemon where they are.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, Child, NotInTime, alive, sized, temporary, until
from tests.support.echo import Target
from tests.support.servers import Server

ROOT = Path(__file__).parents[2]

#: What a log never shows, whatever a client does: a bug that nobody caught.
_BUG = re.compile(r"Unhandled|Traceback \(most recent|Exception ignored|never awaited|core dumped")

#: A blocking call of a test's client.
CLIENT_SECONDS = 20.0

S = TypeVar("S", bound=Server | Target)


def settings(
    data_dir: Path,
    *,
    routes: Iterable[Mapping[str, Any]] = (),
    version: str = "v2",
    proxy: Mapping[str, object] | None = None,
    teleport: Mapping[str, object] | None = None,
    auth: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """A configuration with the test certificates, web on a port of its own, log in JSON.

    Args:
        data_dir: the daemon's folder.
        routes: static routes; those that ask for a certificate trust the test CA.
        version: v1, v2 or v3.
        proxy: more keys of proxy_service; they win, and None leaves one out.
        teleport: more keys of the teleport block; they win.
        auth: keys of auth_service; None: it is off.
    """
    pair = pki().keypair("server")
    proxy_service: dict[str, object] = {
        "web_listen_addr": "127.0.0.1:0",
        "public_addr": ["gw.test:443"],
        "https_keypairs": [{"cert_file": str(pair.cert_file), "key_file": str(pair.key_file)}],
        "routes": [route(**one) for one in routes],
        **(proxy or {}),
    }
    return {
        "version": version,
        "teleport": {
            "data_dir": str(data_dir),
            "log": {"output": "stderr", "severity": "DEBUG", "format": {"output": "json"}},
            **(teleport or {}),
        },
        "auth_service": {"enabled": "no"} if auth is None else dict(auth),
        "proxy_service": {key: one for key, one in proxy_service.items() if one is not None},
    }


def route(name: str, **keys: object) -> dict[str, object]:
    """A static route; without `client_cert` it demands alice's certificate."""
    if keys.get("passthrough") or "client_cert" in keys or keys.get("unsafe_anyone"):
        return {"name": name, **keys}
    demand = {"client_cert": "required", "allow": [{"cn": "alice"}]}
    return {"name": name, **demand, "client_ca_files": [str(pki().file("ca.pem"))], **keys}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("tlsgate", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Gate:
    """One `twistd -n tlsgate`, with its configuration, data and log in one folder.

    Args:
        folder: where all of it is; made by the caller, removed by the caller.
        text: the configuration, as YAML text or as a mapping.
        arguments: more arguments of `twistd tlsgate`.
        env: more of the environment.
        inherit: descriptors that the child gets.
        before: a command in front, such as `systemd-socket-activate …`.
    """

    def __init__(
        self,
        folder: Path,
        text: str | Mapping[str, object],
        *,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        before: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.file = folder / "tlsgate.yaml"
        self.write(text)
        twistd = Path(sys.executable).with_name("twistd")
        assert twistd.exists(), f"no twistd beside {sys.executable}"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [*before, twistd, "--nodaemon", "tlsgate", "--config", self.file, *arguments]
        self.child = Child(
            [str(word) for word in command],
            folder / "log",
            env={"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
            inherit=inherit,
        )

    # -- life ------------------------------------------------------------------

    def write(self, text: str | Mapping[str, object]) -> None:
        """Write the configuration file; what runs does not notice until it reloads."""
        if not isinstance(text, str):
            text = json.dumps(text, indent=2)  # JSON is YAML
        self.file.write_text(text)

    @property
    def pid(self) -> int:
        """The process that answers; after an upgrade another one than `child`."""
        return int(self.admin("GET", "/v1/status")["pid"])

    def ready(self) -> bool:
        """Whether the daemon says that it serves."""
        try:
            return bool(self.admin("GET", "/v1/status", seconds=2)["ready"])
        except (OSError, http.client.HTTPException, AssertionError, KeyError, ValueError):
            return False

    def until_ready(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it serves."""
        self.child.until(self.ready, "the admin socket says ready", seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that answers."""
        os.kill(self.pid, number)

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """End it as an operator does (SIGTERM), then whatever is left by force.

        Returns:
            the exit code of the child; 0 also when an upgrade had ended it before.
        """
        try:
            pid = self.pid if self.child.code is not None or self.ready() else self.child.pid
        except (OSError, http.client.HTTPException, AssertionError):
            pid = self.child.pid
        try:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
                until(lambda: not self._runs(pid), "it ends", seconds, self.child.tail)
            return self.child.wait(seconds)
        finally:
            self.child.end()

    def _runs(self, pid: int) -> bool:
        return self.child.code is None if pid == self.child.pid else alive(pid)

    # -- what it says ------------------------------------------------------------

    def text(self) -> str:
        """The whole log."""
        return self.child.text()

    def events(self, **wanted: object) -> list[dict[str, Any]]:
        """Each line of the log that is a JSON object and has these values."""
        found = []
        for line in self.text().splitlines():
            if line.startswith("{"):
                event = json.loads(line)
                if all(event.get(key) == value for key, value in wanted.items()):
                    found.append(event)
        return found

    def event(self, **wanted: object) -> dict[str, Any]:
        """The first event with these values, once it is there."""
        self.child.until(lambda: self.events(**wanted), f"an event with {wanted}")
        return self.events(**wanted)[0]

    def bugs(self) -> list[str]:
        """Lines that show an error nobody caught."""
        return [line for line in self.text().splitlines() if _BUG.search(line)]

    def admin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        seconds: float = PATIENCE_SECONDS,
        status: int = 200,
    ) -> Any:
        """The JSON that the admin socket answers; *status* is what it has to say."""
        connection = _UnixConnection(self.data_dir / "admin.sock", seconds)
        try:
            if body is None:
                connection.request(method, path)
            else:
                headers = {"Content-Type": "application/json"}
                connection.request(method, path, json.dumps(body), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == status, f"{method} {path} gave {answer.status}: {body!r}"
        return json.loads(body)

    def reload(
        self,
        text: str | Mapping[str, object] | None = None,
        status: int = 200,
        *,
        force: bool = False,
    ) -> Any:
        """Write a new configuration, if given, and have it read."""
        if text is not None:
            self.write(text)
        return self.admin("POST", "/v1/reload?force=1" if force else "/v1/reload", status=status)

    # -- clients -------------------------------------------------------------------

    def address(self, listener: str = "web") -> str:
        """Where a listener is open: "host:port", or a path."""
        said = {one["name"]: one["address"] for one in self.admin("GET", "/v1/listeners")}
        assert said.get(listener), f"no open listener {listener}: {said}"
        return str(said[listener])

    def port(self, listener: str = "web") -> int:
        """The port of a listener."""
        return int(self.address(listener).rpartition(":")[2])

    def connect(self, listener: str = "web") -> socket.socket:
        """A plain connection to a listener, with a timeout for each call."""
        host, _, port = self.address(listener).rpartition(":")
        host = "127.0.0.1" if host in ("", "*", "0.0.0.0", "[::]", "::") else host.strip("[]")
        return socket.create_connection((host, int(port)), CLIENT_SECONDS)

    def dial(self, *, listener: str = "web", **how: Any) -> ssl.SSLSocket:
        """A TLS connection to a listener; see `secure`."""
        return secure(self.connect(listener), **how)


def secure(
    raw: socket.socket,
    *,
    name: str | None = "gw.test",
    alpn: Sequence[str] = (),
    cert: str | None = None,
    trust: str = "ca.pem",
    version: ssl.TLSVersion | None = None,
) -> ssl.SSLSocket:
    """TLS as a client over *raw*, which it owns; errors come as `ssl.SSLError`.

    In TLS 1.3 the gateway's verdict on our certificate comes after the handshake:
    with the first read.

    Args:
        raw: a connected socket.
        name: server name, verified; None: no SNI, and the chain alone is verified.
        alpn: what to offer.
        cert: "alice", "bob", … of `tests.support.certs`; None: no certificate.
        trust: CA file of `tests.support.certs`.
        version: exactly this TLS version; None: what both have.
    """
    context = ssl.create_default_context(cafile=str(pki().file(trust)))
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if cert:
        pair = pki().keypair(cert)
        context.load_cert_chain(pair.cert_file, pair.key_file)
    if version:
        context.minimum_version = context.maximum_version = version
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly *count* bytes, or as many as come before the end."""
    got = bytearray()
    while len(got) < count and (data := connection.recv(min(count - len(got), 1 << 16))):
        got += data
    return bytes(got)


def drain(connection: socket.socket) -> bytes:
    """All bytes up to the end of the connection."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


class GateCase(SynchronousTestCase):
    """A test with daemons and servers of its own, all ended afterwards."""

    #: No test blocks longer, whatever it waits for: a run that hangs tells nothing.
    limit_seconds = sized(300, 3600)

    def run(self, result: Any = None) -> Any:
        """Run the test under its limit (trial calls this); the alarm interrupts any call."""

        def ring(number: int, frame: FrameType | None) -> None:
            raise NotInTime(f"{self.id()} has not ended within {self.limit_seconds} s")

        before = signal.signal(signal.SIGALRM, ring)
        # Again and again, since a test may swallow the first in a loop of its own.
        signal.setitimer(signal.ITIMER_REAL, self.limit_seconds, 10)
        try:
            return super().run(result)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def folder(self) -> Path:
        """A new folder, removed after the test."""
        folder = temporary("test")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def serve(self, server: S) -> S:
        """Start a server of `tests.support.servers`; it is stopped after the test."""
        server.start()
        self.addCleanup(server.stop)
        return server

    def gate(
        self,
        *,
        text: str | Mapping[str, object] | None = None,
        ready: bool = True,
        may_log: Sequence[str] = (),
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        before: Sequence[str] = (),
        **keys: Any,
    ) -> Gate:
        """Start a daemon; afterwards it is stopped and must have met no bug.

        Args:
            text: the configuration; None: `settings` with *keys*.
            ready: wait until it serves.
            may_log: texts of errors that this test provokes on purpose.
            arguments: more arguments of `twistd tlsgate`.
            env: more of the environment.
            inherit: descriptors that the child gets.
            before: a command in front, such as `systemd-socket-activate …`.
            keys: for `settings`, when *text* is None.
        """
        folder = self.folder()
        if text is None:
            text = settings(folder / "data", **keys)
        gate = Gate(folder, text, arguments=arguments, env=env, inherit=inherit, before=before)

        def stop() -> None:
            gate.stop()
            bugs = [bug for bug in gate.bugs() if not any(part in bug for part in may_log)]
            self.assertEqual(bugs, [], gate.child.tail())

        self.addCleanup(stop)
        if ready:
            gate.until_ready()
        return gate
