"""What a refused client may be told, in a sentence; each protocol wraps it in its own frame."""

from __future__ import annotations

from tlsgate.errors import (
    AgentBusy,
    AgentRefused,
    Fault,
    GateError,
    NoAgent,
    TargetSilent,
    TunnelBroken,
)

#: A sentence is cut here: some clients show one line, some frames are small.
SENTENCE_LIMIT = 400


def told(error: GateError) -> str:
    """What *error* means for the client.

    Faults that are the client's own are told whole, and so is what an agent says, or that
    there is none: who asks for a node by name is a user of the cluster. Of another target only
    that it fails is told, not where it is; and of our own faults nothing but that the log has
    them.
    """
    match error.fault:
        case Fault.CLIENT:
            return str(error)[:SENTENCE_LIMIT]
        case Fault.TARGET if isinstance(error, AgentBusy | AgentRefused | NoAgent | TunnelBroken):
            return str(error)[:SENTENCE_LIMIT]
        case Fault.TARGET if isinstance(error, TargetSilent):
            return "the server behind this gateway does not answer"
        case Fault.TARGET:
            return "the server behind this gateway cannot be reached"
        case _:
            return "the gateway failed; its log says why"
