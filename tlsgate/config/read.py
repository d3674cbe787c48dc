"""A configuration file to one `Settings`, or every problem that it has.

1. `marks` reads the YAML; `validate` checks it against the schema, block by block.
2. `listeners` and `routes` check what depends on several keys.
3. What Teleport knows and we do not serve becomes a warning.
4. Any problem: `BadSettings` with all of them. None: the settings, frozen.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import cast

from attrs import define

from tlsgate.config import agents, known, ports
from tlsgate.config.assemble import Assembly, Version
from tlsgate.config.blocks import unserved
from tlsgate.config.endpoints import public_address
from tlsgate.config.fields import kind
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings, nearest
from tlsgate.config.marks import LIMIT_BYTES, Tree, read_tree
from tlsgate.config.settings import Settings
from tlsgate.config.validate import validated
from tlsgate.errors import BadSettings, Place, Problem

VERSIONS = ("v1", "v2", "v3")
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

    def read(self, tree: Tree) -> Settings | None:
        if tree is None:
            self.findings.wrong((), "the file is empty; it has to say at least version: v2")
            return None
        tree = self._name_blocks(tree)
        found = validated(known.File, tree, (), self.findings)
        if found is None:
            return None
        found = agents.read_as_agent(found)
        version = self._version(found.version)
        self._check_services(found)
        self._check_join(found, version)
        self._check_login(found)
        for path, why in unserved(found):
            if path[0] in ("teleport", "auth_service", "proxy_service") or (
                path[0] in agents.SERVICES and agents.is_agent(found)
            ):
                self.findings.warn(path, _not_served(why))
        files = Files(self.file.absolute().parent, self.findings)
        return Assembly(self.file, self.findings, files, self.data_dir).settings(found, version)

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
            if not isinstance(service, known.Service) or name in agents.SERVICES:
                continue
            advice = known.ADVICE.get(name)
            tail = f"; {advice}" if advice else ""
            if service.enabled:
                self.findings.wrong((name, "enabled"), f"{name} {_UNBUILT}; write no{tail}")
            elif service.enabled is None and self.findings.trusts(name, "enabled"):
                self.findings.warn(
                    (name,), f"{_UNBUILT}: the block is read, and does nothing{tail}"
                )
        agents.check_services(found, self.findings)
        nothing = not found.auth_service.enabled and not found.proxy_service.enabled
        if (
            nothing
            and not agents.is_agent(found)
            and self.findings.trusts("auth_service", "enabled")
        ):
            self.findings.wrong(
                ("proxy_service", "enabled"),
                "is off, and so is auth_service: nothing is left to run",
            )

    def _check_login(self, found: known.File) -> None:
        """A password alone is no login, unless somebody says how unsafe that is."""
        auth, at = found.auth_service, ("auth_service", "authentication")
        login = auth.authentication
        if not auth.enabled or login is None or not self.findings.trusts(*at, "second_factor"):
            return
        if login.second_factor == "off" and not login.unsafe_second_factor_off:
            self.findings.wrong(
                (*at, "second_factor"),
                "off lets everybody in with a password alone; write otp, or "
                "unsafe_second_factor_off: yes beside it",
            )
        if login.second_factor in ("webauthn", "optional", "u2f"):
            self.findings.warn(
                (*at, "second_factor"),
                f"{login.second_factor} is not served yet: one-time codes (otp) are asked for",
            )
        if login.type != "local":
            self.findings.warn((*at, "type"), f"{login.type} is not served yet: local users log in")

    def _check_join(self, found: known.File, version: Version) -> None:
        """Teleport's rules for the three keys that say where the cluster is."""
        teleport, at = found.teleport, "teleport"
        if not self.findings.trusts("version"):
            return
        if version != "v3":
            for name in ("auth_server", "proxy_server"):
                if teleport.wrote(name):
                    self._wrong_key(name, f"is a key of v3; {version} has auth_servers")
            return
        if teleport.wrote("auth_servers"):
            self._wrong_key("auth_servers", "is a key of v1 and v2; v3 has auth_server")
        if teleport.wrote("proxy_server"):
            if teleport.wrote("auth_server"):
                self._wrong_key("proxy_server", "auth_server is there too; write one of both")
            if found.proxy_service.enabled:
                self._wrong_key("proxy_server", "is for agents; this file is a gateway's own")
        if teleport.wrote("auth_server"):
            for name in ("app_service", "db_service"):
                service = getattr(found, name)
                if service is not None and service.enabled is not False:
                    self._wrong_key("auth_server", f"{name} needs proxy_server instead")
        for name, odd, likely in (
            ("proxy_server", (ports.AUTH,), "an auth service's port; auth_server may be meant"),
            ("auth_server", (ports.WEB, 443), "a gateway's port; proxy_server may be meant"),
        ):
            address = getattr(teleport, name)
            port = public_address(address)[1] if address else None
            if port in odd:
                self.findings.warn((at, name), f"{port} is {likely}")

    def _wrong_key(self, name: str, message: str) -> None:
        self.findings.wrong(("teleport", name), message, key=True)


def _not_served(why: str) -> str:
    return "known from Teleport, and without effect here" + (f": {why}" if why else " yet")
