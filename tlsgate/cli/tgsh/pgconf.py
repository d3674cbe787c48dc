"""What PostgreSQL's clients are told: addresses and files as libpq's settings.

Direct TLS (`sslnegotiation=direct`, libpq 17 and later) goes to the web port with the token
`postgresql`; `legacy` means an SSLRequest first, which every client knows, at the listener for
PostgreSQL or on the web port. The gateway shows its web certificate both times.

Source: https://www.postgresql.org/docs/17/libpq-connect.html
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import quote

from attrs import frozen

from tlsgate.cli.tgsh.flat import Place, text_of
from tlsgate.cli.tgsh.narrow import Narrow
from tlsgate.core.addresses import host_port
from tlsgate.core.certroutes import DB_NAME, DB_USER

#: What libpq 16 and later call the machine's own authorities.
SYSTEM = "system"

#: Settings as environment variables, in the order in which they are shown.
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}


@frozen
class Reached:
    """Where a client of PostgreSQL connects.

    Attributes:
        host: a name, an address, or the folder of a UNIX socket.
        port: the number; of a socket the one in its name.
        user, database: "" where the client has to say.
        tls: the settings of TLS; none for a local proxy that needs none.
    """

    host: str
    port: int
    user: str
    database: str
    tls: Mapping[str, str]

    @property
    def settings(self) -> dict[str, str]:
        """libpq's settings, in the order of `VARIABLES`."""
        found = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "dbname": self.database,
            **self.tls,
        }
        return {name: found[name] for name in VARIABLES if found.get(name)}

    @property
    def uri(self) -> str:
        """The same as a URI."""
        settings = self.settings
        user = f"{_part(self.user)}@" if self.user else ""
        folder = self.host.startswith("/")
        where = f"{user}" if folder else f"{user}{host_port(self.host, self.port)}"
        apart = () if folder else ("host", "port")
        more = [
            f"{name}={_part(value)}"
            for name, value in settings.items()
            if name not in ("user", "dbname", *apart)
        ]
        query = f"?{'&'.join(more)}" if more else ""
        return f"postgresql://{where}/{_part(self.database)}{query}"

    @property
    def words(self) -> str:
        """The same as libpq's words, for psql's command line."""
        return " ".join(f"{name}={_word(value)}" for name, value in self.settings.items())


def straight(place: Place, narrow: Narrow, address: tuple[str, int] | None = None) -> Reached:
    """A client that does TLS itself.

    Args:
        place: the login.
        narrow: the certificate for the database.
        address: of the listener where TLS begins with an SSLRequest; None: direct TLS to the
            web port.
    """
    root = web_root(place)
    if address is not None and root == SYSTEM:
        # Whoever needs this way may be older than the word is.
        root = ssl.get_default_verify_paths().cafile or SYSTEM
    tls = {
        "sslmode": "verify-full",
        "sslrootcert": root,
        "sslcert": str(narrow.certificate),
        "sslkey": str(narrow.key),
    }
    if address is None:
        tls["sslnegotiation"] = "direct"
    host, port = address or (place.host, place.port)
    if _is_address(host) and not _is_address(place.host):
        # An address that is told is dialled; what the certificate has to name is the gateway.
        host, tls["hostaddr"] = place.host, host
    return Reached(host, port, *names(narrow), tls)


def through(host: str, port: int, narrow: Narrow) -> Reached:
    """A client of a local proxy that does TLS for it."""
    # A UNIX socket knows no TLS; on TCP the proxy says no to it anyway.
    tls = {} if host.startswith("/") else {"sslmode": "disable"}
    return Reached(host, port, *names(narrow), tls)


def names(narrow: Narrow) -> tuple[str, str]:
    """The database user and the database inside that a certificate is for, or ""."""
    return narrow.routes.get(DB_USER, ""), narrow.routes.get(DB_NAME, "")


def web_root(place: Place) -> str:
    """The file with the web certificate's authority, or `system`."""
    kept = (text_of(place.web_authorities) or "").strip()
    return place.web_authorities if kept not in ("", SYSTEM) else SYSTEM


def is_guess(place: Place) -> bool:
    """Whether the web certificate is only hoped to be the cluster's: the login saw no proof."""
    kept = text_of(place.web_authorities)
    return kept is not None and kept == text_of(place.authorities)


def is_leaf(place: Place) -> bool:
    """Whether all that is kept of the web certificate's authority is another's certificate."""
    from cryptography import x509

    kept = text_of(place.web_authorities) or ""
    try:
        found = x509.load_pem_x509_certificates(kept.encode())
    except ValueError:  # the word `system`, or none
        return False
    return all(one.issuer != one.subject for one in found)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _part(value: str) -> str:
    return quote(value, safe="/" if value.startswith("/") else "")


def _word(value: str) -> str:
    if value and not any(sign in value for sign in " '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
