"""Each deliberate error has an owner, a word of its own and a sentence."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tlsgate import errors
from tlsgate.errors import base, closing, gateway, identity, target, tunnel

#: Something for a field of each type that an error may have.
_SAMPLES: dict[str, Any] = {
    "str": "x",
    "str | None": None,
    "bool": False,
    "Fault": errors.Fault.CLIENT,
    "int": 1,
    "float": 1.0,
    "bytes": b"\x00\xff",
    "tuple[bytes, ...]": (b"h2", b"\xff{}\n"),
    "tuple[str, ...]": ("a", "b"),
    "Sequence[str]": ("one", "two"),
    "Sequence[tuple[str, str]]": (("a.b", "no"),),
    "Sequence[Problem]": (errors.Problem(errors.Place("f", 1, 2), "a.b", "no"),),
}


def kinds() -> list[type[errors.GateError]]:
    """Every kind of error that the family has."""
    return [
        kind
        for module in (base, closing, gateway, identity, target, tunnel)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.GateError)
        and kind.__module__ == module.__name__
    ]


def sample(kind: type[errors.GateError]) -> errors.GateError:
    """One error of *kind*."""
    fields = {field.name: _SAMPLES[str(field.type)] for field in attrs.fields(kind)}
    return kind(**fields)


class GateErrorTests(SynchronousTestCase):
    """Tests for `GateError` and its family."""

    def test_every_error_says_whose_fault_it_is(self) -> None:
        """The fault decides log level and exit code, so no error inherits it by accident."""
        silent = [
            kind.__name__
            for kind in kinds()
            if kind not in (errors.GateError, errors.DaemonSaid)  # it repeats the daemon's word
            and kind.fault is errors.Fault.GATE
        ]
        self.assertEqual(silent, [])

    def test_one_door(self) -> None:
        """Every error is found in the package itself, whichever file has it."""
        self.assertEqual([k for k in kinds() if getattr(errors, k.__name__, None) is not k], [])

    def test_reasons_are_distinct_words(self) -> None:
        """Metrics are counted by the reason, so no two errors share one."""
        reasons = [kind.reason for kind in kinds()]
        self.assertEqual(len(set(reasons)), len(reasons))
        for reason in reasons:
            self.assertRegex(reason, r"\A[a-z][a-z_]*\Z")

    def test_every_error_is_a_printable_sentence(self) -> None:
        """Text of a peer never breaks a line or hides in control characters."""
        for kind in kinds():
            text = str(sample(kind))
            self.assertNotEqual(text, "", kind)
            self.assertTrue(text.isprintable(), (kind, text))

    def test_problems_stand_one_a_line(self) -> None:
        """All problems of a file come at once, each with its place, key and way out."""
        here = errors.Place("gate.yaml", 7, 3)
        problems = (errors.Problem(here, "a.b", "not a setting"), errors.Problem(here, "", "empty"))
        self.assertEqual(
            str(errors.BadSettings(problems)),
            "gate.yaml:7:3 a.b: not a setting\ngate.yaml:7:3: empty",
        )

    def test_errors_are_compared_by_identity(self) -> None:
        """Two refusals of the same kind stay two, so tracebacks and sets work."""
        self.assertNotEqual(errors.Draining(), errors.Draining())

    def test_an_unknown_name_is_told_from_an_unknown_protocol(self) -> None:
        """`strict_sni` and "no common protocol" are two sentences (alerts 112 and 120)."""
        name = errors.NoRoute("web", "x.test", (), name_unknown=True)
        protocol = errors.NoRoute("web", None, (b"h2",))
        self.assertEqual(str(name), "no route for the name 'x.test' (strict_sni is on)")
        self.assertEqual(str(protocol), "no route on listener web for no name, ALPN 'h2'")
