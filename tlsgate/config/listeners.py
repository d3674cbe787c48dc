"""Which ports to open: the keys of proxy_service and the version, to listeners.

1. Each standard listener takes its address from its own key, from `listeners`, from the
   legacy `kubernetes` block, or from the version's defaults.
2. Plug-ins' listeners follow in the file's order.
3. Each gets its PROXY rule, limits and timeouts: its own over the process's.
4. Addresses that cannot be open together are refused; equal web and tunnel are one listener.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import define, evolve, field, frozen

from tlsgate.config import ports, schema
from tlsgate.config.endpoints import Bind, bind_of, can_be_inherited, server_endpoint
from tlsgate.config.fields import network
from tlsgate.config.findings import Findings
from tlsgate.config.marks import Path
from tlsgate.config.settings import Limits, Listener, Network, ProxyProtocol, Timeouts
from tlsgate.config.validate import validated


@frozen(kw_only=True)
class Standard:
    """A listener that Teleport has too.

    Attributes:
        protocol: None for the web port, where all routes meet.
        default: its address in v1 when nothing is said; None: closed.
        public_needs_key: True: its public address without its own key is refused.
    """

    name: str
    protocol: str | None
    key: str
    port: int
    public_key: str
    default: str | None = None
    public_needs_key: bool = False


STANDARD = (
    Standard(
        name="web",
        protocol=None,
        key="web_listen_addr",
        port=ports.WEB,
        public_key="public_addr",
        default=schema.WEB_ADDRESS,
    ),
    Standard(
        name="ssh",
        protocol="ssh",
        key="listen_addr",
        port=ports.SSH,
        public_key="ssh_public_addr",
        default=schema.SSH_ADDRESS,
    ),
    Standard(
        name="tunnel",
        protocol="tunnel",
        key="tunnel_listen_addr",
        port=ports.TUNNEL,
        public_key="tunnel_public_addr",
        default=schema.TUNNEL_ADDRESS,
    ),
    Standard(
        name="kube",
        protocol="kubernetes",
        key="kube_listen_addr",
        port=ports.KUBE,
        public_key="kube_public_addr",
        public_needs_key=True,
    ),
    Standard(
        name="mysql",
        protocol="mysql",
        key="mysql_listen_addr",
        port=ports.MYSQL,
        public_key="mysql_public_addr",
        public_needs_key=True,
    ),
    Standard(
        name="postgres",
        protocol="postgres",
        key="postgres_listen_addr",
        port=ports.POSTGRES,
        public_key="postgres_public_addr",
    ),
    Standard(
        name="mongo",
        protocol="mongodb",
        key="mongo_listen_addr",
        port=ports.MONGO,
        public_key="mongo_public_addr",
        public_needs_key=True,
    ),
)
#: Protocol names that are listener names already, under a shorter one.
_OTHER_NAMES = {s.protocol: s.name for s in STANDARD if s.protocol not in (None, s.name)}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_TRUSTED: tuple[Network, ...] = tuple(network(text) for text in schema.TRUSTED)


@frozen(kw_only=True)
class _Source:
    """Where a listener's address was found."""

    written: str
    path: Path


