"""Tests for `tlsgate.protocols.web`."""
