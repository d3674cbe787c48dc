"""Tests of tlsgate.tunnel."""
