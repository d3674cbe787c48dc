"""Tests for `tgctl.documents`: several documents, and the place of everything in them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgctl.documents import LIMIT_BYTES, read
from tlsgate.errors import BadSettings

TEXT = """\
%YAML 1.1
---
kind: role
metadata: {name: a, labels: {a.b/c: x}}
spec:
  allow:
    logins: [a, b]
...
--- {kind: user}
---
- kind: lock
- kind: token
  spec: {types: [x]}
---
"""


class ReadTests(SynchronousTestCase):
    """Tests for `read` and `Document.place`."""

    def test_documents(self) -> None:
        """Documents and lists of resources, each in its place; an empty one is none."""
        found = read(TEXT, "f")
        self.assertEqual(
            [(one.value["kind"], one.place().line) for one in found],
            [("role", 3), ("user", 9), ("lock", 11), ("token", 12)],
        )

    def test_places(self) -> None:
        """A value's own place, of what is missing its holder's; dots in keys do no harm."""
        role, _, _, token = read(TEXT, "f")
        for path, want in (
            *(("spec.allow.logins[1]", "f:7:17"), ("spec.allow.logins.1", "f:7:17")),
            *(("metadata.labels.a.b/c", "f:4:37"), ("spec.deny.logins", "f:6:3")),
            ("nothing", "f:3:1"),
        ):
            self.assertEqual(str(role.place(path)), want, path)
        self.assertEqual(str(token.place("spec.types.0")), "f:13:18")

    def test_problems(self) -> None:
        """What is no YAML, or no resource, has its place; so has what is too large."""
        for text, want in (
            ("kind: role\n---\nkind: x\na: b: c\n", "f:4:5"),
            ("- kind: [\n", "f:2:1"),
            ("x", "f:1:1"),
            ("", "f:1:1"),
            ("kind: &a role", "f:1:7 kind"),
            ("a" * (LIMIT_BYTES + 1), "f:1:1"),
        ):
            error = self.assertRaises(BadSettings, read, text, "f")
            self.assertTrue(str(error.problems[-1]).startswith(f"{want}:"), str(error))
