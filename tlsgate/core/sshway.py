"""Which way SSH takes to a gateway: from what it says now at /webapi/ping.

`multiplex`: TLS on the web port, with the token `tlsgate-ssh` and one CONNECT inside.
`separate`: the jump host on the SSH listener, which plain OpenSSH dials.

Nothing but the language is imported: `tgsh proxy ssh` runs before every connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

MULTIPLEX: Final = "multiplex"
SEPARATE: Final = "separate"

#: Of an answer to /webapi/ping; a real one has 2 KiB.
ANSWER_BYTES: Final = 256 << 10
#: How long an answer is believed.
FRESH_SECONDS: Final = 60.0

_ANYWHERE = ("", "0.0.0.0", "::", "*")  #: listen addresses that nobody can dial
_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")

#: The mode, and the host and the port that are dialled.
SshWay = tuple[str, str, int]


def read_answer(text: bytes) -> dict[str, Any]:
    """The document at /webapi/ping.

    Raises:
        BadBytes: it is none of a gateway.
    """
    if len(text) > ANSWER_BYTES:
        _bad(f"more than {ANSWER_BYTES} bytes")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        _bad("no JSON")
    if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
        _bad("not that of a tlsgate gateway")
    return answer


def ssh_way(answer: Mapping[str, Any], host: str, port: int) -> SshWay:
    """The way that *answer* leaves open.

    Args:
        answer: the document at /webapi/ping.
        host: of the gateway that gave it, as it was dialled.
        port: the same.

    Where TLS routing is on, the address that has just answered is taken, not the one that
    is advertised: it is known to work from here. So it is where no SSH listener is
    advertised at all; a guess at 3023 would only fail.

    Raises:
        BadBytes: an address in it cannot be one.
    """
    if _at(answer, "proxy", "tls_routing_enabled") is not False:
        return (MULTIPLEX, host, port)
    public = _at(answer, "proxy", "ssh", "ssh_public_addr")
    listen = _at(answer, "proxy", "ssh", "listen_addr")
    for written in (public, listen):
        if isinstance(written, str) and written:
            name, number = address(written)
            return (SEPARATE, host if name in _ANYWHERE else name, number)
    return (MULTIPLEX, host, port)


def address(written: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [V6]:PORT; the host may be empty.

    Raises:
        BadBytes: it is neither.
    """
    name, _, number = written.rpartition(":")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    elif ":" in name:
        _bad("an IPv6 address without brackets")
    if not (number.isascii() and number.isdecimal() and 0 < int(number[:6]) < 65536):
        _bad("an address without a port")
    # It becomes a word of ssh's command line: nothing that begins with a dash, no spaces.
    if name not in _ANYWHERE and _HOST.fullmatch(name) is None:
        _bad("an address whose host is none")
    return name.lower(), int(number)


def _at(answer: Mapping[str, Any], *path: str) -> object:
    value: object = answer
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _bad(why: str) -> NoReturn:
    # Only a failure pays for the import of every error.
    from tlsgate.errors import BadBytes

    raise BadBytes("answer to /webapi/ping", why)
