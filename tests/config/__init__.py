"""Tests of the configuration."""

from tests.support import properties

__all__ = ["properties"]
