"""Tests of the auth service, over stores in memory and clocks that stand still."""

from tests.support import properties

__all__ = ["properties"]
