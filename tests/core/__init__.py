"""Tests of the pure part: values in, values out."""

from tests.support import properties

__all__ = ["properties"]
