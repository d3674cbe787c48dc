"""What every file of the tree keeps to: its test, its size, its place, its words."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.test_layers import imports

ROOT = Path(__file__).parents[1]

#: Folders of the tree that hold text of ours; build results and environments are elsewhere.
FOLDERS = ("tlsgate", "twisted", "tests", "etc", "docs", ".ci")
TOP = ("README.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "setup.py", "tox.ini")

#: Lines from which on a file is to be split; the aim is 60 to 200.
LINES = 600

#: Modules that no unit test takes up, each with the reason. May only shrink.
UNTESTED = {
    "tlsgate/plugins/builtin.py": "instances only; every daemon of the integration tests has them",
    **dict.fromkeys(
        (
            "tlsgate/service/local.py",
            "tlsgate/service/start.py",
        ),
        "processes and descriptors: tests/integration has the real ones",
    ),
}

#: Tests of these folders run outside `tox -e unit`.
ELSEWHERE = {"bench", "integration", "packaging", "typing", "vectors"}


def python(folder: str) -> Iterator[Path]:
    """The Python files below *folder*."""
    yield from sorted((ROOT / folder).rglob("*.py"))


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the tree with its text."""
    files = [ROOT / name for name in TOP if (ROOT / name).exists()]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in files:
        if "__pycache__" in path.parts or path.name == "dropin.cache":
            continue
        try:
            yield path, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a corpus or an image


def home(module: Path) -> Path:
    """The file that mirrors *module*: tests/core/test_sniff.py for tlsgate/core/sniff.py."""
    inside = module.relative_to(ROOT / "tlsgate")
    return ROOT / "tests" / inside.parent / f"test_{inside.name}"


def used_by_tests() -> set[str]:
    """Every dotted name that a unit test imports."""
    return {
        name
        for path in python("tests")
        if path.name.startswith("test_") and not ELSEWHERE & set(path.parts)
        for _, name in imports(path.read_text(), "tests.none")
    }


def untested() -> list[str]:
    """Modules that have neither a test file of their own nor a unit test that takes them up."""
    used = used_by_tests()
    found = []
    for module in python("tlsgate"):
        path = module.relative_to(ROOT)
        name = ".".join(path.with_suffix("").parts)
        taken = any(other == name or other.startswith(f"{name}.") for other in used)
        # In core each module answers for its own branches; elsewhere a neighbour's test will do.
        if path.parts[1] == "core":
            taken = False
        if module.name != "__init__.py" and not home(module).exists() and not taken:
            found.append(str(path))
    return found


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each call of a plain or dotted name, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


class FilesTests(SynchronousTestCase):
    """The tree as a whole."""

    def test_each_module_is_tested(self) -> None:
        """A module has a test file of its own, or a neighbour's unit test takes it up."""
        self.assertEqual([name for name in untested() if name not in UNTESTED], [])

    def test_the_list_of_untested_modules_is_true(self) -> None:
        """A module leaves the list when it goes or gets its test."""
        now = untested()
        self.assertEqual([name for name in UNTESTED if name not in now], [])

    def test_each_file_below_etc_is_used_by_a_test(self) -> None:
        """What we ship as an example or a unit is loaded somewhere, so it cannot rot."""
        tests = "\n".join(path.read_text() for path in python("tests") if path != Path(__file__))
        tests += (ROOT / ".ci" / "run").read_text()
        unused = [
            str(path.relative_to(ROOT))
            for path in sorted((ROOT / "etc").rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts and path.name not in tests
        ]
        self.assertEqual(unused, [])

    def test_no_file_is_too_long(self) -> None:
        """A reader can keep one file in mind."""
        long = [
            f"{path.relative_to(ROOT)}: {count} lines"
            for folder in ("tlsgate", "twisted", "tests", "etc")
            for path in python(folder)
            if (count := len(path.read_text().splitlines())) > LINES
        ]
        self.assertEqual(long, [])

    def test_nothing_names_somebodys_machine(self) -> None:
        """No text names the folder of this checkout, or anybody's home."""
        foreign = re.compile(rf"{re.escape(str(ROOT))}/|/(?:home|Users)/\w|/root" + "/")
        found = [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for path, text in texts()
            for number, line in enumerate(text.splitlines(), 1)
            if foreign.search(line)
        ]
        self.assertEqual(found, [])

    def test_plugin_folders_stay_open(self) -> None:
        """Folders that belong to Twisted have no __init__.py, or they would hide its own."""
        for folder in ("twisted", "twisted/plugins"):
            self.assertFalse((ROOT / folder / "__init__.py").exists(), folder)


class TestsTests(SynchronousTestCase):
    """The tests themselves."""

    def test_unit_tests_are_all_run(self) -> None:
        """`tox -e unit` names every folder and file of tests, so that none is forgotten."""
        tox = configparser.ConfigParser(interpolation=None)
        tox.read(ROOT / "tox.ini")
        lists = " ".join(tox["base"][name] for name in ("core", "others"))
        named = set(lists.replace("\\", " ").split())
        there = {f"tests.{path.stem}" for path in (ROOT / "tests").glob("test_*.py")}
        there |= {
            f"tests.{path.parent.name}"
            for path in (ROOT / "tests").glob("*/__init__.py")
            if path.parent.name not in ELSEWHERE
        }
        self.assertEqual(there - named - {"tests.test_docs"}, set())
        self.assertEqual(named - there, set())

    def test_each_test_says_what_it_shows(self) -> None:
        """A test's docstring is a sentence about behaviour."""
        silent = [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
            for path in python("tests")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
            and not ast.get_docstring(node)
        ]
        self.assertEqual(silent, [])

    def test_no_test_can_skip(self) -> None:
        """A test whose part is missing fails; it would be believed otherwise."""
        word = re.compile(r"\bSkipTest\b|\bskip(If|Unless|Test)?\(|^\s*(?:\w+\.)?skip = ", re.M)
        found = [
            str(path.relative_to(ROOT))
            for path in python("tests")
            if path != Path(__file__) and word.search(path.read_text())
        ]
        self.assertEqual(found, [])

    def test_no_name_means_something_to_trial(self) -> None:
        """trial reads these from a test's module: `from contextlib import suppress` breaks it."""
        words = {"skip", "suppress", "timeout", "todo"}
        found = [
            f"{path.relative_to(ROOT)}:{line}: {name}"
            for path in python("tests")
            if path.name.startswith("test_")
            for line, name in imports(path.read_text(), "tests.none")
            if name.rpartition(".")[2] in words
        ]
        self.assertEqual(found, [])

    def test_no_test_sleeps(self) -> None:
        """Tests wait for what they want to see, with a bound; only the harness knows how."""
        found = [
            f"{path.relative_to(ROOT)}:{line}"
            for path in python("tests")
            if path.parent.name not in ("support", "bench")
            for line, name in calls(ast.parse(path.read_text()))
            if name in ("time.sleep", "sleep")
        ]
        self.assertEqual(found, [])
