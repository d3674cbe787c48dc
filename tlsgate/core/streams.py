"""The life of a tunnel's stream: one client after another, and never a byte of the one before.

1. The gateway asks (REQUEST n), the agent says yes or no (STATUS n). A no ends it.
2. After a yes DATA goes both ways; END n in one direction is its half-close.
3. When both have said END, the agent says ENDED n, and the stream may serve the next one.
4. A client that is over before that is RESET by the gateway, whatever is under way; what still
   comes is dropped until ENDED n. A target that is over is RESET by the agent; the gateway
   answers with its own RESET, so that each side has seen the other's last word.
5. Whatever is not said here is no guess at what was meant: the connection ends. How the
   client's own socket ended never decides anything.

The machines of both sides are pure, `gatewaystream` and `agentstream`: frames and the shell's
observations in, effects out. A frame about another request than the present one is odd.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar

from tlsgate.core.frames import Frame, read_message
from tlsgate.errors import BadBytes

#: The highest number of a request: it has four bytes.
SERIALS: Final = 0xFFFFFFFF


Machine = TypeVar("Machine")


def swift(machine: Machine) -> Machine:
    """Have a built machine remember what each input does in each state.

    Automat (25.4) compares state and input with every transition for each input: with some
    hundred of them that took longer than all else that a stream does for a client.
    """
    automaton: Any = getattr(machine, "__automat_automaton__", None)
    if automaton is not None:
        automaton.outputForInput = cache(automaton.outputForInput)
    return machine


def read_turn(frame: Frame, name: str) -> tuple[int, object]:
    """Take a REQUEST or a STATUS apart.

    Args:
        name: the key of what it says.

    Returns:
        The request's number, and what stands under *name*, not looked at.

    Raises:
        BadBytes: it is not an object of just these two.
    """
    told = read_message(frame)
    if set(told) != {"n", name} or type(told["n"]) is not int:
        raise BadBytes(frame.kind.name, f"it has not exactly n and {name}")
    return told["n"], told[name]
