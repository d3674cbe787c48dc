"""Kind `node`: an agent that offers its host's sshd, as it says in its heartbeats.

Nobody writes one: it comes with an agent's first heartbeat, and goes a while after the last.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tlsgate.auth.kindfields import Spec, Text, Texts, listed, mapped


class NodeSpec(Spec):
    """spec of a node; its labels are those of the resource."""

    hostname: Text = ""
    version: Text = ""
    addresses: Texts = ()
    #: What else the same agent offers: "db/orders".
    offers: Annotated[tuple[Text, ...], BeforeValidator(listed)] = ()
    sshd: Annotated[dict[str, Any], BeforeValidator(mapped)] = Field(default_factory=dict)
