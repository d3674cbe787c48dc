"""Where agents find databases and applications: the URIs of db_service and app_service.

Source for the forms: https://goteleport.com/docs/reference/agent-services/ and, for
PostgreSQL's, https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
(of which only host and port can stand here).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from tlsgate.config import ports
from tlsgate.config.endpoints import public_address
from tlsgate.config.fields import kind, text
from tlsgate.core.addresses import host_port

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

#: By scheme, the port that is meant without one; None: it has to be written.
_DATABASES: Final[Mapping[str, int | None]] = {
    "postgres": ports.POSTGRES,
    "postgresql": ports.POSTGRES,
}
_APPS: Final[Mapping[str, int | None]] = {"http": 80, "https": 443, "tcp": None}


@frozen
class Uri:
    """One of them, taken apart."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """As "host:port"."""
        return host_port(self.host, self.port)


def database_uri(value: Any, *, port: bool = True) -> Uri:
    """Read `host:port`, or `postgres://host:port`; without a port it is 5432.

    Args:
        port: False: of another protocol, which has neither that scheme nor that port.

    Raises:
        ValueError: it is neither.
    """
    said = "the client says which user and database, and roles whether it may"
    if not port:
        return _read(value, {"tcp": None}, "tcp", "db.internal:9000", said)
    return _read(value, _DATABASES, "postgres", "pg.internal:5432", said)


def app_uri(value: Any) -> Uri:
    """Read `http://host`, `https://host:port`, or `tcp://host:port`.

    Raises:
        ValueError: it is none of them.
    """
    said = "the application gets paths as clients write them"
    return _read(value, _APPS, None, "http://127.0.0.1:3000", said)


def _read(
    value: Any, known: Mapping[str, int | None], usual: str | None, such: str, said: str
) -> Uri:
    written = text(value)
    if written.startswith(("/", "unix:")):
        raise ValueError("UNIX sockets are not dialled; write host:port")
    found = _SCHEME.match(written)
    scheme = found.group(1).lower() if found else usual
    if scheme is None:
        raise ValueError(f"has to begin with {_listed(known)}, such as {such}, not {kind(value)}")
    if scheme not in known:
        raise ValueError(f"{scheme}:// is not served; write {_listed(known)}, such as {such}")
    rest = written[found.end() :] if found else written
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(f"may not have a user or a password: {said}")
    if rest not in (authority, f"{authority}/"):
        raise ValueError(f"has to end with the host and its port: {said}")
    host, port = public_address(authority)
    port = known[scheme] if port is None else port
    if port is None:
        raise ValueError(f"needs a port, such as {scheme}://{host}:9000")
    return Uri(scheme, host, port)


def _listed(known: Mapping[str, int | None]) -> str:
    names = [f"{one}://" for one in known]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
