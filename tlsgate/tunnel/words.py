"""The gateway's first words to an agent: welcome, or why not."""

from __future__ import annotations

from typing import Final

import tlsgate
from tlsgate.core.frames import FrameKind, message
from tlsgate.core.greetings import GatewayHello
from tlsgate.errors import Draining, Fault, GateError, TooMany

#: Of the sentence that an agent reads.
_SENTENCE: Final = 512


def first_words(hello: GatewayHello) -> bytes:
    """The gateway's HELLO as it goes out."""
    return message(FrameKind.HELLO, hello.told())


def refusal(error: GateError, gateway: str = "gateway", words: str = "") -> bytes:
    """A HELLO that says why there is no session; in these words, or the error's own.

    An agent that reads "try later" comes back; for the rest somebody has to do something. Of
    faults of ours it says nothing but that the log has them.
    """
    words = words or str(error)
    if error.fault is Fault.GATE:
        words = "the gateway failed; its log says why"
    elif isinstance(error, (TooMany, Draining)):
        words = f"try later: {words}"
    printable = "".join(one if one.isprintable() else "?" for one in words)
    return first_words(
        GatewayHello(gateway=gateway, version=tlsgate.__version__, error=printable[:_SENTENCE])
    )
