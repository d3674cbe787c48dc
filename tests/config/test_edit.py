"""Tests for `tlsgate.config.edit`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.edit import Drop, Put, edited, write
from tlsgate.errors import BadSettings
from tlsgate.errors.closing import FileChanged

MODE = ("auth_service", "proxy_listener_mode")
TEXT = """\
# The house's gateway.
version: v1   # of the format
teleport:
  data_dir: /var/lib/tlsgate

auth_service:
  cluster_name: home
  # what clients are told
  proxy_listener_mode: separate # for now

proxy_service:
  web_listen_addr: 0.0.0.0:443
  listen_addr: 0.0.0.0:3023   # ssh
  postgres_listen_addr:
    - 0.0.0.0:5432
  limits: {connections: 100, unauthenticated: 50}
# the end
"""


class EditedTests(SynchronousTestCase):
    """Tests for `edited`."""

    def after(self, text: str, *changes: Put | Drop) -> str:
        """The new text, which is YAML."""
        made = edited(text, changes, "gate.yaml")
        yaml.safe_load(made.after)
        return made.after

    def test_a_scalar(self) -> None:
        """A value that is there changes where it stands; all else stays, comments too."""
        want = TEXT.replace("mode: separate #", "mode: multiplex #")
        self.assertEqual(self.after(TEXT, Put(MODE, "multiplex")), want)
        self.assertEqual(self.after(TEXT, Put(MODE, "separate")), TEXT)
        want = TEXT.replace("version: v1   #", "version: v2   #")
        self.assertEqual(self.after(TEXT, Put(("version",), "v2")), want)

    def test_a_scalar_in_quotes_and_in_braces(self) -> None:
        """Quotes go with the old value; braces stay."""
        self.assertEqual(self.after("a: 'x' # y\n", Put(("a",), "[::]:1")), 'a: "[::]:1" # y\n')
        self.assertEqual(self.after("a: {b: 1}\n", Put(("a", "b"), "2")), "a: {b: 2}\n")
        self.assertEqual(
            self.after("a: {b: 1}\n", Put(("a", "c", "d"), "2")), "a: {b: 1, c: {d: 2}}\n"
        )
        self.assertEqual(self.after("a: {}\n", Put(("a", "c"), "2")), "a: {c: 2}\n")

    def test_an_empty_value(self) -> None:
        """A key without a value gets one, and a block without keys gets its first."""
        self.assertEqual(self.after("a:\nb: 1\n", Put(("a",), "x")), "a: x\nb: 1\n")
        self.assertEqual(self.after("a:\nb: 1\n", Put(("a", "c"), "x")), "a:\n  c: x\nb: 1\n")
        self.assertEqual(
            self.after("a:   # c\nb: 1\n", Put(("a", "c"), "x")), "a:   # c\n  c: x\nb: 1\n"
        )

    def test_a_new_key(self) -> None:
        """A key comes after the last one of its block, before comments that follow."""
        made = self.after(TEXT, Put(("proxy_service", "tunnel_listen_addr"), "0.0.0.0:3024"))
        line = "  tunnel_listen_addr: 0.0.0.0:3024\n"
        self.assertEqual(made, TEXT.replace("# the end\n", f"{line}# the end\n"))
        made = self.after(TEXT, Put(("auth_service", "x"), "y"))
        self.assertEqual(made, TEXT.replace("for now\n", "for now\n  x: y\n"))

    def test_a_new_block(self) -> None:
        """Blocks that lack are made; the version comes first."""
        self.assertEqual(self.after("a: 1", Put(MODE, "m")), f"a: 1\n{MODE[0]}:\n  {MODE[1]}: m\n")
        self.assertEqual(self.after("", Put(("a", "b"), "m")), "a:\n  b: m\n")
        self.assertEqual(
            self.after("# c\na: 1\n", Put(("version",), "v2")), "# c\nversion: v2\na: 1\n"
        )
        text = "a:\n  - b\n  - |\n    c\n\nd: |\n  e\n"
        self.assertEqual(self.after(text, Put(("x",), "y")), f"{text}x: y\n")

    def test_windows(self) -> None:
        """Lines end as they did."""
        self.assertEqual(self.after("a: 1\r\n", Put(("b",), "2")), "a: 1\r\nb: 2\r\n")

    def test_our_name(self) -> None:
        """The block teleport is found under tlsgate, too."""
        text = "tlsgate:\n  data_dir: /a\n"
        want = text.replace("/a", "/b")
        self.assertEqual(self.after(text, Put(("teleport", "data_dir"), "/b")), want)

    def test_drop(self) -> None:
        """A key goes with its value, whatever that is; one that lacks is no change."""
        gone = Drop(("proxy_service", "postgres_listen_addr"))
        want = TEXT.replace("  postgres_listen_addr:\n    - 0.0.0.0:5432\n", "")
        self.assertEqual(self.after(TEXT, gone), want)
        self.assertEqual(self.after(TEXT, Drop(("proxy_service", "nothing"))), TEXT)
        self.assertEqual(self.after(TEXT, Drop(("nothing", "more"))), TEXT)
        want = TEXT.replace("  listen_addr: 0.0.0.0:3023   # ssh\n", "")
        self.assertEqual(self.after(TEXT, Drop(("proxy_service", "listen_addr"))), want)
        self.assertEqual(self.after("a:\n  b: 1\nc: 2\n", Drop(("a", "b"))), "a:\nc: 2\n")
        self.assertEqual(self.after("a: |\n  x\n  y\nc: 2\n", Drop(("a",))), "c: 2\n")
        self.assertEqual(self.after("a:\nc: 2", Drop(("a",))), "c: 2")

    def test_drop_from_braces(self) -> None:
        """A key goes out of braces with its comma."""
        text = "a: {b: 1, c: 2}\n"
        self.assertEqual(self.after(text, Drop(("a", "b"))), "a: {c: 2}\n")
        self.assertEqual(self.after(text, Drop(("a", "c"))), "a: {b: 1}\n")
        self.assertEqual(self.after("a: {b: 1}\n", Drop(("a", "b"))), "a: {}\n")

    def test_what_cannot_be_done(self) -> None:
        """It is said with its place."""
        change: Put | Drop
        for text, change, line in (
            ("a: [\n", Put(("a",), "b"), 2),
            ("a: b\n", Put(("a", "c"), "d"), 1),
            ("x: 1\na:\n  - b\n", Put(("a",), "c"), 3),
            ("- a\n", Put(("a",), "c"), 1),
            ("x" * (1 << 21), Put(("a",), "c"), 1),
            ("[" * 5000, Put(("a",), "c"), 1),
            ("? a\n: b\n", Drop(("a",)), 1),
        ):
            with self.assertRaises(BadSettings) as caught:
                edited(text, [change], "gate.yaml")
            (problem,) = caught.exception.problems
            self.assertEqual(problem.place.file, "gate.yaml")
            if len(text) < 100:
                self.assertEqual(problem.place.line, line, text)

    def test_diff(self) -> None:
        """A change is a diff, and the lines of it."""
        changes: list[Put | Drop] = [
            Put(("version",), "v2"),
            Drop(("proxy_service", "listen_addr")),
        ]
        made = edited(TEXT, changes, "gate.yaml")
        self.assertEqual(made.places, ("gate.yaml:2", "gate.yaml:13"))
        self.assertTrue(made.changes)
        diff = made.diff().splitlines()
        self.assertEqual(diff[:2], ["--- gate.yaml", "+++ gate.yaml (after)"])
        self.assertIn("-version: v1   # of the format", diff)
        self.assertIn("+version: v2   # of the format", diff)
        none = edited(TEXT, [])
        self.assertEqual((none.diff(), none.lines, none.changes), ("", (), False))
        added = edited("a: 1", [Put(("b",), "2")])
        self.assertEqual(added.lines, (1,))
        self.assertIn("\\ No newline at end of file", added.diff())
        self.assertEqual(edited("a: 1\n", [Put(("b",), "2")]).lines, (1,))
        self.assertEqual(edited("a: 1\n", [Put(("version",), "2")]).lines, (1,))


class WriteTests(SynchronousTestCase):
    """Tests for `write`."""

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "gate.yaml"
        self.file.write_text(TEXT)
        self.file.chmod(0o640)
        self.made = edited(TEXT, [Put(MODE, "multiplex")], str(self.file))

    def test_write(self) -> None:
        """The file is replaced, with its mode, and the old one stays beside it."""
        copy = write(self.file, self.made, "now")
        self.assertEqual(copy.name, "gate.yaml.before-now")
        self.assertEqual((self.file.read_text(), copy.read_text()), (self.made.after, TEXT))
        self.assertEqual([one.stat().st_mode & 0o777 for one in (self.file, copy)], [0o640] * 2)
        self.assertEqual(len(list(self.file.parent.iterdir())), 2)
        back = edited(self.made.after, [Put(MODE, "separate")], str(self.file))
        self.assertEqual(write(self.file, back, "now").name, "gate.yaml.before-now-2")

    def test_a_link(self) -> None:
        """A link to the file stays one."""
        link = self.file.parent / "link.yaml"
        link.symlink_to(self.file)
        write(link, self.made, "now")
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.file.read_text(), self.made.after)

    def test_changed_meanwhile(self) -> None:
        """A file that somebody else has changed stays as it is."""
        self.file.write_text("version: v3\n")
        with self.assertRaises(FileChanged):
            write(self.file, self.made, "now")
        self.assertEqual([one.name for one in self.file.parent.iterdir()], ["gate.yaml"])

    def test_not_written(self) -> None:
        """What cannot be written is said, and nothing is left behind."""
        with self.assertRaises(BadSettings):
            write(self.file.parent / "none.yaml", self.made, "now")
        self.file.write_bytes(b"\xff\xfe")
        with self.assertRaises(BadSettings):
            write(self.file, self.made, "now")
        self.assertEqual([one.name for one in self.file.parent.iterdir()], ["gate.yaml"])
