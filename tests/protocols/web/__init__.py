"""Tests for `tlsgate.protocols.web`."""

from tests.support import properties

__all__ = ["properties"]
