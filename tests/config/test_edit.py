"""Tests for `tlsgate.config.edit`: one key changes, and nothing else of the text."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.edit import Drop, Edited, Put, edited, line_of, write
from tlsgate.config.marks import read_tree
from tlsgate.errors import BadSettings, FileChanged

TEXT = """\
# ours
version: v1   # of the file
teleport:
  nodename: gw

# who may log in
auth_service:
  # the mode
  proxy_listener_mode: "separate"  # for now

  cluster_name: main
proxy_service:
  web_listen_addr: 127.0.0.1:3080
  listen_addr: 127.0.0.1:3023  # old clients
  # tunnels
  tunnel_listen_addr: 127.0.0.1:3024
  ssh_public_addr:
    - gw.test:3023
    - gw2.test:3023

# the end
"""
MODE = ("auth_service", "proxy_listener_mode")


class EditCase(SynchronousTestCase):
    """Edits of a text."""

    def after(self, text: str, *changes: Put | Drop) -> str:
        """The text with these changes."""
        return edited(text, changes, "f.yaml").after

    def refused(self, text: str, *changes: Put | Drop) -> str:
        """Why it cannot be changed so."""
        return str(self.assertRaises(BadSettings, edited, text, changes, "f.yaml"))


class PutTests(EditCase):
    """Tests for `Put`."""

    def test_a_value(self) -> None:
        """The value alone changes: quotes, comments and everything else stay."""
        found = edited(TEXT, [Put(MODE, "multiplex"), Put(("version",), "v2")], "f.yaml")
        want = TEXT.replace('"separate"', "multiplex").replace("v1 ", "v2 ")
        self.assertEqual(found.after, want)
        self.assertEqual((found.lines, found.places), ((2, 9), ("f.yaml:2", "f.yaml:9")))
        self.assertTrue(found.changes)
        self.assertIn('-  proxy_listener_mode: "separate"  # for now\n', found.diff())
        self.assertIn("+  proxy_listener_mode: multiplex  # for now\n", found.diff())
        self.assertTrue(found.diff().startswith("--- f.yaml\n+++ f.yaml (after)\n@@ "))

    def test_no_change(self) -> None:
        """A value that is there already is the same text, and there is no diff."""
        found = edited("version: v2\n", [Put(("version",), "v2")])
        self.assertEqual((found.changes, found.diff(), found.lines), (False, "", ()))

    def test_a_key_that_lacks(self) -> None:
        """It comes behind the block's last line, before what stands below it."""
        text = TEXT.replace('  proxy_listener_mode: "separate"  # for now\n', "")
        want = text.replace("  cluster_name: main\n", "  cluster_name: main\n  {}\n")
        found = edited(text, [Put(MODE, "multiplex")], "f.yaml")
        self.assertEqual(found.after, want.format("proxy_listener_mode: multiplex"))
        self.assertEqual(found.places, ("f.yaml:10",))
        listed = self.after(TEXT, Put(("proxy_service", "postgres_listen_addr"), "127.0.0.1:5432"))
        self.assertIn("    - gw2.test:3023\n  postgres_listen_addr: 127.0.0.1:5432\n\n#", listed)

    def test_several_values(self) -> None:
        """A list goes on one line, in the place of what was there; the same one stays as it is."""
        path = ("proxy_service", "ssh_public_addr")
        same = ("gw.test:3023", "gw2.test:3023")
        self.assertEqual(self.after(TEXT, Put(path, same)), TEXT)
        text = self.after(TEXT, Put(path, ("a:1", "b: 2")))
        self.assertIn('  ssh_public_addr: [a:1, "b: 2"]\n', text)
        self.assertNotIn("gw.test", text)
        self.assertEqual(self.after(TEXT, Drop(path), Put(path, same)).count("gw2.test"), 1)
        self.assertIn("  ssh_public_addr: a:1\n", self.after(TEXT, Put(path, ("a:1",))))
        self.assertEqual(self.after("a: {b: c}\n", Put(("a", "b"), ("c",))), "a: {b: c}\n")
        self.assertEqual(self.after("a: {b: c}\n", Put(("a", "b"), ("d",))), "a: {b: d}\n")

    def test_a_block_that_lacks(self) -> None:
        """It is made, at the end; a block without a value gets one."""
        self.assertEqual(
            self.after("version: v1", Put(MODE, "multiplex")),
            "version: v1\nauth_service:\n  proxy_listener_mode: multiplex\n",
        )
        for nothing, left in (("", ""), (" ~", ""), (" null", ""), ("  # soon", "  # soon")):
            self.assertEqual(
                self.after(f"auth_service:{nothing}\nversion: v1\n", Put(MODE, "x")),
                f"auth_service:{left}\n  proxy_listener_mode: x\nversion: v1\n",
            )
        self.assertEqual(self.after("", Put(("version",), "v2")), "version: v2\n")
        self.assertEqual(
            self.after("# mine", Put(MODE, "x")),
            "# mine\nauth_service:\n  proxy_listener_mode: x\n",
        )

    def test_at_the_top(self) -> None:
        """A key of the file itself comes first, behind the comments there."""
        text = "# mine\nproxy_service: {}\n"
        want = "# mine\nversion: v2\nproxy_service: {}\n"
        self.assertEqual(self.after(text, Put(("version",), "v2")), want)

    def test_in_braces(self) -> None:
        """Mappings in braces stay in one line."""
        for text, want in (
            ("auth_service: {}\n", "auth_service: {proxy_listener_mode: x}\n"),
            ("auth_service: {a: 1}\n", "auth_service: {a: 1, proxy_listener_mode: x}\n"),
            ("{version: v1}\n", "{version: v1, auth_service: {proxy_listener_mode: x}}\n"),
        ):
            self.assertEqual(self.after(text, Put(MODE, "x")), want)

    def test_nothing_behind_the_colon(self) -> None:
        """The value comes there, before a comment."""
        text = "version: # which\nteleport:\n"
        self.assertEqual(
            self.after(text, Put(("version",), "v2")), "version: v2 # which\nteleport:\n"
        )

    def test_quotes(self) -> None:
        """What would mean something else is quoted."""
        for value, spelt in (("a: b", '"a: b"'), ("", '""'), ("#", '"#"'), ("[::]:1", '"[::]:1"')):
            self.assertEqual(self.after("a: 1\n", Put(("a",), value)), f"a: {spelt}\n")

    def test_the_other_name_of_the_block(self) -> None:
        """`teleport` is `tlsgate` where the file calls it so."""
        text = "tlsgate:\n  nodename: a\n"
        path = ("teleport", "nodename")
        self.assertEqual(self.after(text, Put(path, "b")), "tlsgate:\n  nodename: b\n")
        self.assertEqual(line_of(text, path), 2)

    def test_line_ends(self) -> None:
        """A file of Windows' stays one."""
        text = "version: v1\r\nauth_service:\r\n  a: b\r\n"
        self.assertEqual(self.after(text, Put(MODE, "x")), f"{text}  proxy_listener_mode: x\r\n")

    def test_refused(self) -> None:
        """What is no single value, or no mapping, is left alone, and its place is told."""
        self.assertIn("f.yaml:1", self.refused("version: [v1]\n", Put(("version",), "v2")))
        self.assertIn("single value", self.refused("a: |\n  b\n", Put(("a",), "c")))
        self.assertIn("no mapping", self.refused("\nauth_service: yes\n", Put(MODE, "x")))
        self.assertIn("f.yaml:2", self.refused("\nauth_service: yes\n", Put(MODE, "x")))
        self.assertIn("not YAML", self.refused("a: b: c\n", Put(("a",), "c")))
        self.assertIn("alias", self.refused("a: *b\n", Put(("a",), "c")))
        self.assertRaises(BadSettings, line_of, "a: *b\n", ("a",))


