"""The tree of resources that all web connections of one configuration share.

The documents and the page depend on the configuration alone, so they are made once.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tlsgate.config.settings import Settings
from tlsgate.core.addresses import host_port, split
from tlsgate.core.migration import mode_in_force
from tlsgate.core.names import normal
from tlsgate.errors import BadName
from tlsgate.interfaces import ICluster, IGateProtocol
from tlsgate.protocols import addresses
from tlsgate.protocols.web import answers, console, page, pages, ping
from tlsgate.protocols.web.anyone import Anyone
from tlsgate.protocols.web.asked import Place


class GateSite(Site):
    """The site of one configuration.

    Attributes:
        settings: that configuration; `protocol.Web` compares it to tell a reload.
    """

    def __init__(
        self,
        settings: Settings,
        protocols: Mapping[str, IGateProtocol],
        web_address: IAddress | None,
        clock: IReactorTime,
        *,
        show_routes: bool = True,
        cluster: ICluster | None = None,
    ) -> None:
        self.settings = settings
        self._cluster = cluster
        self._said = self._says()
        self._grow = functools.partial(
            _tree, protocols=protocols, web_address=web_address, show_routes=show_routes
        )
        super().__init__(self._tree(), reactor=clock, parsePOSTFormSubmission=False)

    def _tree(self) -> Resource:
        mode, factor = self._said
        settings = attrs.evolve(self.settings, mode=mode)
        if factor is not None:
            told = {**settings.authentication, "second_factor": factor}
            settings = attrs.evolve(settings, authentication=told)
        return self._grow(settings, cluster=self._cluster)

    def _says(self) -> tuple[Any, str | None]:
        """The mode, and the second factor, as the cluster has them now."""
        if self._cluster is None:
            return self.settings.mode, None
        mode = mode_in_force(self._cluster.mode, [one.name for one in self.settings.listeners])
        return mode, getattr(self._cluster, "second_factor", None)

    def getResourceFor(self, request: Any) -> Any:
        """Find what answers; the documents follow the cluster, reload or not."""
        said = self._says()
        if said != self._said:
            self._said = said
            self.resource = self._tree()
        return super().getResourceFor(request)

    def log(self, request: http.Request) -> None:
        """Write nothing: the gate logs each connection at its end."""


class Constant(Resource):
    """An answer that is made already, for GET and HEAD at exactly its path."""

    isLeaf = True

    def __init__(self, kind: bytes, body: bytes, caching: bytes = b"no-store") -> None:
        super().__init__()
        self._kind = kind
        self._body = body
        self._caching = caching

    def render(self, request: Request) -> int:
        """Answer; a path that goes on below this one is not found."""
        if request.postpath:
            answers.refuse(request, 404)
        elif request.method not in (b"GET", b"HEAD"):
            answers.refuse(request, 405)
        else:
            request.setHeader(b"Cache-Control", self._caching)
            answers.send(request, 200, self._kind, self._body)
        return NOT_DONE_YET


class Ping(Constant):
    """/webapi/ping, and /webapi/ping/<connector>."""

    def __init__(self, settings: Settings, parts: list[Mapping[str, Any]]) -> None:
        super().__init__(answers.JSON_TYPE, answers.json_body(ping.ping(settings, parts)))
        self._settings = settings
        self._parts = parts

    def render(self, request: Request) -> int:
        """Answer with the connector's document; 400 names those there are."""
        rest = request.postpath or []
        if len(rest) != 1 or request.method not in (b"GET", b"HEAD"):
            return super().render(request)
        connector = rest[0].decode("utf-8", "replace")
        try:
            document = ping.ping(self._settings, self._parts, connector)
        except ping.NoConnector as error:
            answers.send(request, 400, answers.JSON_TYPE, answers.error_body(str(error)))
        else:
            answers.send(request, 200, answers.JSON_TYPE, answers.json_body(document))
        return NOT_DONE_YET


class Branch(Resource):
    """A path that only leads on to others."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Find nothing: the children that there are have been found before."""
        return Nothing()

    def render(self, request: Request) -> int:
        """Answer that there is nothing at the branch itself."""
        answers.refuse(request, 404)
        return NOT_DONE_YET


class Nothing(Branch):
    """Whatever is not there."""

    isLeaf = True


def _tree(
    settings: Settings,
    protocols: Mapping[str, IGateProtocol],
    web_address: IAddress | None,
    show_routes: bool,
    cluster: ICluster | None = None,
) -> Resource:
    listeners = listeners_of(settings, web_address)
    parts = list(_parts(settings, protocols, listeners))
    landing = page.landing(
        settings, protocols, listeners, show_routes=show_routes, login=cluster is not None
    )
    root, webapi = Branch(), Branch()
    root.putChild(b"", Constant(answers.HTML_TYPE, landing, b"no-cache"))
    root.putChild(b"webapi", webapi)
    webapi.putChild(b"ping", Ping(settings, parts))
    webapi.putChild(
        b"find", Constant(answers.JSON_TYPE, answers.json_body(ping.find(settings, parts)))
    )
    if cluster is not None:
        root.putChild(b"v1", Anyone(cluster))
        proxy = pages.reached(addresses.first(settings.public.web) or listeners.get("web"))
        place = Place(
            door=cluster.door,
            name=cluster.name,
            proxy=proxy,
            routes=tuple(settings.routes),
            publics=tuple(public_names(settings.public.web)),
            addresses=tuple(settings.public.web),
        )
        root.putChild(b"web", console.tree(place))
        known = Branch()
        root.putChild(b".well-known", known)
        known.putChild(b"jwks.json", Jwks(cluster))
    return root


class Jwks(Branch):
    """/.well-known/jwks.json: the keys by which applications verify our tokens (RFC 7517)."""

    def __init__(self, cluster: ICluster) -> None:
        super().__init__()
        self._cluster = cluster

    def render(self, request: Request) -> int:
        """Answer with the keys as they are now; a cache may be behind by a minute."""
        keys = dict(getattr(self._cluster, "jwks", None) or {"keys": []})
        body = answers.json_body(keys)
        return Constant(answers.JSON_TYPE, body, b"public, max-age=60").render(request)


def public_names(addresses: Iterable[str]) -> Iterator[str]:
    """The names in public addresses, without those that are no names."""
    for address in addresses:
        with contextlib.suppress(BadName):
            yield normal(split(address)[0])


def listeners_of(settings: Settings, web_address: IAddress | None) -> Mapping[str, str]:
    """Addresses of the open listeners, as advertised.

    Args:
        settings: where each listener's endpoint is written.
        web_address: where a web connection arrived; it tells the port when the endpoint
            leaves that to the system (port 0, a socket that was handed to us).
    """
    listeners = dict(addresses.open_listeners(settings))
    port = getattr(web_address, "port", None)
    written = listeners.get("web")
    if isinstance(port, int) and (written is None or written.endswith(":0")):
        host = split(written)[0] if written else "0.0.0.0"
        listeners["web"] = host_port(host, port)
    return {name: where for name, where in listeners.items() if not where.endswith(":0")}


_log = Logger()


def _parts(
    settings: Settings, protocols: Mapping[str, IGateProtocol], listeners: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    for protocol in protocols.values():
        # A drop-in's fault may cost its own fields, not the document.
        with _log.failuresHandled("{name} cannot advertise", name=protocol.name):
            yield json.loads(json.dumps(dict(protocol.advertise(settings, listeners))))
