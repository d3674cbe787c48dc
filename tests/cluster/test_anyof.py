"""Tests for `tlsgate.cluster.anyof`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tlsgate.cluster.anyof import AnyOf


@implementer(IStreamClientEndpoint)
class Way:
    """An endpoint that connects, or fails."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.tried = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Count it."""
        self.tried += 1
        return succeed(self.name) if self.error is None else fail(self.error)


class AnyOfTests(SynchronousTestCase):
    """Tests for `AnyOf`."""

    def test_the_one_that_worked(self) -> None:
        """A way that fails gives way to the next, which is tried first from then on."""
        one, two = Way("one", Refused()), Way("two")
        both = AnyOf([one, two])
        self.assertTrue(verifyObject(IStreamClientEndpoint, both))
        found: Any = [self.successResultOf(both.connect(None)) for _ in range(3)]  # type: ignore[arg-type]
        self.assertEqual((found, one.tried, two.tried), (["two"] * 3, 1, 3))
        two.error, one.error = Refused(), None
        self.assertEqual(self.successResultOf(both.connect(None)), "one")  # type: ignore[arg-type]

    def test_none_works(self) -> None:
        """The last error is the one that is told; a bug is no reason to try on."""
        one, two = Way("one", Refused("a")), Way("two", Refused("b"))
        error = self.failureResultOf(AnyOf([one, two]).connect(None), Refused)  # type: ignore[arg-type]
        self.assertIn("b", str(error.value))
        one.error = KeyError("bug")
        self.failureResultOf(AnyOf([one, two]).connect(None), KeyError)  # type: ignore[arg-type]
        self.assertEqual(two.tried, 1)
