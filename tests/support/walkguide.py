"""docs/guide.md, taken at its word: its sections, the files in them and the commands, in order.

A section is what stands below a heading. In it

- an indented line is a command;
- a fenced block of YAML whose first line is a comment with a name is a file;
- a fenced `diff` is a change of the gateway's configuration file.

What is a matter of taste on the page (a host's name, a port, a path) is another one in a test:
`Guide` has a table of words that it puts in place of the page's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from tests.support.certs import pki
from tests.support.ports import free_port

#: Of a gateway: for the web, SSH, agents and PostgreSQL.
Ports = tuple[int, int, int, int]
PAGE = Path(__file__).parents[2] / "docs" / "guide.md"
#: The file with which the page begins; what runs has read it already.
CONFIGURATION = "tlsgate.yaml"
#: Who says what is on the page.
OPERATOR = ("tgctl",)
USER = ("tgsh", "ssh", "psql", "curl")

_HEADING = re.compile(r"^#+ (?!\S+\.yaml$)(.*)$", re.M)
_BLOCK = re.compile(r"^```(yaml|diff)\n(.*?)^```$|^    (\S[^\n]*)$", re.M | re.S)
_NAMED = re.compile(r"# (\S+\.yaml)\n")


@frozen
class Command:
    """One line for a shell.

    Attributes:
        codes: with what it may exit: 0 unless a comment beside it says "exits with …".
    """

    line: str
    codes: tuple[int, ...] = (0,)

    @property
    def program(self) -> str:
        """Its first word."""
        return self.line.split()[0]


@frozen
class File:
    """A file that has to be there for the next command."""

    name: str
    text: str


@frozen
class Change:
    """Lines of the configuration file that go, and lines that come."""

    text: str

    def apply(self, text: str) -> str:
        """Make the change in *text*.

        A line that goes makes room for the one that follows it in the change; what has no
        such place comes at the end.

        Raises:
            AssertionError: a line is not there.
        """
        lines = text.splitlines()
        at: int | None = None
        for change in self.text.splitlines():
            sign, line = change[:1], change[1:]
            if sign == "-":
                assert line in lines, f"{line!r} is not in the file:\n{text}"
                at = lines.index(line)
                del lines[at]
            elif sign == "+" and at is not None:
                lines.insert(at, line)
                at = None
            elif sign == "+":
                lines.append(line)
        return "\n".join(lines) + "\n"


Piece = Command | File | Change


@frozen
class Guide:
    """The page.

    Attributes:
        words: what stands there, and what a test has in its place; the first that fits.
    """

    words: Mapping[str, str] = field(factory=dict)
    page: Path = PAGE

    def configuration(self) -> str:
        """The file with which the page begins."""
        found = pieces(self._text(), but=())
        first = next(one for one in found if isinstance(one, File))
        return first.text

    def sections(self) -> dict[str, list[Piece]]:
        """The pieces of each section, by its heading."""
        parts = _HEADING.split(self._text())
        return {
            heading: list(pieces(text))
            for heading, text in zip(parts[1::2], parts[2::2], strict=True)
        }

    def _text(self) -> str:
        text = self.page.read_text()
        if not self.words:
            return text
        found = re.compile("|".join(map(re.escape, self.words)))
        return found.sub(lambda one: self.words[one[0]], text)


def pieces(text: str, but: Collection[str] = (CONFIGURATION,)) -> Iterator[Piece]:
    """What has to be done in *text*, in order, without the files of the names *but*."""
    for found in _BLOCK.finditer(text):
        kind, block, line = found.groups()
        if line is not None:
            words, _, comment = line.partition("  # ")
            said = re.findall(r"\d+", comment) if comment.startswith("exits with") else ["0"]
            command = Command(words.rstrip(), tuple(map(int, said)))
            assert command.program in OPERATOR + USER, f"nobody runs {line!r}"
            yield command
        elif kind == "diff":
            yield Change(block)
        elif (named := _NAMED.match(block)) and Path(named[1]).name not in but:
            yield File(named[1], block)


def free_ports() -> Ports:
    """For the web, SSH, agents and PostgreSQL."""
    found: set[int] = set()
    while len(found) < 4:
        found.add(free_port())
    web, ssh, tunnel, postgres = found
    return web, ssh, tunnel, postgres


def page(folder: Path, ports: Ports) -> Guide:
    """The guide of a gateway that is in a folder, and has these ports."""
    web, ssh, tunnel, postgres = ports
    pair = pki().keypair("server")
    return Guide(
        {
            # First what is longer.
            "public_addr: gate.example.com:3080": (
                f'public_addr: ["localhost:{web}", "gw.test:443"]'
            ),
            "--proxy=gate.example.com:3080": f"--proxy=localhost:{web}",
            "https://gate.example.com:3080/": f"https://localhost:{web}/",
            "root@db1.gate.example.com": "root@db1.localhost",
            "cluster_name: example.com": "cluster_name: gw.test",
            "gate.example.com": "localhost",
            "/etc/tlsgate/tlsgate.yaml": str(folder / "tlsgate.yaml"),
            "/var/lib/tlsgate": str(folder / "data"),
            "gate.pem": str(pair.cert_file),
            "gate-key.pem": str(pair.key_file),
            "0.0.0.0": "127.0.0.1",
            ":3080": f":{web}",
            ":3023": f":{ssh}",
            ":3024": f":{tunnel}",
            ":5432": f":{postgres}",
        }
    )
