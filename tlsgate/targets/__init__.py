"""The agent's side of each kind of target: what it takes from the dial to the relay."""

from __future__ import annotations

from tlsgate.targets.base import Openings
from tlsgate.targets.plain import plain
from tlsgate.targets.postgres import Postgres
from tlsgate.targets.secure import Web, check_files

__all__ = ["check_files", "openings"]


def openings() -> Openings:
    """Give the opening of each kind and protocol that an agent can serve."""
    return {
        ("node", "ssh"): plain,
        ("app", "http"): Web(),
        ("app", "tcp"): plain,
        ("db", "postgres"): Postgres(),
    }
