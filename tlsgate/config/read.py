"""A configuration file to one `Settings`, or every problem that it has.

1. `marks` reads the YAML; `validate` checks it against the schema, block by block.
2. `listeners` and `routes` check what depends on several keys.
3. What Teleport knows and we do not serve becomes a warning.
4. Any problem: `BadSettings` with all of them. None: the settings, frozen.
"""

from __future__ import annotations

import resource
import socket
from pathlib import Path as FilePath
from typing import Literal, cast

from attrs import define, field

from tlsgate.config import known, ports, schema
from tlsgate.config.blocks import unserved
from tlsgate.config.endpoints import bind_of, host_port, public_address, server_endpoint
from tlsgate.config.fields import kind
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings, nearest
from tlsgate.config.listeners import STANDARD, ListenerReader, merged
from tlsgate.config.marks import LIMIT_BYTES, Path, Tree, read_tree, resolve
from tlsgate.config.routes import RouteReader
from tlsgate.config.settings import (
    KeyPair,
    Limits,
    Listener,
    LogSettings,
    Public,
    Settings,
    Timeouts,
)
from tlsgate.config.validate import validated
from tlsgate.errors import BadSettings, Place, Problem

VERSIONS = ("v1", "v2", "v3")
Version = Literal["v1", "v2", "v3"]
Mode = Literal["separate", "multiplex"]

_UNBUILT = "is not part of this version of tlsgate"


def read_file(path: str | FilePath, *, data_dir: str | FilePath | None = None) -> Settings:
    """Read the configuration file at *path*.

    Args:
        path: the file; what it names relatively is looked for beside it.
        data_dir: takes the place of `teleport.data_dir`.

    Raises:
        BadSettings: it cannot be read or used; the error has every problem.
    """
    name = str(path)
    try:
        with open(path, "rb") as file:
            read = file.read(LIMIT_BYTES + 1)
    except OSError as e:
        why = f"cannot be read: {e.strerror or e}"
        raise BadSettings([Problem(Place(name, 1, 1), "", why)]) from e
    try:
        text = read.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        before = read[: e.start]
        place = Place(name, before.count(b"\n") + 1, e.start - before.rfind(b"\n"))
        raise BadSettings([Problem(place, "", "is not UTF-8 text")]) from e
    return read_text(text, name, data_dir=data_dir)


def read_text(
    text: str, file: str = "tlsgate.yaml", *, data_dir: str | FilePath | None = None
) -> Settings:
    """Read configuration *text*, which problems call *file*.

    Raises:
        BadSettings: it cannot be used; the error has every problem.
    """
    tree, marks, problems = read_tree(text, file)
    findings = Findings(marks, problems=problems)
    reading = _Reading(FilePath(file), findings, data_dir)
    settings = reading.read(tree)
    if findings.problems:
        raise BadSettings(findings.sorted())
    assert settings is not None
    return settings


