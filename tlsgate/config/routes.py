"""Static routes: entries of `proxy_service.routes` to `core.routing.Route`.

Closed by default: a route demands a verified certificate and a rule that names it, or says
`unsafe_anyone: yes`, or passes TLS through to a target that checks for itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field

from tlsgate.config.endpoints import client_endpoint, split, target_of
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings, nearest
from tlsgate.config.marks import Path
from tlsgate.config.schema import ProxyService, RouteBlock, RuleBlock
from tlsgate.config.validate import validated
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule, Route, SendProxy
from tlsgate.errors import Place

#: Tokens that a protocol's own clients offer, where a route says none. The first is
#: libpq's (https://www.iana.org/assignments/tls-extensiontype-values/); for ssh it is ours.
_OWN_TOKENS = {"postgres": (b"postgresql",), "ssh": (b"ssh",)}
_HTTP = b"http/1.1"


@define
class RouteReader:
    """Turns the routes of a proxy_service block into routes of the table."""

    proxy: ProxyService
    listeners: frozenset[str]
    #: Hosts of public addresses, in their one spelling; they are the console's.
    public: frozenset[str]
    files: Files
    findings: Findings
    #: Whether certificates of a cluster are verified besides those of `client_ca_files`.
    cluster: bool = False
    at: Path = ("proxy_service", "routes")
    _read: list[tuple[Route, Path]] = field(factory=list)

    def places(self) -> Iterator[tuple[str, Place]]:
        """Where each route and its keys stand, by "proxy_service.routes.NAME.KEY"."""
        for route, path in self._read:
            name = ".".join((*map(str, self.at), route.name))
            yield name, self.findings.marks.place(path)
            for key in RouteBlock.model_fields:
                if (*path, key) in self.findings.marks.values:
                    yield f"{name}.{key}", self.findings.marks.place((*path, key))

    @property
    def entries(self) -> tuple[tuple[Route, Path], ...]:
        """Each route with its place, once they are read."""
        return tuple(self._read)

    def read(self) -> tuple[Route, ...]:
        """All routes of the file, faulty ones left out (and reported)."""
        default_cas = tuple(
            str(self.files.existing(name, (*self.at[:-1], "client_ca_files", index)))
            for index, name in enumerate(self.proxy.client_ca_files)
        )
        for index, raw in enumerate(self.proxy.routes):
            path = (*self.at, index)
            block = validated(RouteBlock, raw, path, self.findings)
            if block is None:
                continue
            route = self._route(block, path, default_cas)
            if self.findings.trusts(*path):
                self._read.append((route, path))
        self._refuse_same()
        return tuple(route for route, _ in self._read)

    # -- one route -----------------------------------------------------------------

    def _route(self, block: RouteBlock, path: Path, default_cas: tuple[str, ...]) -> Route:
        if not block.wrote("name") and self.findings.trusts(*path, "name"):
            self._wrong(path, "name", "is missing")
        self._check_listener(block, path)
        self._check_names(block, path)
        names = block.sni
        alpn = tuple(token.encode() for token in block.alpn)
        if not block.wrote("alpn"):
            # libpq offers its token inside SSLRequest too, so a name alone does not do.
            if block.protocol == "postgres" or (block.protocol == "ssh" and not names):
                alpn = _OWN_TOKENS[block.protocol]
        plain = block.plain if block.wrote("plain") else self._plain_by_default(block, names)
        cas = tuple(
            str(self.files.existing(name, (*path, "client_ca_files", index)))
            for index, name in enumerate(block.client_ca_files)
        )
        if block.passthrough:
            self._check_passthrough(block, path)
        else:
            self._check_certificates(block, path, cas or default_cas)
        self._check_reach(block, path, names, plain)
        rule = CertRule.NONE if block.passthrough else CertRule(block.client_cert)
        return Route(
            name=block.name,
            protocol=block.protocol,
            listener=block.listener,
            server_names=names,
            alpn=alpn,
            client_cert=rule,
            client_ca_files=() if rule is CertRule.NONE else cas or default_cas,
            allow=tuple(map(_rule, block.allow)),
            require_role=block.require_role,
            unsafe_anyone=block.unsafe_anyone,
            passthrough=block.passthrough,
            plain=plain,
            target=self._target(block, path),
            send_proxy=SendProxy(block.send_proxy),
            idle_seconds=block.idle_seconds,
        )

    def _check_listener(self, block: RouteBlock, path: Path) -> None:
        if block.listener is not None and block.listener not in self.listeners:
            hint = nearest(block.listener, self.listeners)
            mean = f"; did you mean {hint}?" if hint else ""
            known = ", ".join(sorted(self.listeners)) or "none"
            self._wrong(path, "listener", f"no such listener is open (open: {known}){mean}")

    def _target(self, block: RouteBlock, path: Path) -> str | None:
        if block.target is None:
            # A drop-in may serve the connection itself; what only carries bytes cannot.
            relays = block.passthrough or block.protocol in ("raw", *_OWN_TOKENS)
            if relays and self.findings.trusts(*path, "target"):
                self._wrong(path, "target", f"is missing: {block.protocol} needs to know where to")
            return None
        try:
            endpoint = client_endpoint(block.target)
            target = target_of(endpoint)
        except ValueError as e:
            self._wrong(path, "target", str(e))
            return block.target
        if target.kind == "unix" and not target.path.startswith(("/", "\0")):
            self._wrong(path, "target", f"the path {target.path!r} has to be absolute")
        if (roots := target.options.get("trustRoots")) is None:
            return endpoint
        parts = split(endpoint)
        found = self.files.at(roots)
        if not found.is_dir():  # the files in a folder are read with their contexts
            self.files.existing(roots, (*path, "target"))
        return str(evolve(parts, named={**parts.named, "trustRoots": str(found)}))

    def _check_names(self, block: RouteBlock, path: Path) -> None:
        for key, written in (("sni", block.sni), ("alpn", block.alpn)):
            for index, one in enumerate(written):
                if one in written[:index]:
                    self.findings.wrong((*path, key, index), f"{one} stands here twice")
                # A wildcard over it is no harm: a public name is never claimed.
                if key == "sni" and one in self.public:
                    self.findings.wrong(
                        (*path, key, index),
                        f"{one} is the gate's own public address; the console would be gone",
                    )

    def _plain_by_default(self, block: RouteBlock, names: tuple[str, ...]) -> bool:
        """An open ssh route is taken by its banner too; nothing is lowered by it."""
        return (
            block.protocol == "ssh"
            and block.client_cert == "none"
            and block.unsafe_anyone
            and not names
        )

    # -- what depends on two keys ----------------------------------------------------

    def _check_passthrough(self, block: RouteBlock, path: Path) -> None:
        checks = ("client_cert", "client_ca_files", "allow", "require_role", "unsafe_anyone")
        for key in (*checks, "plain"):
            if block.wrote(key):
                self._wrong(
                    path, key, "does not go with passthrough, where the target checks", key=True
                )
        if block.protocol != "raw":
            self._wrong(path, "protocol", "has to be raw with passthrough")

    def _check_certificates(self, block: RouteBlock, path: Path, cas: tuple[str, ...]) -> None:
        if not self.findings.trusts(*path, "client_cert"):
            return
        if block.client_cert == "required":
            self._check_required(block, path)
        else:
            if not block.unsafe_anyone and self.findings.trusts(*path, "unsafe_anyone"):
                self._wrong(
                    path,
                    "client_cert",
                    f"{block.client_cert} lets anyone reach the target; write required with "
                    "allow, or unsafe_anyone: yes",
                )
            for key in ("allow", "require_role"):
                if block.wrote(key):
                    self._wrong(path, key, "has no effect without client_cert: required", key=True)
        if block.client_cert == "none":
            if block.wrote("client_ca_files"):
                self._wrong(
                    path, "client_ca_files", "has no effect with client_cert: none", key=True
                )
        elif not cas and not self.cluster and self.findings.trusts(*path, "client_ca_files"):
            self._wrong(
                path,
                "client_cert",
                f"{block.client_cert} needs client_ca_files here or in proxy_service, "
                "to verify against",
            )

    def _check_required(self, block: RouteBlock, path: Path) -> None:
        if block.require_role and not self.cluster and self.findings.trusts(*path, "require_role"):
            self._wrong(
                path,
                "require_role",
                "roles are a cluster's, and auth_service is off; write allow",
                key=True,
            )
        named = block.allow or block.require_role
        if not named and self.findings.trusts(*path, "allow"):
            self._wrong(
                path,
                "allow",
                "client_cert: required needs a rule that names who may come in, "
                "such as allow: [{cn: alice}] or require_role: [access]",
            )
        if block.unsafe_anyone:
            self._wrong(
                path, "unsafe_anyone", "contradicts client_cert: required; leave it out", key=True
            )
        if block.plain:
            self._wrong(
                path, "plain", "a plain opening shows no certificate; client_cert is required",
                key=True,
            )  # fmt: skip

    def _check_reach(
        self, block: RouteBlock, path: Path, names: tuple[str, ...], plain: bool
    ) -> None:
        if plain and block.protocol == "raw":
            self._wrong(path, "plain", "raw has no opening of its own to be known by", key=True)
        if plain and names:
            self._wrong(path, "plain", "a plain opening carries no name; leave sni out", key=True)
        written = block.sni or block.alpn or not self.findings.trusts(*path, "sni")
        if not written and block.protocol == "raw" and block.listener in (None, "web"):
            self._wrong(
                path,
                "sni",
                "sni or alpn is missing: this route would take the console's connections too",
            )

    def _wrong(self, path: Path, name: str, message: str, *, key: bool = False) -> None:
        self.findings.wrong((*path, name), message, key=key)

    # -- two routes ----------------------------------------------------------------------

    def _refuse_same(self) -> None:
        names: dict[str, Path] = {}
        claims: dict[_Claim, list[tuple[Route, Path]]] = {}
        for route, path in self._read:
            if route.name in names:
                first = self.findings.marks.place((*names[route.name], "name"))
                self._wrong(path, "name", f"{route.name} is the name of the route at {first} too")
            names.setdefault(route.name, path)
            told: set[Path] = set()
            for claim, why in _claims(route):
                for other, other_path in claims.get(claim, ()):
                    if other_path in told or not _listeners_meet(route, other):
                        continue
                    told.add(other_path)
                    place = self.findings.marks.place((*other_path, "name"))
                    self._wrong(
                        path, "name", f"takes what {other.name} at {place} takes before it: {why}"
                    )
            for claim, _ in _claims(route):
                if claim[2] != _ALL or _takes_all(route):
                    claims.setdefault(claim, []).append((route, path))


#: What a route takes: the way in ("tls", or the opening of a protocol), a name pattern, a token.
_Claim = tuple[str, str, bytes]
_NO_TOKEN = b""
#: Longer than any token may be: whatever is offered.
_ALL = b"*" * 256


def _takes_all(route: Route) -> bool:
    return route.passthrough and not route.alpn


def _claims(route: Route) -> Iterator[tuple[_Claim, str]]:
    """The connections that *route* takes, each with its words; equal claims collide.

    Every route also meets an earlier one that takes all. One that takes all is the last
    resort of its name: it collides with nothing before it but another of its kind.
    """
    for name in route.server_names or ("",):
        words = name or "any name"
        yield (
            ("tls", name, _ALL),
            f"it passes on everything for {words}; put the narrower one first",
        )
        if _takes_all(route):
            continue
        for token in route.alpn:
            yield ("tls", name, token), f"{words} with ALPN {token.decode()}"
        if not route.alpn or _HTTP in route.alpn:
            yield ("tls", name, _NO_TOKEN), f"{words} without ALPN"
        if route.protocol == "postgres":
            yield ("postgres", name, _NO_TOKEN), f"{words} after SSLRequest"
    if route.plain:
        yield ("plain", route.protocol, _NO_TOKEN), f"the plain opening of {route.protocol}"


def _listeners_meet(one: Route, other: Route) -> bool:
    return one.listener is None or other.listener is None or one.listener == other.listener


def _rule(entry: RuleBlock) -> Rule:
    if entry.cn is not None:
        return Rule(Kind.CN, entry.cn)
    if entry.san is not None:
        return Rule(Kind.SAN, entry.san)
    assert entry.dns is not None
    return Rule(Kind.DNS, entry.dns)
