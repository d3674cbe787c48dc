"""docs/roles.md is true: its resources load, its tables are complete, its figures are ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.kinds import read_resource, role_of
from tlsgate.auth.presets import presets
from tlsgate.core import patterns, rolespec
from tlsgate.core.explaining import explain_target
from tlsgate.core.labels import fault, met
from tlsgate.core.roles import Conditions, Person, Role, Target
from tlsgate.core.rolevalues import VERBS

PAGE = (Path(__file__).parents[2] / "docs" / "roles.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """The table below *heading*: the first cell's code to the cell after it."""
    part = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", part, re.M))


class PageTests(SynchronousTestCase):
    """The page about roles."""

    def test_resources_load(self) -> None:
        """Each example is read without a problem or a warning."""
        found: list[dict[str, Any]] = [
            yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
        ]
        self.assertEqual(len(found), 5)
        for resource in found:
            self.assertEqual(read_resource(resource).warnings, (), resource)
        self.assertEqual(role_of(read_resource(found[0])).options.max_session_seconds, 8 * 3600)

    def test_tables(self) -> None:
        """Every key, verb, option and preset has its line, and there are no others."""
        self.assertEqual({*rows("allow and deny")}, {*rolespec.SELECTORS, *rolespec.WORDS, "rules"})
        self.assertEqual({*rows("Rules")}, {*VERBS, "*"})
        self.assertEqual({*rows("options")}, {*rolespec.OPTIONS})
        self.assertEqual([*rows("Presets")], [one.name for one in presets()])

    def test_labels(self) -> None:
        """The forms of labels that the page shows are right, and take what it says."""
        taken = {"env": "staging", "host": "db-7"}
        for written in rows("Labels"):
            selector = {
                key: (words,) if isinstance(words, str) else tuple(words)
                for key, words in yaml.safe_load(f"{{{written}}}").items()
            }
            for words in selector.values():
                self.assertEqual([fault(word) for word in words], [None] * len(words))
            if written != "env: prod":
                self.assertIsNotNone(met(selector, taken, {}), written)

    def test_figures(self) -> None:
        """Limits are named as they are."""
        self.assertIn(f"at most {patterns.PATTERN_LIMIT} characters", PAGE)
        self.assertIn(f"at most {patterns.STEPS} steps", PAGE)

    def test_explanation(self) -> None:
        """The example of an explanation is what `explain_target` says."""
        access = next(role_of(one) for one in presets() if one.name == "access")
        contractors = Role(name="contractors", deny=Conditions(logins=("root",)))
        alice = Person("alice", ("access", "contractors"), {"logins": ("alice", "root")})
        target = Target(kind="node", name="db1", login="root")
        steps = explain_target([access, contractors], alice, target)
        self.assertIn("\n".join(map(str, steps)), PAGE)
