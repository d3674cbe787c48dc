"""Tests of the daemon's parts."""

from tests.support import properties

__all__ = ["properties"]
