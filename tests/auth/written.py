"""Resources as somebody may write them, and what the reader says of them."""

from __future__ import annotations

from typing import Any

from tlsgate.auth.kinds import read_resource
from tlsgate.errors import BadResource


def written(kind: str, name: str | None = "x", **spec: Any) -> dict[str, Any]:
    """A resource as somebody may write it."""
    metadata = {} if name is None else {"name": name}
    return {"kind": kind, "metadata": metadata, "spec": spec}


def problems(resource: Any) -> dict[str, str]:
    """What is wrong with *resource*, by path; {} when it is right."""
    try:
        read_resource(resource)
    except BadResource as e:
        return dict(e.problems)
    return {}


def warned(resource: Any) -> dict[str, str]:
    """What `read_resource` warns of, by path."""
    return dict(read_resource(resource).warnings)