class DropTests(EditCase):
    """Tests for `Drop`."""

    def test_keys(self) -> None:
        """The key's lines go, with the comment behind it; those around it stay."""
        at = "proxy_service"
        after = self.after(
            TEXT,
            Drop((at, "listen_addr")),
            Drop((at, "tunnel_listen_addr")),
            Drop((at, "ssh_public_addr")),
        )
        lines = TEXT.splitlines(keepends=True)
        gone = {13, 15, 16, 17, 18}
        self.assertEqual(after, "".join(one for at, one in enumerate(lines) if at not in gone))

    def test_a_whole_block(self) -> None:
        """A block goes with all that is in it, also the last one of a file without an end."""
        after = self.after(TEXT, Drop(("auth_service",)))
        self.assertIn("# who may log in\nproxy_service:\n", after)
        self.assertEqual(self.after("a: 1\nb: {c: d}", Drop(("b",))), "a: 1\n")
        self.assertEqual(self.after("a: |\n  x\n  y\nb: 1\n", Drop(("a",))), "b: 1\n")
        self.assertEqual(self.after("a: >-\n  x\n", Drop(("a",))), "")

    def test_not_there(self) -> None:
        """What is not written is no change."""
        for path in (("a",), ("version", "b"), ("proxy_service", "x", "y"), MODE):
            self.assertEqual(self.after("version: v1\n", Drop(path)), "version: v1\n")
        self.assertEqual(self.after("", Drop(MODE)), "")

    def test_in_braces(self) -> None:
        """The comma goes along."""
        for text, want in (
            ("a: {b: 1, c: 2}\n", "a: {c: 2}\n"),
            ("a: {c: 2, b: 1}\n", "a: {c: 2}\n"),
            ("a: {b: 1}\n", "a: {}\n"),
            ("a: {b: }\n", "a: {}\n"),
        ):
            self.assertEqual(self.after(text, Drop(("a", "b"))).replace(" }", "}"), want)

    def test_behind_something_else(self) -> None:
        """A key that shares its line with what stays is left alone."""
        self.assertIn("behind", self.refused("? a\n: {b: 1}\n", Drop(("a",))))


