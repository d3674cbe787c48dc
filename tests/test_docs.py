"""Links and paths in the guide lead somewhere, and every page is found from the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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
