"""The operator's door: requests to the daemon over DATA/admin.sock.

HTTP/1.1 and JSON. The standard library's client does it without a reactor: one short
question to a local socket, and tgctl starts in a tenth of a second.
"""

from __future__ import annotations

import http.client
import json
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import tlsgate
from tlsgate.config.adminsocket import admin_socket, short_name
from tlsgate.errors import BadAsk, DaemonAway, DaemonSaid, DoorClosed, Fault, Place, Problem

#: Twisted's HTTP server takes lines of 16,384 bytes; the method and the version need some.
_LINE_BYTES = 16_000
#: A page of resources is far smaller; nothing may fill our memory.
ANSWER_BYTES = 64 << 20


class Asks(Protocol):
    """What a command needs of the door, or of a gateway; tests give their own."""

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        seconds: float = 15.0,
        body: Any = None,
    ) -> Any:
        """Give the daemon's answer (JSON types).

        Args:
            method: GET, POST, PUT or DELETE.
            path: from /v1 on, each part quoted.
            query: fields of the question.
            seconds: how long to wait for a word.
            body: JSON types to send along.

        Raises:
            DaemonAway: nobody answers.
            Unreachable: a gateway does not.
            DoorClosed: this user may not.
            DaemonSaid: the daemon refused, in its own words.
            BadAsk: the question is too long.
        """


class Door:
    """The admin socket of the daemon whose data directory is *data_dir*."""

    def __init__(self, data_dir: Path) -> None:
        self.socket = admin_socket(data_dir)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        seconds: float = 15.0,
        body: Any = None,
    ) -> Any:
        """Ask once; see `Asks.ask`."""
        line = question(path, query)
        connection = _OverSocket(self.socket, seconds)
        try:
            status, answer = exchange(connection, method, line, body)
            return read_answer(str(self.socket), status, answer)
        except PermissionError as e:
            raise DoorClosed(str(self.socket), _owner(self.socket)) from e
        except FileNotFoundError as e:
            raise DaemonAway(str(self.socket), "there is no such socket") from e
        except ConnectionRefusedError as e:
            raise DaemonAway(str(self.socket), "it was left behind by one that ended") from e
        except TimeoutError as e:
            raise DaemonAway(str(self.socket), f"it said nothing for {seconds:g} s") from e
        except (OSError, http.client.HTTPException) as e:
            raise DaemonAway(str(self.socket), str(e) or type(e).__name__) from e
        finally:
            connection.close()


def question(path: str, query: Mapping[str, str] | None) -> str:
    """The path and query of a request line.

    Raises:
        BadAsk: it is longer than a server of ours reads.
    """
    line = f"{path}?{urlencode(query)}" if query else path
    if len(line) > _LINE_BYTES:
        raise BadAsk(f"the question has {len(line)} bytes; {_LINE_BYTES} are possible")
    return line


def exchange(
    connection: http.client.HTTPConnection, method: str, line: str, body: Any
) -> tuple[int, bytes]:
    """Send one request over *connection* and read its answer: status, body.

    Raises:
        OSError: the connection fails.
        http.client.HTTPException: what comes back is no HTTP, or too much of it.
    """
    headers = {"Accept": "application/json", "User-Agent": f"tlsgate/{tlsgate.__version__}"}
    sent = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        sent = json.dumps(body).encode()
    connection.request(method, line, body=sent, headers=headers)
    answer = connection.getresponse()
    read = answer.read(ANSWER_BYTES + 1)
    if len(read) > ANSWER_BYTES:
        raise http.client.HTTPException(f"an answer of more than {ANSWER_BYTES} bytes")
    return answer.status, read


class _OverSocket(http.client.HTTPConnection):
    """HTTP to a UNIX socket instead of a host."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("tlsgate", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        with short_name(self._path) as name:
            self.sock.connect(name)


def read_answer(door: str, status: int, body: bytes) -> Any:
    """The value in an answer of the daemon.

    Raises:
        DaemonSaid: it is a refusal.
        DaemonAway: it is not what a daemon of ours says.
    """
    try:
        if status == 204:
            return None
        value = json.loads(body)
        if status < 300:
            return value
        error = value["error"]
        raise DaemonSaid(
            word=str(error["reason"]),
            whose=Fault(error["fault"]),
            text=str(error["message"]),
            problems=tuple(
                Problem(
                    # A problem with a resource has a path only: its file is on our side.
                    Place(
                        str(found.get("file", "")),
                        int(found.get("line", 0)),
                        int(found.get("column", 0)),
                    ),
                    str(found["path"]),
                    str(found["message"]),
                )
                for found in error.get("problems", ())
            ),
        )
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise DaemonAway(door, f"something else answers there (HTTP {status})") from e


def _owner(path: Path) -> str:
    """Who may use the socket, as far as this user can see."""
    for seen in (path, *path.parents):
        try:
            uid = seen.stat().st_uid
        except OSError:
            continue
        if uid == 0:
            break
        try:
            return f"root and the user {pwd.getpwuid(uid).pw_name}"
        except KeyError:
            return f"root and the user {uid}"
    return "root"