class PropertyTests(SynchronousTestCase):
    """What holds for any file of that shape."""

    @given(
        some.dictionaries(
            some.sampled_from("abcd"),
            some.dictionaries(some.sampled_from("efgh"), some.integers(0, 99), max_size=4),
            max_size=4,
        ),
        some.sampled_from("abcd"),
        some.sampled_from("efgh"),
        some.booleans(),
        some.booleans(),
    )
    def test_only_that(
        self, whole: dict[str, dict[str, int]], one: str, two: str, puts: bool, braces: bool
    ) -> None:
        """The tree afterwards is the tree before with the one change; every comment is there."""
        lines = []
        for key, below in whole.items():
            if braces:
                inside = ", ".join(f"{name}: {value}" for name, value in below.items())
                lines.append(f"{key}: {{{inside}}}  # {key}")
            else:
                lines.append(f"# {key}\n{key}:")
                lines += [f"  # {name}\n  {name}: {value}\n" for name, value in below.items()]
        text = "\n".join(lines)
        change = Put((one, two), "x") if puts else Drop((one, two))
        after = edited(text, [change]).after
        want = {key: {n: str(v) for n, v in below.items()} for key, below in whole.items()}
        if puts:
            want[one] = {**want.get(one, {}), two: "x"}
        else:
            want.get(one, {}).pop(two, None)
        tree, _, _ = read_tree(after, "f")
        found = {key: dict(below or {}) for key, below in (tree or {}).items()}
        self.assertEqual(found, want)
        for key in whole:
            self.assertIn(f"# {key}", after)


class WriteTests(SynchronousTestCase):
    """Tests for `write`."""

    def setUp(self) -> None:
        """A file of somebody's."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "tlsgate.yaml"
        self.file.write_text("version: v1\n")
        self.file.chmod(0o640)

    def change(self) -> Edited:
        """To v2."""
        return edited(self.file.read_text(), [Put(("version",), "v2")], str(self.file))

    def test_written(self) -> None:
        """The file is new, its copy old, and both have the mode that it had."""
        copy = write(self.file, self.change(), "1")
        self.assertEqual(copy, self.folder / "tlsgate.yaml.before-1")
        self.assertEqual(
            (self.file.read_text(), copy.read_text()), ("version: v2\n", "version: v1\n")
        )
        self.assertEqual({one.stat().st_mode & 0o777 for one in (self.file, copy)}, {0o640})
        self.assertEqual(len(os.listdir(self.folder)), 2)

    def test_a_second_copy(self) -> None:
        """A copy of the same second takes another name."""
        (self.folder / "tlsgate.yaml.before-1").write_text("older")
        self.assertEqual(write(self.file, self.change(), "1").name, "tlsgate.yaml.before-1-2")

    def test_changed_meanwhile(self) -> None:
        """Somebody else's edit is not lost: nothing is written."""
        change = self.change()
        self.file.write_text("version: v3\n")
        error = self.assertRaises(FileChanged, write, self.file, change, "1")
        self.assertIn("has changed meanwhile", str(error))
        self.assertEqual(os.listdir(self.folder), ["tlsgate.yaml"])

    def test_a_link(self) -> None:
        """Where the name is a link, what it leads to is written."""
        link = self.folder / "link"
        link.symlink_to(self.file)
        write(link, self.change(), "1")
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.file.read_text(), "version: v2\n")

    def test_a_mark_at_the_beginning(self) -> None:
        """A byte order mark stays."""
        self.file.write_bytes("\ufeffversion: v1\n".encode())
        text = self.file.read_bytes().decode("utf-8-sig")
        write(self.file, edited(text, [Put(("version",), "v2")]), "1")
        self.assertEqual(self.file.read_bytes(), "\ufeffversion: v2\n".encode())