@define
class ListenerReader:
    """Turns a proxy_service block into listeners."""

    proxy: schema.ProxyService
    version: str
    limits: Limits
    timeouts: Timeouts
    findings: Findings
    at: Path = ("proxy_service",)
    blocks: dict[str, schema.ListenerBlock] = field(factory=dict)
    #: Where each listener's address stands.
    places: dict[str, Path] = field(factory=dict)
    binds: dict[str, Bind] = field(factory=dict)
    #: Names that the file opens; a refused address still counts.
    asked: set[str] = field(factory=set)

    def read(self) -> tuple[Listener, ...]:
        """All listeners of the file, faulty ones left out (and reported)."""
        self.blocks = dict(self._read_blocks())
        made = [listener for standard in STANDARD if (listener := self._standard(standard))]
        names = {standard.name for standard in STANDARD}
        for name, block in self.blocks.items():
            if name not in names and (listener := self._plugin(name, block)):
                made.append(listener)
        made = self._merge_tunnel(made)
        self._refuse_overlaps(made)
        self._check_public()
        self._check_workers(made)
        return tuple(made)

    # -- one listener ------------------------------------------------------------

    def _read_blocks(self) -> Iterator[tuple[str, schema.ListenerBlock]]:
        for name, raw in self.proxy.listeners.items():
            path = (*self.at, "listeners", name)
            if not _NAME.fullmatch(name):
                self.findings.wrong(
                    path, "a listener's name is lower case: letters, digits and -", key=True
                )
            elif name in _OTHER_NAMES:
                self.findings.wrong(path, f"this listener is called {_OTHER_NAMES[name]}", key=True)
            else:
                short = isinstance(raw, str)
                block = {"endpoint": raw} if short else raw
                if model := validated(schema.ListenerBlock, block, path, self.findings):
                    if short:  # the place of the address is the listener's own
                        self.places[name] = path
                    yield name, model

    def _standard(self, standard: Standard) -> Listener | None:
        block = self.blocks.get(standard.name, schema.ListenerBlock())
        if (source := self._source(standard, block)) is None:
            if standard.name in self.blocks:
                self.findings.wrong(
                    (*self.at, "listeners", standard.name),
                    f"this listener is not open; add endpoint, or {standard.key}",
                    key=True,
                )
            return None
        self.asked.add(standard.name)
        return self._make(standard.name, standard.protocol, source, standard.port, block)

    def _plugin(self, name: str, block: schema.ListenerBlock) -> Listener | None:
        path = (*self.at, "listeners", name)
        self.asked.add(name)
        if block.endpoint is None:
            if self.findings.trusts(*path):
                self.findings.wrong(path, "endpoint is missing", key=True)
            return None
        source = _Source(written=block.endpoint, path=self._endpoint_path(name))
        return self._make(name, name, source, None, block)

    def _endpoint_path(self, name: str) -> Path:
        return self.places.get(name, (*self.at, "listeners", name, "endpoint"))

    def _source(self, standard: Standard, block: schema.ListenerBlock) -> _Source | None:
        found: list[_Source] = []
        key = (*self.at, standard.key)
        written = getattr(self.proxy, standard.key)
        if written is not None:
            found.append(_Source(written=written, path=key))
        if block.endpoint is not None:
            found.append(_Source(written=block.endpoint, path=self._endpoint_path(standard.name)))
        if standard.name == "kube":
            found += self._legacy_kube()
        for second in found[1:]:
            first = self.findings.marks.place(found[0].path)
            self.findings.wrong(
                second.path, f"the {standard.name} listener has an address already, at {first}"
            )
        if found:
            return found[0]
        if not self.findings.trusts(*key):
            return None  # an address is there, and it was refused
        opens = standard.default is not None and (self.version == "v1" or standard.name == "web")
        return _Source(written=standard.default or "", path=key) if opens else None

    def _legacy_kube(self) -> list[_Source]:
        old = self.proxy.kubernetes
        if old is None or not old.enabled:
            return []
        path = (*self.at, "kubernetes")
        for key in ("kube_listen_addr", "kube_public_addr"):
            if self.proxy.wrote(key):
                place = self.findings.marks.place((*self.at, key), key=True)
                self.findings.wrong(
                    path, f"write kubernetes or {key}, not both ({key} stands at {place})", key=True
                )
                return []
        return [
            _Source(written=old.listen_addr or schema.KUBE_ADDRESS, path=(*path, "listen_addr"))
        ]

    def _make(
        self,
        name: str,
        protocol: str | None,
        source: _Source,
        port: int | None,
        block: schema.ListenerBlock,
    ) -> Listener | None:
        try:
            endpoint, proxied = server_endpoint(source.written, port)
            bind = bind_of(endpoint)
            if bind.kind == "unix" and not bind.name.startswith(("/", "\0")):
                raise ValueError(f"the path {bind.name!r} has to be absolute")
        except ValueError as e:
            self.findings.wrong(source.path, str(e))
            return None
        self.places[name] = source.path
        self.binds[name] = bind
        return Listener(
            name=name,
            protocol=protocol,
            endpoint=endpoint,
            written=source.written,
            proxy_protocol=self._proxy_protocol(name, block, proxied),
            limits=merged(self.limits, block.limits),
            timeouts=merged(self.timeouts, block.timeouts),
        )

    def _proxy_protocol(
        self, name: str, block: schema.ListenerBlock, prefixed: bool
    ) -> ProxyProtocol:
        own, general = block.proxy_protocol, self.proxy.proxy_protocol
        path = (*self.at, "listeners", name, "proxy_protocol")
        rule = own or general
        if own is None:
            path = (*self.at, "proxy_protocol")
        if prefixed and (rule is None or (own is None and rule.mode == "off")):
            if rule is None or rule.trusted is None:
                self._warn_trusted(self.places[name], "haproxy:")
                return ProxyProtocol(on=True, trusted=_TRUSTED)
            return ProxyProtocol(on=True, trusted=rule.trusted)
        if prefixed and rule is not None and rule.mode == "off":
            self.findings.wrong(path, "is off, and the address begins with haproxy:")
        return self.rule(rule, path)

    def rule(self, rule: schema.ProxyProtocol | None, path: Path) -> ProxyProtocol:
        """Whose PROXY headers count by *rule*, which stands at *path*."""
        if rule is None or rule.mode == "off":
            return ProxyProtocol(on=False, trusted=())
        if rule.trusted is None:
            self._warn_trusted(path, "on")
        elif any(not network.prefixlen for network in rule.trusted):
            self._warn_once((*path, "trusted"), "lets anyone name any client address")
        return ProxyProtocol(on=True, trusted=_TRUSTED if rule.trusted is None else rule.trusted)

    def _warn_trusted(self, path: Path, what: str) -> None:
        self._warn_once(
            path,
            f"{what} without trusted: PROXY headers of loopback and private addresses count; "
            "name your balancers, {mode: on, trusted: [10.0.0.5]}",
        )

    def _warn_once(self, path: Path, message: str) -> None:
        name = self.findings.name(path)
        if not any(one.path == name for one in self.findings.warnings):
            self.findings.warn(path, message)

    # -- all of them together ------------------------------------------------------

    def _merge_tunnel(self, made: list[Listener]) -> list[Listener]:
        web, tunnel = self.binds.get("web"), self.binds.get("tunnel")
        if web is None or web != tunnel or (web.kind == "tcp" and not web.port):
            return made
        if "tunnel" in self.blocks:
            self.findings.wrong(
                (*self.at, "listeners", "tunnel"),
                "web and tunnel have one address and are one listener; set it up as web",
                key=True,
            )
        self.asked.discard("tunnel")
        return [listener for listener in made if listener.name != "tunnel"]

    def _refuse_overlaps(self, made: list[Listener]) -> None:
        for index, later in enumerate(made):
            for earlier in made[:index]:
                if not self.binds[later.name].overlaps(self.binds[earlier.name]):
                    continue
                # A default that is in the way stands nowhere in the file.
                first, second = sorted((earlier, later), key=lambda one: self._is_written(one.name))
                place = self._where(first)
                self.findings.wrong(
                    self.places[second.name],
                    f"{second.written!r} cannot be open beside {first.written!r} of "
                    f"the {first.name} listener ({place})",
                )

    def refuse_beside(self, endpoint: str, written: str, path: Path) -> None:
        """Refuse another server's *endpoint* where a listener is in its way."""
        bind = bind_of(endpoint)
        for name, other in self.binds.items():
            if bind.overlaps(other):
                self.findings.wrong(path, f"{written!r} is in the way of the {name} listener")

    def _is_written(self, name: str) -> bool:
        return self.places[name] in self.findings.marks.values

    def _where(self, listener: Listener) -> str:
        if self._is_written(listener.name):
            return str(self.findings.marks.place(self.places[listener.name]))
        return f"{self.version} opens it by default"

    def _check_public(self) -> None:
        for standard in STANDARD:
            path = (*self.at, standard.public_key)
            if not (standard.public_needs_key and getattr(self.proxy, standard.public_key)):
                continue
            if standard.name not in self.asked and self.findings.trusts(*self.at, standard.key):
                self.findings.wrong(path, f"needs {standard.key} beside it", key=True)
        if self.proxy.wrote("peer_public_addr") and not self.proxy.wrote("peer_listen_addr"):
            self.findings.wrong(
                (*self.at, "peer_public_addr"), "needs peer_listen_addr beside it", key=True
            )

    def _check_workers(self, made: list[Listener]) -> None:
        if self.proxy.workers == 1:
            return
        for listener in made:
            if not can_be_inherited(listener.endpoint):
                self.findings.wrong(
                    self.places[listener.name],
                    f"{listener.written!r} gives no descriptor that {self.proxy.workers} workers "
                    "could share; write tcp:, unix: or systemd:, or workers: 1",
                )


def merged(base: Any, block: schema.Limits | schema.Timeouts | None) -> Any:
    """*base* with what *block* names."""
    if block is None:
        return base
    return evolve(base, **{name: getattr(block, name) for name in block.model_fields_set})
