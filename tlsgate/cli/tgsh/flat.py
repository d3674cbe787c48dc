"""What a login has left on this machine, read with nothing but the language.

`home` writes these files and is the one that knows all of them; this is what
`tgsh proxy ssh` needs before every connection, without the libraries behind it.
"""

from __future__ import annotations

import os
import re

from tlsgate.core.addresses import host_port

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: A profile is a dozen short lines, a file of authorities has some KiB.
LIMIT_BYTES = 1 << 20
#: A line of a profile as `Home.save` writes it; YAML has many more.
_LINE = re.compile(r'([a-z_]+): (?:"([^"\\]*)"|([a-z][a-z0-9_.@-]*))', re.ASCII)
#: Plain words that mean something else in YAML, and that `Home.save` writes otherwise.
_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "null"})
#: A part of a path: no separator, no way up, nothing hidden.
_PART = re.compile(r"(?![.-])[\w.@+:-]{1,128}", re.ASCII)


def read_flat(text: str) -> Any:
    """The YAML *text*: as `save` writes it without a YAML library, which takes 40 ms to import.

    Raises:
        ValueError: it is no YAML.
    """
    found: dict[str, object] = {}
    for line in text.splitlines():
        seen = _LINE.fullmatch(line)
        if seen is None or seen[3] in _WORDS:
            return _read_any(text)
        key, quoted, plain = seen.groups()
        found[key] = quoted if plain is None else {"true": True, "false": False}.get(plain, plain)
    return found


def _read_any(text: str) -> Any:
    """What somebody has edited."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError("no YAML") from e


def is_part(name: str) -> bool:
    """Whether *name* may be one part of a path."""
    return _PART.fullmatch(name) is not None


def part(name: str) -> str:
    """*name* as one part of a path.

    Raises:
        BadAsk: it would lead elsewhere. A gateway tells us some of these names.
    """
    if not is_part(name):
        bad(f"{name!r} cannot be the name of a file: it is refused")
    return name


def bad(why: str) -> NoReturn:
    """Say what is wrong on this machine; only then are the errors imported."""
    from tlsgate.errors import BadAsk

    raise BadAsk(why)


class Place:
    """A gateway, who is logged in there, and the files of the login.

    Attributes:
        folder: of all profiles.
        host, port: the gateway's web address.
        key, certificate, authorities: of the user, and of the cluster's hosts.
        web_authorities: by whom the web certificate is believed.
        cache: the last answer to /webapi/ping.
    """

    def __init__(
        self, folder: str, host: str, port: int, user: str, cluster: str, told: str = ""
    ) -> None:
        self.folder, self.host, self.port = folder, host, port
        self.user, self.cluster = user, cluster
        #: The way that the profile has: "multiplex", or the address of the jump host.
        self.told = told
        keys = f"{folder}/keys/{part(host)}"
        self.key = f"{keys}/{part(user)}"
        self.certificate = f"{self.key}-x509.pem"
        self.ssh_certificate = f"{self.key}-ssh/{part(cluster)}-cert.pub"
        self.authorities = f"{keys}/cas/{part(cluster)}.pem"
        self.web_authorities = f"{keys}/certs.pem"
        self.cache = f"{keys}/ping.json"
        self.known_hosts = f"{folder}/known_hosts"

    @property
    def where(self) -> str:
        """The gateway's address as people write it."""
        return host_port(self.host, self.port)

    @property
    def login(self) -> str:
        """The command that logs in there."""
        return f"tgsh login --proxy={self.where}"


def place_of(folder: str, host: str | None, port: int | None) -> Place:
    """The profile of the gateway at *host*, or the one in use.

    Raises:
        NotLoggedIn: there is none.
        BadAsk: a file is none of tgsh's.
    """
    current = host or (text_of(f"{folder}/current-profile") or "").strip()
    file = f"{folder}/{part(current)}.yaml" if current else ""
    text = text_of(file) if file else None
    if text is None:
        from tlsgate.cli.faults import NotLoggedIn

        written = f"{host}:{port}" if host and port else host or "HOST[:PORT]"
        raise NotLoggedIn("you are not logged in", f"tgsh login --proxy={written}")
    try:
        found = read_flat(text)
        address, user, cluster = (
            str(found[name]) for name in ("web_proxy_addr", "user", "cluster")
        )
        name, _, number = address.rpartition(":")
        routing = found.get("tls_routing_enabled", True) is not False
        told = "multiplex" if routing else str(found.get("ssh_proxy_addr", ""))
        return Place(folder, name.strip("[]"), port or int(number), user, cluster, told)
    except (ValueError, LookupError, TypeError, AttributeError):
        bad(f"{file} is no profile: log in again with `tgsh login`")


def text_of(file: str) -> str | None:
    """The text of *file*; None where there is none.

    Raises:
        BadAsk: it cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            content = opened.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES:
            raise ValueError
        return content.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as e:
        bad(f"{file} cannot be read: {e.strerror}")
    except ValueError:
        bad(f"{file} cannot be read: it is no file of tgsh's")


def default_folder() -> str:
    """Where the profiles are unless somebody says otherwise."""
    return os.environ.get("TGSH_HOME") or os.path.expanduser("~/.tgsh")
