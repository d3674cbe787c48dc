"""What all tests of a class have in common: begun with the first of them, ended with the process.

A cluster takes seconds to start. Tests that leave nothing behind but people and roles of their
own names ask one, so that `tests.support.together` has time for those that break theirs.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.support.harness import Gate

C = TypeVar("C", bound=SynchronousTestCase)
T = TypeVar("T")

_MADE: dict[type, Any] = {}


def common(case: C, begin: Callable[[C], T]) -> T:
    """What *begin* makes, once for all tests of the class of *case*.

    Args:
        case: the test that asks.
        begin: given another instance of the class, whose cleanups are those of the process.
    """
    kind = type(case)
    if kind not in _MADE:
        owner = kind()
        atexit.register(owner.doCleanups)
        _MADE[kind] = begin(owner)
    made: T = _MADE[kind]
    return made


def no_bugs(case: SynchronousTestCase, *gates: Gate) -> None:
    """None of *gates* may have met a bug when the test of *case* is over."""

    def look() -> None:
        for gate in gates:
            case.assertEqual(gate.bugs(), [], gate.child.tail())

    case.addCleanup(look)
