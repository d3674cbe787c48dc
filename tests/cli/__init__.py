"""Tests of the command lines."""

from tests.support import properties

__all__ = ["properties"]
