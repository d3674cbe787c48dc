"""Tests for `tlsgate.core.templates`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.templates import TEXT_LIMIT, expand, fault, is_template

TRAITS = {
    "logins": ("root", "alice"),
    "email": ("alice@example.com", "bob", "@nobody"),
    "none": (),
    "star": ("*", ""),
    "https://example.com/groups": ("ops",),
    "my trait": ("x",),
    "long": ("x" * TEXT_LIMIT,),
}


class TemplatesTests(SynchronousTestCase):
    """Tests for `expand` and `fault`."""

    def test_expand(self) -> None:
        """A template gives its text for each value; an unknown trait gives nothing."""
        wanted: dict[str, tuple[str, ...]] = {
            "root": ("root",),
            "{{internal.logins}}": ("alice", "root"),
            "{{ external.logins }}": ("alice", "root"),
            '{{external["logins"]}}': ("alice", "root"),
            '{{external["my trait"]}}': ("x",),
            '{{external["https://example.com/groups"]}}': ("ops",),
            "dev-{{external.logins}}-x": ("dev-alice-x", "dev-root-x"),
            "{{email.local(external.email)}}": ("alice",),
            "{{email.local( external.email )}}s": ("alices",),
            "{{internal.nothing}}": (),
            "{{internal.none}}": (),
            "{{internal.star}}": ("*",),
            "{{internal.long}}": ("x" * TEXT_LIMIT,),
            "a{{internal.long}}": (),
            "{{internal.logins": (),
        }
        self.assertEqual({text: expand(text, TRAITS) for text in wanted}, wanted)

    def test_fault(self) -> None:
        """What only looks like a template is an error, not a text."""
        right = ["root", "{{internal.logins}}", "a-{{external.x}}", "{{email.local(external.x)}}"]
        self.assertEqual([text for text in right if fault(text) is not None], [])
        wrong = {
            "{{logins}}": "is no template",
            "{{internal.}}": "is no template",
            "{{internal.a}}{{internal.b}}": "is no template",
            "internal.a}}": "is no template",
            '{{regexp.replace(external.x, "a", "b")}}': "is no template",
            "{{email.local(external.x}}": "is no template",
            "^{{internal.a}}$": "in a regular expression",
            "db-*-{{internal.a}}": "in a glob",
            "{{" + "x" * TEXT_LIMIT: "has more than 1024 characters",
        }
        for text, why in wrong.items():
            self.assertIn(why, fault(text) or "", text)

    def test_any_text(self) -> None:
        """Whatever is written, there is an answer; a fault gives nothing."""

        @given(st.text('{}.internal"[]()xe @*^$', max_size=24))
        def check(text: str) -> None:
            given_out = expand(text, {"x": ("y",)})
            if not is_template(text):
                self.assertEqual(given_out, (text,))

        check()
