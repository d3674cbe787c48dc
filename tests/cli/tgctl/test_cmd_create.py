"""Tests for `tgctl create` and `tgctl edit`: files, places, and what is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_create import read_text
from tlsgate.cli.tgctl.cmd_edit import command as edit
from tlsgate.errors import BadAsk, DaemonSaid, Fault, Place, Problem

FILE = """\
# two resources
kind: role
metadata: {name: ops}
spec:
  allow:
    logins: [root, 7]
---
kind: networking
spec: {proxy_listener_mode: multiplex}
"""


def refused(*found: tuple[str, str], word: str = "bad_resource") -> DaemonSaid:
    """A refusal of the cluster."""
    nowhere = Place("", 0, 0)
    problems = tuple(Problem(nowhere, path, why) for path, why in found)
    return DaemonSaid(word, Fault.CLIENT, "; ".join(why for _, why in found), problems)


class CreateTests(SynchronousTestCase):
    """Tests for `tgctl create`."""

    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text(FILE)
        self.door = TableDoor(
            {
                "PUT /v1/resources/role/ops": lambda _, body: {**body, "warnings": []},
                "PUT /v1/resources/networking/networking": lambda _, body: {
                    **body,
                    "metadata": {"name": "cluster-networking-config"},
                },
            }
        )

    def test_several(self) -> None:
        """Each document is written, in its order, values as YAML means them."""
        result = run("create", "-f", str(self.file), door=self.door)
        self.assertEqual(
            (result.exit_code, result.stdout, result.stderr),
            (0, "role ops is written\nnetworking cluster-networking-config is written\n", ""),
        )
        self.assertEqual(
            self.door.bodies,
            [
                {
                    "kind": "role",
                    "metadata": {"name": "ops"},
                    "spec": {"allow": {"logins": ["root", 7]}},
                },
                {"kind": "networking", "spec": {"proxy_listener_mode": "multiplex"}},
            ],
        )
        self.assertEqual([query for _, query in self.door.asked], [{"force": "1"}] * 2)

    def test_stdin(self) -> None:
        """Without a file stdin is read; without -f nothing is overwritten."""
        result = run("create", "--confirm", door=self.door, stdin=FILE)
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(self.door.asked[0][1], {"confirm": "1"})

    def test_places(self) -> None:
        """What the cluster refuses is told with its place in the file."""
        self.door.answers = {
            "PUT /v1/resources/role/ops": refused(
                ("spec.allow.logins[1]", "has to be text"), ("spec.deny", "is missing"), ("", "no")
            )
        }
        result = run("create", str(self.file), door=self.door)
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertEqual(
            result.stderr,
            f"tgctl: {self.file}:6:20 spec.allow.logins[1]: has to be text\n"
            f"  {self.file}:5:3 spec.deny: is missing\n"
            f"  {self.file}:2:1: no\n"
            "  this resource was not written\n",
        )

    def test_the_second_is_refused(self) -> None:
        """What was written before it is told on stdout, and counted."""
        where = "PUT /v1/resources/networking/networking"
        self.door.answers = {
            **self.door.answers,
            where: refused(("", "there is one"), word="needs_confirm"),
        }
        result = run("create", str(self.file), door=self.door)
        self.assertEqual((result.exit_code, result.stdout), (2, "role ops is written\n"))
        self.assertEqual(
            result.stderr,
            f"tgctl: {self.file}:8:1: there is one; --confirm does it\n"
            "  this resource was not written; 1 before it are written\n",
        )

    def test_exists(self) -> None:
        """What is there already is not overwritten; the option that does it is named."""
        said = DaemonSaid("exists", Fault.CLIENT, "role 'ops' exists already")
        self.door.answers = {"PUT /v1/resources/role/ops": said}
        result = run("create", str(self.file), door=self.door)
        self.assertIn(
            f"{self.file}:2:1: role 'ops' exists already; -f overwrites it", result.stderr
        )

    def test_warnings(self) -> None:
        """What the cluster takes and does not act upon is told with its place."""
        self.door.answers = {
            **self.door.answers,
            "PUT /v1/resources/role/ops": lambda _, body: {
                **body,
                "warnings": [{"path": "spec.allow", "message": "is not served"}],
            },
        }
        result = run("create", str(self.file), door=self.door)
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(
            result.stderr, f"tgctl: warning: {self.file}:6:5 spec.allow: is not served\n"
        )

    def test_problems_of_the_file(self) -> None:
        """All of them, before the cluster is asked."""
        self.file.write_text("- kind: role\n- 7\n---\nname: x\n---\nkind: role\nkind: user\n")
        result = run("create", str(self.file), door=self.door)
        self.assertEqual((result.exit_code, self.door.asked), (2, []))
        self.assertEqual(
            result.stderr,
            f"tgctl: {self.file}:2:3: is no resource: kind, metadata, …\n"
            f"  {self.file}:4:1 kind: is missing, or no text\n"
            f"  {self.file}:7:1 kind: written twice; first at line 6\n"
            "  3 problems; nothing was changed\n",
        )

    def test_no_such_file(self) -> None:
        """A file that cannot be read is named."""
        self.assertEqual(run("create", "/nonexistent/x").exit_code, 2)
        self.file.write_bytes(b"\xff")
        self.assertRaises(BadAsk, read_text, self.file)


class EditTests(SynchronousTestCase):
    """Tests for `tgctl edit`."""

    ROLE = {"kind": "role", "metadata": {"name": "ops", "revision": 4}, "spec": {"deny": {}}}  # noqa: RUF012 -- read only

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.door = TableDoor(
            {
                "GET /v1/resources/role/ops": self.ROLE,
                "PUT /v1/resources/role/ops": lambda _, body: body,
            }
        )

    def edit(self, script: str, what: str = "role/ops") -> tuple[int, str, str]:
        """The exit code and both outputs, with `sed` as the editor."""
        env = {"EDITOR": f"sed -i {script}", "VISUAL": ""}
        self.patch(tempfile, "tempdir", str(self.folder))
        result = run("edit", what, door=self.door, env=env)
        return result.exit_code, result.stdout, result.stderr

    def test_changed(self) -> None:
        """What was edited is written with the revision that was read; the file is gone."""
        code, out, err = self.edit("s/deny/allow/")
        self.assertEqual((code, out, err), (0, "role ops is changed\n", ""))
        want = {**self.ROLE, "spec": {"allow": {}}}
        self.assertEqual((self.door.bodies[-1], os.listdir(self.folder)), (want, []))
        self.assertEqual(edit.name, "edit")

    def test_unchanged(self) -> None:
        """Nothing is written where nothing was changed."""
        self.assertEqual(self.edit("s/x/x/"), (0, "", "nothing was changed\n"))
        self.assertEqual(
            ([ask for ask, _ in self.door.asked], os.listdir(self.folder)),
            (["GET /v1/resources/role/ops"], []),
        )

    def test_refused(self) -> None:
        """The text is kept, and the problems have their places in it."""
        self.door.answers = {
            **self.door.answers,
            "PUT /v1/resources/role/ops": refused(("spec.allow", "is wrong")),
        }
        code, _, err = self.edit("s/deny/allow/")
        (name,) = os.listdir(self.folder)
        self.assertEqual(code, 2)
        self.assertEqual(
            err,
            f"tgctl: what was edited is kept in {self.folder / name}\n"
            f"tgctl: {self.folder / name}:6:10 spec.allow: is wrong\n"
            "  this resource was not written\n",
        )

    def test_editor_failed(self) -> None:
        """An editor that fails changes nothing, and is named."""
        code, _, err = self.edit("--no-such-option")
        self.assertEqual(code, 2)
        self.assertIn("ended with 1; nothing was changed", err)