@define
class _Reading:
    """One reading of one file."""

    file: FilePath
    findings: Findings
    data_dir: str | FilePath | None
    files: Files = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.files = Files(self.file.absolute().parent, self.findings)

    def read(self, tree: Tree) -> Settings | None:
        if tree is None:
            self.findings.wrong((), "the file is empty; it has to say at least version: v2")
            return None
        tree = self._name_blocks(tree)
        found = validated(known.File, tree, (), self.findings)
        if found is None:
            return None
        version = self._version(found.version)
        self._check_services(found)
        self._check_join(found.teleport, version)
        for path, why in unserved(found):
            if path[0] in ("teleport", "auth_service", "proxy_service"):
                self.findings.warn(path, _not_served(why))
        return self._settings(found, version)

    # -- the top of the file -----------------------------------------------------------

    def _name_blocks(self, tree: Tree) -> Tree:
        """Call the block `tlsgate` what Teleport calls it; empty blocks are there."""
        if not isinstance(tree, dict):
            return tree
        if "tlsgate" in tree:
            if "teleport" in tree:
                self.findings.wrong(
                    ("tlsgate",), "is another name of teleport; write one of both", key=True
                )
                tree = {key: value for key, value in tree.items() if key != "tlsgate"}
            else:
                self.findings.marks.rename("tlsgate", "teleport")
                self.findings.aliases["teleport"] = "tlsgate"
                tree = {("teleport" if k == "tlsgate" else k): v for k, v in tree.items()}
        return {
            key: {} if value is None and key.endswith("_service") else value
            for key, value in tree.items()
        }

    def _version(self, written: object) -> Version:
        if written is None:
            return "v1"
        if not isinstance(written, str) or written not in VERSIONS:
            text = written if isinstance(written, str) else ""
            hint = "v" + text if "v" + text in VERSIONS else nearest(text, VERSIONS)
            self.findings.wrong(
                ("version",),
                f"has to be v1, v2 or v3, not {kind(written)}"
                + (f"; did you mean {hint}?" if hint else ""),
            )
            return "v1"
        return cast(Version, str(written))

    def _check_services(self, found: known.File) -> None:
        for name in known.File.model_fields:
            service = getattr(found, name)
            if not isinstance(service, known.Service):
                continue
            advice = known.ADVICE.get(name)
            tail = f"; {advice}" if advice else ""
            if service.enabled:
                self.findings.wrong((name, "enabled"), f"{name} {_UNBUILT}; write no{tail}")
            elif service.enabled is None and self.findings.trusts(name, "enabled"):
                self.findings.warn(
                    (name,), f"{_UNBUILT}: the block is read, and does nothing{tail}"
                )
        if found.wrote("auth_service") and found.auth_service.enabled:
            self.findings.warn(
                ("auth_service",),
                "identities are not issued by this version: cluster_name, proxy_listener_mode and "
                "authentication count, nothing else",
            )
        nothing = not found.auth_service.enabled and not found.proxy_service.enabled
        if nothing and self.findings.trusts("auth_service", "enabled"):
            self.findings.wrong(
                ("proxy_service", "enabled"), "and auth_service are both off: nothing is to be done"
            )

    def _check_join(self, teleport: schema.Teleport, version: Version) -> None:
        if not self.findings.trusts("version"):
            return
        if version == "v3" and teleport.wrote("auth_servers"):
            self.findings.wrong(
                ("teleport", "auth_servers"),
                "is a key of v1 and v2; v3 has auth_server or proxy_server",
                key=True,
            )
        if version != "v3":
            for name in ("auth_server", "proxy_server"):
                if teleport.wrote(name):
                    self.findings.wrong(
                        ("teleport", name), f"is a key of v3; {version} has auth_servers", key=True
                    )
        elif teleport.wrote("auth_server") and teleport.wrote("proxy_server"):
            self.findings.wrong(
                ("teleport", "proxy_server"),
                "auth_server is there too; write one of both",
                key=True,
            )

    # -- the settings ----------------------------------------------------------------------

    def _settings(self, found: known.File, version: Version) -> Settings:
        teleport, auth, proxy = found.teleport, found.auth_service, found.proxy_service
        node = teleport.nodename or socket.gethostname()
        limits = self._limits(teleport, proxy)
        timeouts = Timeouts(**dict(proxy.timeouts))
        reader = ListenerReader(proxy, version, limits, timeouts, self.findings)
        listeners = reader.read()
        diag = self._diag(teleport, reader)
        routes = RouteReader(proxy, frozenset(reader.asked), self.files, self.findings).read()
        data_dir = self._data_dir(teleport)
        plugins = proxy.plugins_dir
        authentication = auth.authentication
        return Settings(
            file=self.file,
            version=version,
            mode=self._mode(auth, proxy, reader, version),
            cluster_name=auth.cluster_name or node,
            node_name=node,
            data_dir=data_dir,
            plugins_dir=self.files.at(plugins) if plugins else data_dir / "plugins",
            diag=diag,
            workers=proxy.workers,
            auth_enabled=auth.enabled,
            proxy_enabled=proxy.enabled,
            listeners=listeners if proxy.enabled else (),
            routes=routes if proxy.enabled else (),
            protocols=self._protocols(proxy),
            client_ca_files=tuple(str(self.files.at(name)) for name in proxy.client_ca_files),
            keypairs=self._keypairs(proxy),
            keypairs_reload_seconds=proxy.https_keypairs_reload_interval,
            public=self._public(proxy, listeners),
            strict_sni=proxy.strict_sni,
            limits=limits,
            timeouts=timeouts,
            log=self._log(teleport.log),
            authentication={}
            if authentication is None
            else authentication.model_dump(exclude_unset=True, exclude_none=True),
            warnings=self.findings.sorted_warnings(),
        )

    def _limits(self, teleport: schema.Teleport, proxy: schema.ProxyService) -> Limits:
        base = Limits(
            connections=teleport.connection_limits.max_connections or default_connections(),
            unauthenticated=schema.UNAUTHENTICATED,
            unauthenticated_per_address=schema.UNAUTHENTICATED_PER_ADDRESS,
            handshakes_per_second_per_address=schema.HANDSHAKES_PER_SECOND_PER_ADDRESS,
        )
        return cast(Limits, merged(base, proxy.limits))

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
        legacy = any(standard.name in reader.asked for standard in STANDARD[1:])
        if mode == "separate" and version != "v1" and proxy.enabled and not legacy:
            if self.findings.trusts("proxy_service") and self.findings.trusts("version"):
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
            made[standard.name] = tuple(_address(text, port) for text in written)
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


def _not_served(why: str) -> str:
    return "Teleport's key; nothing follows from it here yet" + (f": {why}" if why else "")


def _address(written: str, port: int) -> str:
    host, own = public_address(written)
    return host_port(host, port if own is None else own)
