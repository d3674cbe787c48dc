"""Find the protocols: built-in, installed beside us, dropped into a folder.

1. Every module of `tlsgate.plugins`, on each of its paths, is imported; then every module of
   the operator's folder, under the same package name.
2. Objects in them that provide `IPlugin` and `IGateProtocol` are verified.
3. Two that claim one name, token or listener stop the load (`NameTaken`); a file that cannot
   be imported or verified is named in `Loaded.failed`, and only its protocols are missing.

The markers and paths are those of `twisted.plugin`. Its `getPlugins` is not called: it logs a
broken module instead of naming it, and keeps a pickle beside the files, while we need
every module at each start anyway.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, MappingProxyType, ModuleType
from typing import Any

from attrs import define, frozen
from twisted.plugin import IPlugin
from twisted.python.modules import getModule
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from tlsgate.core.routing import TLS, CertRule
from tlsgate.errors import NameTaken
from tlsgate.interfaces import IGateProtocol, ITarget, ListenerSpec, Opening

_PACKAGE = "tlsgate.plugins"
_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
#: As files of agents name what a drop-in serves (`config.known`).
_DROPPED = re.compile(r"x-[a-z0-9-]{1,30}")
_KEY = re.compile(r"[a-z][a-z0-9_.-]*\Z")
#: A token's length is one byte on the wire (RFC 7301 section 3.1).
_TOKEN_BYTES = 255
#: Names of listeners whose protocol is called otherwise; a drop-in's listener has its own name.
_STANDARD_LISTENERS = frozenset({"web", "kube", "mongo"})


@frozen
class Loaded:
    """The protocols that can serve, and what is wrong with the rest.

    Attributes:
        protocols: by name, the built-in ones first.
        failed: (file, sentence) for each file whose protocols are missing.
        changed: files that differ from the code that runs; they need an upgrade.
    """

    protocols: Mapping[str, IGateProtocol]
    failed: tuple[tuple[str, str], ...] = ()
    changed: tuple[str, ...] = ()


@frozen
class LoadedTargets:
    """What an agent can serve by drop-ins, and what is wrong with the rest.

    Attributes:
        targets: by kind and protocol.
        failed, changed: as of `Loaded`.
    """

    targets: Mapping[tuple[str, str], ITarget]
    failed: tuple[tuple[str, str], ...] = ()
    changed: tuple[str, ...] = ()


@frozen
class Found:
    """One object that claims to be a protocol, and the file it came from."""

    protocol: IGateProtocol
    owner: str


def load(plugins_dir: Path | None) -> Loaded:
    """Import every plug-in and index the protocols in them.

    Runs again at each reload: a new or removed file counts then. A file that has
    been imported once is not imported anew; when it differs it is in `changed`.

    Args:
        plugins_dir: the operator's folder; None or missing: there is none.

    Raises:
        NameTaken: two protocols claim one name, token or listener.
    """
    failed: list[tuple[str, str]] = []
    changed: list[str] = []
    found: list[Found] = []
    for owner, module in (*_packaged(failed), *_dropped(plugins_dir, failed, changed)):
        found_here = list(offers(owner, module))
        faults = [why for one in found_here if (why := fault_of(one.protocol)) is not None]
        if not found_here:
            faults.append("holds no protocol (an object with IPlugin and IGateProtocol)")
        if faults:
            failed += [(owner, why) for why in faults]
            _forget(Path(owner))  # so that a mended file is imported at the next load
            continue
        for offer in found_here:
            if all(offer.protocol is not known.protocol for known in found):
                found.append(offer)
    try:
        return Loaded(by_name(found), tuple(failed), tuple(changed))
    except NameTaken as error:
        _forget(Path(error.owners[1]))  # as above
        raise


def load_targets(plugins_dir: Path | None) -> LoadedTargets:
    """Import the files of an agent's folder, and index the targets in them.

    Args:
        plugins_dir: the operator's folder; None or missing: there is none.

    Raises:
        NameTaken: two claim one protocol.
    """
    failed: list[tuple[str, str]] = []
    changed: list[str] = []
    owners: dict[tuple[str, str], str] = {}
    table: dict[tuple[str, str], ITarget] = {}
    for owner, module in _dropped(plugins_dir, failed, changed):
        for value in list(vars(module).values()):
            if not (IPlugin.providedBy(value) and ITarget.providedBy(value)):
                continue
            if (why := _target_fault(value)) is not None:
                failed.append((owner, why))
                _forget(Path(owner))  # so that a mended file is imported at the next load
                continue
            key = (value.kind, value.protocol)
            if key in table and table[key] is not value:
                raise NameTaken("protocol", value.protocol, (owners[key], owner))
            table[key], owners[key] = value, owner
    return LoadedTargets(MappingProxyType(table), tuple(failed), tuple(changed))


def _target_fault(target: Any) -> str | None:
    """What keeps *target* from serving, as a sentence; None when all is well."""
    try:
        verifyObject(ITarget, target)
    except Invalid as error:
        return " ".join(str(error).split())
    if target.kind != "db":
        return f"kind {target.kind!r} has to be 'db'"
    if not (isinstance(target.protocol, str) and _DROPPED.fullmatch(target.protocol)):
        return f"protocol {target.protocol!r} has to be x- and lower case letters, digits, dashes"
    return None


def by_name(found: Iterable[Found]) -> Mapping[str, IGateProtocol]:
    """Index protocols by name.

    Raises:
        NameTaken: two claim one name, ALPN token or listener; it names both owners.
    """
    claims: dict[tuple[str, str], str] = {}
    table: dict[str, IGateProtocol] = {}
    for offer in found:
        for claim in _claims(offer.protocol):
            if claim in claims:
                raise NameTaken(*claim, (claims[claim], offer.owner))
            claims[claim] = offer.owner
        table[offer.protocol.name] = offer.protocol
    return MappingProxyType(table)


def _claims(protocol: IGateProtocol) -> Iterator[tuple[str, str]]:
    """What no second protocol may claim."""
    yield ("protocol", protocol.name)
    for token in protocol.alpn:
        yield ("ALPN token", token.decode("latin-1"))
    if protocol.listener is not None:
        yield ("listener", protocol.listener.key)


def fault_of(protocol: object) -> str | None:
    """What keeps *protocol* from serving, as a sentence; None when all is well."""
    try:
        verifyObject(IGateProtocol, protocol)
    except Invalid as error:
        return " ".join(str(error).split())
    return next(_faults(protocol), None)


def _faults(protocol: Any) -> Iterator[str]:
    # An interface says that an attribute is there; its type is for us to check.
    name = protocol.name
    if not (isinstance(name, str) and _NAME.match(name)):
        yield f"name {name!r} has to be lower case letters, digits and dashes"
        return
    if name in (TLS, *_STANDARD_LISTENERS - {"web"}):
        yield f"name {name!r} means something else in this gate"
    if not (
        isinstance(protocol.alpn, tuple)
        and all(isinstance(one, bytes) and 0 < len(one) <= _TOKEN_BYTES for one in protocol.alpn)
        and len(set(protocol.alpn)) == len(protocol.alpn)
    ):
        yield f"{name}.alpn has to be a tuple of different byte strings, 1 to 255 bytes each"
    if not isinstance(protocol.client_cert, CertRule):
        yield f"{name}.client_cert has to be a CertRule"
    if not isinstance(protocol.stands_alone, bool):
        yield f"{name}.stands_alone has to be True or False"
    if not isinstance(protocol.advice, str):
        yield f"{name}.advice has to be a sentence"
    openings = protocol.openings
    if not (isinstance(openings, tuple) and all(isinstance(one, Opening) for one in openings)):
        yield f"{name}.openings has to be a tuple of Opening"
    else:
        for opening in openings:
            if opening.protocol != name:
                yield f"opening {opening.name} is {opening.protocol}'s, and stands in {name}"
    spec = protocol.listener
    if spec is not None:
        if not isinstance(spec, ListenerSpec):
            yield f"{name}.listener has to be a ListenerSpec or None"
        elif not _KEY.match(spec.key) or not 0 < spec.port < 65536:
            yield f"{name}.listener needs a key and a port from 1 to 65535"
        elif not (protocol.stands_alone or protocol.advice):
            yield f"{name}.listener can only refuse, so {name}.advice has to say what to do instead"


def offers(owner: str, module: ModuleType) -> Iterator[Found]:
    """The protocols in *module*, which came from the file *owner*."""
    for value in list(vars(module).values()):
        # A class *implements*; what *provides* is an instance.
        if IPlugin.providedBy(value) and IGateProtocol.providedBy(value):
            yield Found(value, owner)


# -- modules ---------------------------------------------------------------------


def _packaged(failed: list[tuple[str, str]]) -> Iterator[tuple[str, ModuleType]]:
    """Modules on the paths of the package itself, `builtin` first."""
    modules = sorted(
        getModule(_PACKAGE).iterModules(),
        key=lambda module: (module.name != f"{_PACKAGE}.builtin", module.name),
    )
    for module in modules:
        owner = module.filePath.path
        if module.name.rpartition(".")[2].startswith("_"):
            continue
        try:
            yield owner, module.load()
        except (Exception, SystemExit) as error:  # code of others: any fault is theirs
            failed.append((owner, _why(error, owner)))


@define
class _Memory:
    """What has been imported from operators' folders; modules are the process's."""

    digest: str
    module: ModuleType


_imported: dict[Path, _Memory] = {}


def _dropped(
    folder: Path | None, failed: list[tuple[str, str]], changed: list[str]
) -> Iterator[tuple[str, ModuleType]]:
    """Modules of the operator's folder, in the order of their names."""
    if folder is None or not folder.is_dir():
        return
    for file in [file for file in _imported if not file.exists()]:
        _forget(file)
    folder = folder.absolute()
    if (why := _unsafe(folder)) is not None:
        failed.append((str(folder), why))
        return
    for file in sorted(_candidates(folder)):
        try:
            module = _import(file, changed)
        except (Exception, SystemExit) as error:  # code of others: any fault is theirs
            failed.append((str(file), _why(error, str(file))))
        else:
            yield str(file), module


