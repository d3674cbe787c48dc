"""Finding a gateway, and what it says before a login: /webapi/ping."""

from __future__ import annotations

import ipaddress
import queue
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from tlsgate.errors import BadAsk, GateError

if TYPE_CHECKING:
    from tlsgate.cli.api import Address, Way
    from tlsgate.cli.door import Asks

#: Where a gateway is looked for when no port is given; tsh looks there as well.
PORTS = (443, 3080)
#: For one answer to /webapi/ping.
PING_SECONDS = 10.0

_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}")
_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,2}")


def parse_proxy(text: str) -> tuple[str, int | None]:
    """Host and port of HOST, HOST:PORT, [V6]:PORT, https://HOST:PORT or tsh's HOST:WEB,SSH.

    Raises:
        BadAsk: it is none of them.
    """
    plain = text.strip().removeprefix("https://").rstrip("/").partition(",")[0]
    host, colon, port = plain.rpartition(":")
    if not colon or plain.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = plain, ""
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    host = host.lower().rstrip(".")
    good = _HOST.fullmatch(host) is not None if ":" not in host else _is_v6(host)
    if not good or (colon and port and not (port.isdecimal() and 0 < int(port[:6]) < 65536)):
        raise BadAsk(f"--proxy {text!r} is no HOST[:PORT]")
    return host, int(port) if port else None


def _is_v6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine whatever a name server says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@frozen
class Found:
    """A gateway that has answered, and its answer."""

    way: Way
    ping: Mapping[str, Any]
    presented: tuple[bytes, ...] = ()  #: DER of the chain that it showed

    @property
    def address(self) -> Address:
        """Where it is."""
        return self.way.address

    def text(self, *path: str) -> str:
        """What the answer has at *path*; "" where that is no text."""
        value: Any = self.ping
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value[:1024] if isinstance(value, str) else ""

    @property
    def second_factor(self) -> bool:
        """Whether a login needs a one-time code."""
        return self.text("auth", "second_factor") != "off"


def find(ways: list[Way], open_way: Any) -> Found:
    """Ask all of *ways* at once; the first good answer wins.

    Raises:
        GateError: nobody has answered; the error of the first way.
    """
    if len(ways) == 1:
        return _ping(ways[0], open_way)
    answers: queue.SimpleQueue[tuple[int, Found | BaseException]] = queue.SimpleQueue()

    def run(number: int, way: Way) -> None:
        try:
            answers.put((number, _ping(way, open_way)))
        except BaseException as e:  # it is raised by who waits
            answers.put((number, e))

    for number, way in enumerate(ways):
        threading.Thread(target=run, args=(number, way), daemon=True).start()
    failed: dict[int, BaseException] = {}
    for _ in ways:
        number, answer = answers.get()
        if isinstance(answer, Found):
            return answer
        if not isinstance(answer, GateError):
            raise answer
        failed[number] = answer
    raise failed[0]


def _ping(way: Way, open_way: Any) -> Found:
    from tlsgate.errors import Unreachable

    api: Asks = open_way(way)
    answer = api.ask("GET", "/webapi/ping", seconds=PING_SECONDS)
    if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
        raise Unreachable(str(way.address), "it is no tlsgate gateway")
    return Found(way, answer, tuple(getattr(api, "presented", ())))


def too_old(ours: str, least: str) -> bool:
    """Whether version *ours* is below *least*; what is no version refuses nobody."""
    if not _VERSION.fullmatch(least):
        return False
    return _numbers(ours) < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version)[:3])
