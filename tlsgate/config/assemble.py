"""Checked blocks to one `Settings`: defaults filled in, files found, the mode decided."""

from __future__ import annotations

import resource
import socket
from pathlib import Path as FilePath
from typing import Literal, cast

from attrs import define

from tlsgate.config import agents, known, moving, ports, schema
from tlsgate.config.cluster import address, auth_listeners, joined
from tlsgate.config.endpoints import bind_of, server_endpoint
from tlsgate.config.fields import kind
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings
from tlsgate.config.listeners import STANDARD, ListenerReader, merged
from tlsgate.config.marks import Path, resolve
from tlsgate.config.routes import RouteReader
from tlsgate.config.settings import (
    AuthSettings,
    KeyPair,
    Limits,
    Listener,
    LogSettings,
    Network,
    Public,
    Settings,
    Timeouts,
)

Version = Literal["v1", "v2", "v3"]
Mode = Literal["separate", "multiplex"]


@define
class Assembly:
    """Makes the settings of one file."""

    file: FilePath
    findings: Findings
    files: Files
    data_dir: str | FilePath | None

    def settings(self, found: known.File, version: Version) -> Settings:
        teleport, auth, proxy = found.teleport, found.auth_service, found.proxy_service
        node = teleport.nodename or socket.gethostname()
        limits = self._limits(teleport, proxy)
        timeouts = Timeouts(**dict(proxy.timeouts))
        reader = ListenerReader(proxy, version, limits, timeouts, self.findings)
        listeners = reader.read()
        diag = self._diag(teleport, reader)
        auth_port = auth_listeners(auth, proxy, reader, self.findings)
        agent, join = agents.agent(found, node, self.files, self.findings)
        if agent is None:
            join = joined(teleport, auth, proxy, self.files, self.findings)
        public = self._public(proxy, listeners)
        names = frozenset(address.rpartition(":")[0] for address in public.web)
        router = RouteReader(
            proxy,
            frozenset(reader.asked),
            names,
            self.files,
            self.findings,
            cluster=auth.enabled or join is not None,
        )
        routes = router.read()
        protocols = self._protocols(proxy)
        places = {
            f"proxy_service.protocols.{name}": self.findings.marks.place(
                ("proxy_service", "protocols", name), key=True
            )
            for name in protocols
        }
        data_dir = self._data_dir(teleport)
        plugins = proxy.plugins_dir
        authentication = auth.authentication
        mode = self._mode(auth, proxy, reader, version)
        if agent is None:
            moving.warn(
                proxy, version, mode, reader.asked, reader.binds, router.entries, self.findings
            )
        return Settings(
            file=self.file,
            version=version,
            mode=mode,
            cluster_name=auth.cluster_name or node,
            node_name=node,
            data_dir=data_dir,
            plugins_dir=self.files.at(plugins) if plugins else data_dir / "plugins",
            diag=diag,
            workers=proxy.workers,
            auth_enabled=auth.enabled,
            auth_written=found.wrote("auth_service"),
            proxy_enabled=proxy.enabled,
            listeners=(*(listeners if proxy.enabled else ()), *auth_port),
            routes=routes if proxy.enabled else (),
            protocols=protocols,
            client_ca_files=tuple(str(self.files.at(name)) for name in proxy.client_ca_files),
            keypairs=self._keypairs(proxy),
            keypairs_reload_seconds=proxy.https_keypairs_reload_interval,
            public=public,
            strict_sni=proxy.strict_sni,
            limits=limits,
            timeouts=timeouts,
            log=self._log(teleport.log),
            audit_strict=teleport.audit == "strict",
            audit_keep_days=teleport.audit_keep_days,
            networking=_networking(auth, mode),
            authentication={}
            if authentication is None
            else authentication.model_dump(
                include=schema.TOLD, exclude_unset=True, exclude_none=True
            ),
            auth=AuthSettings(
                public=tuple(address(one, ports.AUTH) for one in auth.public_addr),
                tokens=auth.tokens,
                locking_mode=None if authentication is None else authentication.locking_mode,
            ),
            join=join,
            agent=agent,
            strict_stale_seconds=proxy.strict_stale_seconds,
            refuse_seconds=proxy.refuse_seconds,
            settle_seconds=auth.settle_seconds,
            forwarders=self._forwarders(proxy),
            warnings=self.findings.sorted_warnings(),
            places={**places, **dict(router.places())},
        )

    def _limits(self, teleport: schema.Teleport, proxy: schema.ProxyService) -> Limits:
        base = Limits(
            connections=teleport.connection_limits.max_connections or default_connections(),
            unauthenticated=schema.UNAUTHENTICATED,
            unauthenticated_per_address=schema.UNAUTHENTICATED_PER_ADDRESS,
            handshakes_per_second_per_address=schema.HANDSHAKES_PER_SECOND_PER_ADDRESS,
        )
        made = cast(Limits, merged(base, proxy.limits))
        bearable = default_connections()
        if made.connections > bearable:
            path: Path = ("teleport", "connection_limits", "max_connections")
            if proxy.limits.connections is not None:
                path = ("proxy_service", "limits", "connections")
            self.findings.warn(
                path,
                f"{made.connections} connections need {2 * made.connections + 256} open "
                f"files; this process may have enough for {bearable}",
            )
        return made

    def _forwarders(self, proxy: schema.ProxyService) -> tuple[Network, ...]:
        """Whose X-Forwarded-For counts."""
        found = proxy.trust_x_forwarded_for
        path: Path = ("proxy_service", "trust_x_forwarded_for")
        if tuple(map(str, found)) == schema.TRUSTED:
            self.findings.warn(
                path,
                "yes has X-Forwarded-For of loopback and private addresses count; name your "
                "balancers, [10.0.0.5]",
            )
        elif any(not one.prefixlen for one in found):
            self.findings.warn(path, "lets anyone name any client address")
        return found

    def _data_dir(self, teleport: schema.Teleport) -> FilePath:
        if self.data_dir is not None:
            return FilePath(self.data_dir).absolute()
        return self.files.at(teleport.data_dir)

    def _diag(self, teleport: schema.Teleport, reader: ListenerReader) -> str | None:
        if teleport.diag_addr is None:
            return None
        path: Path = ("teleport", "diag_addr")
        try:
            endpoint, proxied = server_endpoint(teleport.diag_addr, ports.DIAG)
            if proxied:
                raise ValueError("haproxy: is not read on the diagnostic address")
        except ValueError as e:
            self.findings.wrong(path, str(e))
            return None
        reader.refuse_beside(endpoint, teleport.diag_addr, path)
        return endpoint

    def _mode(
        self,
        auth: schema.AuthService,
        proxy: schema.ProxyService,
        reader: ListenerReader,
        version: Version,
    ) -> Mode:
        mode = auth.proxy_listener_mode
        if mode is None:
            return "separate" if version == "v1" else "multiplex"
        legacy = any(
            one.name in reader.asked or not self.findings.trusts("proxy_service", one.key)
            for one in STANDARD[1:]
        )
        if mode == "separate" and version != "v1" and proxy.enabled and not legacy:
            if self.findings.trusts("version"):
                self.findings.wrong(
                    ("auth_service", "proxy_listener_mode"),
                    f"separate sends clients to ports that {version} does not open; write "
                    "multiplex, or add listen_addr and tunnel_listen_addr to proxy_service",
                )
        return cast(Mode, mode)

    def _protocols(self, proxy: schema.ProxyService) -> dict[str, dict[str, object]]:
        made: dict[str, dict[str, object]] = {}
        for name, raw in proxy.protocols.items():
            if raw is None:
                made[name] = {}
            elif not isinstance(raw, dict):
                self.findings.wrong(
                    ("proxy_service", "protocols", name),
                    f"has to be a mapping (key: value), not {kind(raw)}",
                )
            else:
                made[name] = cast("dict[str, object]", resolve(raw))
        return made

    def _keypairs(self, proxy: schema.ProxyService) -> tuple[KeyPair, ...]:
        at: Path = ("proxy_service",)
        made: list[KeyPair] = []
        key, cert = proxy.https_key_file, proxy.https_cert_file
        if key is not None and cert is not None:
            made.append(
                KeyPair(
                    cert_file=self.files.existing(cert, (*at, "https_cert_file")),
                    key_file=self.files.existing(key, (*at, "https_key_file")),
                )
            )
        elif key is not None or cert is not None:
            there, lacks = ("https_key_file", "https_cert_file")[:: 1 if key else -1]
            if self.findings.trusts(*at, lacks):
                self.findings.wrong((*at, there), f"needs {lacks} beside it", key=True)
        for index, pair in enumerate(proxy.https_keypairs):
            path = (*at, "https_keypairs", index)
            made.append(
                KeyPair(
                    cert_file=self.files.existing(pair.cert_file, (*path, "cert_file")),
                    key_file=self.files.existing(pair.key_file, (*path, "key_file")),
                )
            )
        return tuple(made)

    def _public(self, proxy: schema.ProxyService, listeners: tuple[Listener, ...]) -> Public:
        web = next((one for one in listeners if one.name == "web"), None)
        bind = bind_of(web.endpoint) if web else None
        made: dict[str, tuple[str, ...]] = {}
        for standard in STANDARD:
            port = standard.port
            if standard.name == "web":
                port = bind.port if bind and bind.kind == "tcp" and bind.port else ports.HTTPS
            written = getattr(proxy, standard.public_key)
            if standard.name == "kube" and not written and proxy.kubernetes:
                written = proxy.kubernetes.public_addr
            made[standard.name] = tuple(address(text, port) for text in written)
        return Public(**made)

    def _log(self, log: schema.Log) -> LogSettings:
        output = {"stdout": "stdout", "out": "stdout", "1": "stdout", "stderr": "stderr",
                  "err": "stderr", "error": "stderr", "2": "stderr"}.get(log.output)  # fmt: skip
        if log.output == "syslog":
            self.findings.warn(
                ("teleport", "log", "output"), "syslog is not written to; lines go to stderr"
            )
            output = "stderr"
        return LogSettings(
            output=output or str(self.files.at(log.output)),
            severity=cast("Literal['debug', 'info', 'warn', 'error']", log.severity),
            format=cast("Literal['text', 'json']", log.format.output),
        )


def default_connections() -> int:
    """As many connections as the descriptors of this process carry, up to a bound."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return schema.CONNECTIONS
    return max(16, min(schema.CONNECTIONS, (soft - 256) // 2))


def _networking(auth: schema.AuthService, mode: Mode) -> dict[str, object] | None:
    """The cluster's networking as the file has it; one key of it makes all of it the file's."""
    said = {name: getattr(auth, name) for name in schema.NETWORKING if auth.wrote(name)}
    if not said and not auth.wrote("proxy_listener_mode"):
        return None
    return {**said, "proxy_listener_mode": mode}
