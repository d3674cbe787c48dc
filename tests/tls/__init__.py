"""Tests of all that touches OpenSSL."""

from tests.support import properties

__all__ = ["properties"]
