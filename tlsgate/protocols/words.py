"""What a refused client may be told, in a sentence; each protocol wraps it in its own frame."""

from __future__ import annotations

from tlsgate.errors import Fault, GateError, TargetSilent

#: A sentence is cut here: some clients show one line, some frames are small.
SENTENCE_LIMIT = 400


def told(error: GateError) -> str:
    """What *error* means for the client.

    Faults that are the client's own are told whole. Of a target only that it fails is
    told, not where it is; and of our own faults nothing but that the log has them.
    """
    match error.fault:
        case Fault.CLIENT:
            return str(error)[:SENTENCE_LIMIT]
        case Fault.TARGET if isinstance(error, TargetSilent):
            return "the server behind this gateway does not answer"
        case Fault.TARGET:
            return "the server behind this gateway cannot be reached"
        case _:
            return "the gateway failed; its log says why"