def _forget(file: Path) -> None:
    """Let go of the module of *file*; what is built from it lives on."""
    if (known := _imported.pop(file, None)) is not None:
        name = known.module.__name__
        for inner in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            del sys.modules[inner]


def _candidates(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".", "test_")):
            continue
        if entry.suffix == ".py" and entry.is_file():
            yield entry
        elif (entry / "__init__.py").is_file():
            yield entry / "__init__.py"


def _import(file: Path, changed: list[str]) -> ModuleType:
    """Import *file* as a module of the package, once."""
    package = file.parent if file.name == "__init__.py" else None
    sources = sorted(package.rglob("*.py")) if package else [file]
    for source in sources:
        if (why := _unsafe(source)) is not None:
            raise PermissionError(why)
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    if (known := _imported.get(file)) is not None:
        if known.digest != digest:
            changed.append(str(file))
        return known.module
    name = f"{_PACKAGE}.{(package or file).stem}"
    if name in sys.modules:
        taken = getattr(sys.modules[name], "__file__", None)
        raise ImportError(f"a module of this name is loaded from {taken}; rename the file")
    spec = importlib.util.spec_from_file_location(
        name,
        file,
        loader=_Fresh(name, str(file)),
        submodule_search_locations=[str(package)] if package else None,
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _imported[file] = _Memory(digest, module)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(file)
        raise
    return module


class _Fresh(SourceFileLoader):
    """Compiles the source that is there.

    Compiled code in __pycache__ is known by size and second of its source: a file that was
    exchanged in a hurry would run as the old one.
    """

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _unsafe(path: Path) -> str | None:
    """Why code at *path* is not run: somebody else could have written it."""
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}; only root's and our own files are loaded"
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {path}; chmod go-w it"
    return None


def _why(error: BaseException, file: str) -> str:
    """One line about a failed import, with the line of *file* where it went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        lines.append(error.lineno)
    place = f"line {lines[-1]}: " if lines else ""
    text = " ".join(str(error).split())
    return f"{place}{type(error).__name__}: {text}" if text else f"{place}{type(error).__name__}"
