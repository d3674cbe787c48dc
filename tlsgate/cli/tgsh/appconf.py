"""Under which address an application is reached, and what a program needs for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.narrow import Narrow
from tlsgate.cli.tgsh.pgconf import SYSTEM, web_root
from tlsgate.core.addresses import host_port
from tlsgate.core.appnames import host_of
from tlsgate.errors import BadAsk


@frozen
class App:
    """An application behind the gateway.

    Attributes:
        name: as the cluster calls it.
        protocol: "http" or "tcp".
        host: under which the gateway serves it.
        port: of the gateway.
    """

    name: str
    protocol: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """What stands in Host."""
        return self.host if self.port == 443 else host_port(self.host, self.port)

    @property
    def uri(self) -> str:
        """Where a browser finds it."""
        scheme = "https" if self.protocol == "http" else self.protocol
        return f"{scheme}://{self.authority}"


def app_of(place: Place, one: Mapping[str, Any]) -> App:
    """The application that the API tells of in *one*.

    Raises:
        BadAsk: no host name can be made of its name.
    """
    host = one["host"] or host_of(str(one["name"]), str(one["public_addr"]), place.host)
    if host is None:
        raise BadAsk(f"{one['name']!r} is no name of a host, and it has no public_addr")
    protocol = "tcp" if one["protocol"] == "tcp" else "http"
    return App(str(one["name"]), protocol, str(host), place.port)


def settings(place: Place, app: App, narrow: Narrow) -> dict[str, str]:
    """Address and files, by the words of `tgsh apps config --format`."""
    return {
        "name": app.name,
        "uri": app.uri,
        "ca": web_root(place),
        "cert": str(narrow.certificate),
        "key": str(narrow.key),
    }


def curl_words(found: Mapping[str, str]) -> str:
    """curl's options and the address, for `curl $(…)`.

    Raises:
        BadAsk: a path would fall into several words there.
    """
    words = ["--cert", found["cert"], "--key", found["key"]]
    if found["ca"] != SYSTEM:
        words = ["--cacert", found["ca"], *words]
    words.append(f"{found['uri']}/")
    if any(shlex.quote(word) != word for word in words):
        raise BadAsk("a path here has signs of the shell's: use --format=json, or TGSH_HOME")
    return " ".join(words)
