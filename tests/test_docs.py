"""The guide is true: links lead somewhere, examples load, commands and figures are there."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from tests import alpn_page
from tlsgate import errors
from tlsgate.cli.tgctl.main import tgctl
from tlsgate.cli.tgsh.main import tgsh
from tlsgate.config import schema
from tlsgate.config.fields import Unserved
from tlsgate.config.read import read_text
from tlsgate.errors import BadSettings, Fault, GateError
from tlsgate.net.tally import Tally
from tlsgate.service import counts, metrics

ROOT = Path(__file__).parents[1]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.M)
#: A path of ours in backticks: `etc/test.sh`, `tlsgate/core/`.
_PATH = re.compile(r"`((?:tlsgate|tests|etc|docs|twisted|\.ci)/[\w./-]*)`")


def pages() -> list[Path]:
    """Every page that a reader may open."""
    return [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def prose(text: str) -> str:
    """*text* without its fenced code, where brackets mean other things."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Each link of *page* to a file of ours: (path, anchor), either may be ""."""
    for target in _LINK.findall(prose(page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of *page*'s headings, as forges make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(prose(page.read_text()))
    }


class GuideTests(SynchronousTestCase):
    """README, CONTRIBUTING and docs/."""

    def test_links_lead_somewhere(self) -> None:
        """Each relative link names a file that is there, and a heading in it."""
        broken = []
        for page in pages():
            for path, anchor in links(page):
                target = (page.parent / path).resolve() if path else page
                if not target.exists():
                    broken.append(f"{page.name}: {path}")
                elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                    broken.append(f"{page.name}: {path}#{anchor}")
        self.assertEqual(broken, [])

    def test_paths_in_the_text_are_there(self) -> None:
        """A path of ours in backticks exists; a text that outlives its file misleads."""
        gone = [
            f"{page.name}: {path}"
            for page in pages()
            for path in _PATH.findall(prose(page.read_text()))
            if not (ROOT / path).exists()
        ]
        self.assertEqual(gone, [])

    def test_every_page_is_found_from_the_readme(self) -> None:
        """Following links from README.md reaches each page of docs/."""
        seen: set[Path] = set()
        waiting = [ROOT / "README.md"]
        while waiting:
            page = waiting.pop()
            if page not in seen and page.suffix == ".md" and page.exists():
                seen.add(page)
                waiting += [(page.parent / path).resolve() for path, _ in links(page) if path]
        self.assertEqual({page.name for page in set(pages()) - seen}, set())


#: A file that an example names.
_FILE = re.compile(r"[\w-]+\.(?:pem|key)")
#: A whole configuration, or a piece that begins with one of its blocks.
_WHOLE = re.compile(r"(?:#.*\n)*(version|teleport|auth_service|proxy_service):")


def examples() -> Iterator[tuple[str, str]]:
    """Every configuration in the guide: where it stands, and its text."""
    for page in pages():
        text = page.read_text()
        for found in re.finditer(r"^```yaml\n(.*?)^```", text, re.M | re.S):
            begin = _WHOLE.match(found[1])
            if begin is not None:
                whole = found[1] if begin[1] == "version" else f"version: v2\n{found[1]}"
                yield f"{page.name}:{text[: found.start()].count(chr(10)) + 1}", whole


def code(page: Path) -> Iterator[str]:
    """The lines of *page* that are commands: fenced, indented, or in backticks."""
    text = page.read_text()
    for fenced in re.findall(r"^```.*?\n(.*?)^```", text, flags=re.M | re.S):
        yield from fenced.splitlines()
    for line in prose(text).splitlines():
        if line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Every `tgctl …` or `tgsh …` of the guide as words, without what a shell does with it."""
    for page in pages():
        for line in code(page):
            if line.startswith(f"{program} "):
                words = shlex.split(line.partition(" | ")[0], comments=True)
                yield f"{page.name}: {line}", words[1:]


class ExampleTests(SynchronousTestCase):
    """Configurations and commands that a reader may copy."""

    def test_configurations_load(self) -> None:
        """Each example is read without a problem or a warning, beside the files it names."""
        found = list(examples())
        self.assertGreater(len(found), 8)
        for place, text in found:
            folder = Path(tempfile.mkdtemp())
            self.addCleanup(shutil.rmtree, folder)
            for name in _FILE.findall(text):
                (folder / name).touch()
            try:
                settings = read_text(text, str(folder / "tlsgate.yaml"))
            except BadSettings as e:
                self.fail(f"{place}: {e}")
            self.assertEqual(settings.warnings, (), place)

    def test_commands_exist(self) -> None:
        """Each command names one that is there, and options that it takes."""
        for program, least in ((tgctl, 20), (tgsh, 10)):
            assert program.name is not None
            found = list(commands(program.name))
            self.assertGreater(len(found), least)
            for place, words in found:
                command, options = self.chosen(program, words, place)
                for parameter in command.params:
                    options.update(parameter.opts)
                written = {word.partition("=")[0] for word in words if word.startswith("-")}
                self.assertEqual(written - options - {"-"}, set(), place)

    def chosen(
        self, program: click.Group, words: list[str], place: str
    ) -> tuple[click.Command, set[str]]:
        """The command that *words* choose, and the options that may stand before it."""
        options = {"--help"}
        takes = {name for one in program.params for name in one.opts if not _is_flag(one)}
        command: click.Command = program
        waiting = list(words)
        while waiting and isinstance(command, click.Group):
            options.update(name for one in command.params for name in one.opts)
            word = waiting.pop(0)
            if word.startswith("-"):
                if word in takes:
                    waiting.pop(0)
                continue
            below = command.get_command(click.Context(command), word.partition("|")[0])
            self.assertIsNotNone(below, place)
            assert below is not None
            command = below
        return command, options


def _is_flag(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.is_flag


def row(page: str, key: str) -> list[str]:
    """The cells after `key` in the table of *page* that has it; [] when none has."""
    found = re.search(rf"^\| `{re.escape(key)}` \|(.*)\|$", page, re.M)
    return [] if found is None else [cell.strip() for cell in found[1].split(" | ")]


class TableTests(SynchronousTestCase):
    """Tables that repeat what the code says."""

    def page(self, name: str) -> str:
        return (ROOT / "docs" / name).read_text()

    def test_tokens(self) -> None:
        """docs/alpn.md has the table of tokens as it is; `python -m tests.alpn_page` makes it."""
        page = self.page("alpn.md")
        self.assertEqual(page, alpn_page.made(page))

    def test_timeouts(self) -> None:
        """Each timeout stands in docs/configuration.md with its default."""
        page = self.page("configuration.md")
        for key, info in schema.Timeouts.model_fields.items():
            default = "off" if info.default is None else f"{info.default:g}"
            self.assertEqual(row(page, key)[:1], [default], key)

    def test_limits(self) -> None:
        """Each limit stands there with its default."""
        page = self.page("configuration.md")
        defaults = {
            "unauthenticated": schema.UNAUTHENTICATED,
            "unauthenticated_per_address": schema.UNAUTHENTICATED_PER_ADDRESS,
            "handshakes_per_second_per_address": schema.HANDSHAKES_PER_SECOND_PER_ADDRESS,
        }
        self.assertIn(str(schema.CONNECTIONS), row(page, "connections")[0])
        self.assertEqual({*schema.Limits.model_fields}, {"connections", *defaults})
        for key, default in defaults.items():
            self.assertEqual(row(page, key)[:1], [str(default)], key)

    def test_keys(self) -> None:
        """Each key of proxy_service that does something, and of a route, is in the guide."""
        guide = self.page("configuration.md") + self.page("routes.md")
        for block in (schema.ProxyService, schema.RouteBlock, schema.RuleBlock):
            for key, info in block.model_fields.items():
                served = not any(isinstance(one, Unserved) for one in info.metadata)
                if served and key not in {"enabled", "kubernetes"}:
                    self.assertRegex(guide, rf"\b{key}\b", key)

    def test_metrics(self) -> None:
        """docs/operations.md names each family of /metrics, and no other one of ours."""
        figures = metrics.Figures(
            tally=counts.fields(Tally()),
            ready=True,
            started=0.0,
            cluster={"age_seconds": None, "away": True},
        )
        registry = CollectorRegistry(auto_describe=False)
        registry.register(metrics._Families(figures))
        there = {family.name for family in registry.collect()}
        there |= {"tlsgate_reactor_delay_seconds", "tlsgate_reactor_delay_worst_seconds"}
        page = self.page("operations.md")
        named = {name.removesuffix("_total") for name in re.findall(r"`(tlsgate_\w+)", page)}
        self.assertEqual(named, there)

    def test_causes(self) -> None:
        """docs/operations.md or docs/api.md names each reason of a refusal."""
        page = self.page("operations.md") + self.page("api.md")
        reasons = {
            one.reason
            for one in vars(errors).values()
            if isinstance(one, type)
            and issubclass(one, GateError)
            and one.fault in (Fault.CLIENT, Fault.TARGET)
        }
        self.assertEqual({one for one in reasons if not row(page, one)}, set())

    def test_promises_have_tests(self) -> None:
        """Each test that docs/security.md names is there."""
        names = re.findall(r"`(tests(?:\.\w+)+)`", self.page("security.md"))
        self.assertGreater(len(names), 20)
        self.assertEqual([name for name in names if not is_test(name)], [])


def is_test(name: str) -> bool:
    """Whether the dotted *name* is a module, class or method of the tests."""
    *path, last = name.split(".")
    inside = [last]
    while path and not (ROOT.joinpath(*path).with_suffix(".py")).exists():
        if ROOT.joinpath(*path, *inside).with_suffix(".py").exists():
            return True
        inside.insert(0, path.pop())
    if not path:
        return ROOT.joinpath(*inside).is_dir()
    nodes: list[ast.stmt] = ast.parse(ROOT.joinpath(*path).with_suffix(".py").read_text()).body
    for step in inside:
        found = [
            node
            for node in nodes
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == step
        ]
        if not found:
            return False
        nodes = found[0].body
    return True
