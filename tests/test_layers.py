"""Who may import whom: one table, held against the source of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).parents[1] / "tlsgate"

_VALUES = {"errors", "core"}
_EDGE = _VALUES | {"config", "interfaces"}

#: Layer to the layers that it may import; its own is always allowed.
MAY: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "core": {"errors"},
    "interfaces": _VALUES,
    "config": _VALUES,
    "tls": _VALUES | {"config", "interfaces"},
    "store": _VALUES | {"config", "interfaces"},
    "net": _EDGE | {"tls"},
    "auth": _EDGE | {"tls"},
    "cluster": _EDGE | {"tls", "net"},
    "tunnel": _EDGE | {"tls", "net"},
    "targets": _EDGE | {"tls", "net", "tunnel"},
    "protocols": _EDGE | {"net", "tls", "auth", "cluster", "tunnel"},
    "registry": _VALUES | {"interfaces", "plugins"},
    "testing": _EDGE | {"registry"},
    "plugins": _EDGE | {"protocols"},
    "service": _EDGE
    | {
        "tls",
        "store",
        "net",
        "auth",
        "cluster",
        "tunnel",
        "targets",
        "protocols",
        "plugins",
        "registry",
    },
    "cli": _EDGE | {"tls", "registry", "service"},
}

#: What the pure part may take from the outside: no I/O, no clock, no chance.
PURE = {
    "__future__",
    "attrs",
    "automat",
    "base64",
    "binascii",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
}

#: Modules with an owner: foreign name to the places that may import it.
OWNED: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("tls",),
    "twisted.internet.reactor": ("service.tap", "cli"),
    "yaml": ("config", "cli"),
    "click": ("cli",),
    "rich": ("cli",),
}


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Every (line, dotted name) that *module* imports, relative ones made whole."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{whole}.{alias.name}") for alias in node.names)


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def faults(source: str, module: str) -> list[str]:
    """What *module* (dotted, from `tlsgate` on) imports and should not."""
    inside = module.removeprefix("tlsgate").lstrip(".") or "__init__"
    layer = inside.split(".")[0]
    found = []
    for line, name in imports(source, module):
        parts = name.split(".")
        if parts[0] == "tlsgate":
            wanted = parts[1] if len(parts) > 1 else "__init__"
            public = wanted in ("__init__", "__version__")
            if not public and wanted != layer and wanted not in MAY.get(layer, set()):
                found.append(f"{module}:{line}: {layer} may not import {name}")
        elif layer == "core" and parts[0] not in PURE:
            found.append(f"{module}:{line}: core is pure and may not import {name}")
        for foreign, places in OWNED.items():
            if _within(name, (foreign,)) and not _within(inside, places):
                found.append(f"{module}:{line}: only {' and '.join(places)} may import {foreign}")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package: its dotted name and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


class LayersTests(SynchronousTestCase):
    """The arrows between layers point one way."""

    def test_the_tree_keeps_the_table(self) -> None:
        """No module imports a layer that is above or beside its own."""
        found = [fault for name, path in modules() for fault in faults(path.read_text(), name)]
        self.assertEqual(found, [])

    def test_each_layer_is_in_the_table(self) -> None:
        """A new package has to say first whom it may import."""
        layers = {([*name.split("."), "__init__"])[1] for name, _ in modules()}
        self.assertEqual(layers - set(MAY), set())

    def test_the_table_has_no_circle(self) -> None:
        """If one layer may import a second, the second may not import the first."""
        both = [(a, b) for a in MAY for b in MAY[a] if a in MAY.get(b, set())]
        self.assertEqual(both, [])

    def test_a_wrong_arrow_is_caught(self) -> None:
        """Each spelling of a forbidden import is named with its line."""
        for source in (
            "import tlsgate.net.relay",
            "from tlsgate import net",
            "from tlsgate.net.relay import couple",
            "from ..net import relay",
            "def late():\n    from tlsgate.net import relay",
        ):
            self.assertEqual(len(faults(source, "tlsgate.core.names")), 1, source)

    def test_core_has_no_clock(self) -> None:
        """Time, chance, files and sockets are none of the pure part's business."""
        for name in ("time", "random", "socket", "os", "pathlib", "twisted.internet", "OpenSSL"):
            self.assertNotEqual(faults(f"import {name}", "tlsgate.core.names"), [], name)

    def test_openssl_has_one_importer(self) -> None:
        """Only the TLS package touches the library."""
        source = "from OpenSSL import SSL"
        self.assertEqual(faults(source, "tlsgate.tls.contexts"), [])
        self.assertEqual(len(faults(source, "tlsgate.net.relay")), 1)

    def test_the_reactor_is_a_parameter(self) -> None:
        """Only the entry points import the global one."""
        source = "from twisted.internet import reactor"
        self.assertEqual(faults(source, "tlsgate.service.tap"), [])
        self.assertEqual(len(faults(source, "tlsgate.service.tree")), 1)
