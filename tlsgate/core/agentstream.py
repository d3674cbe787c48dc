"""The agent's side of a stream's life; see `streams` for the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define
from automat import TypeMachineBuilder

from tlsgate.core.frames import Frame, FrameKind, read_serial
from tlsgate.core.offers import Answered, Asked
from tlsgate.core.streams import SERIALS, read_turn, swift
from tlsgate.errors import BadBytes


class AgentSide(Protocol):
    """What the agent's machine is told."""

    def requested(self, asked: Asked) -> None:
        """REQUEST of the next number."""

    def accept(self) -> None:
        """The target is reached."""

    def refuse(self, answered: Answered) -> None:
        """It is not, or must not be."""

    def came(self) -> None:
        """The header of a DATA frame."""

    def gateway_end(self) -> None:
        """END: the client sends no more."""

    def gateway_reset(self) -> None:
        """RESET: the client is over, or the gateway answers ours."""

    def target_end(self) -> None:
        """Our END has been written."""

    def leave(self) -> None:
        """Nobody reads or writes for the target any more."""

    def break_off(self, why: str) -> None:
        """The connection is gone, or there is a doubt."""


class AgentEffects(Protocol):
    """What the agent's machine asks for."""

    def asked(self, asked: Asked) -> None:
        """Decide about it, and call `accept` or `refuse`."""

    def cancel(self) -> None:
        """Nobody wants the answer any more."""

    def say_status(self, answered: Answered) -> None:
        """Write STATUS."""

    def cut(self) -> None:
        """The target's end is broken from now on."""

    def say_reset(self) -> None:
        """Write RESET."""

    def say_ended(self) -> None:
        """Write ENDED."""

    def rest(self) -> None:
        """It is idle."""

    def die(self, why: str) -> None:
        """Reset the connection."""


@define
class _Agent:
    effects: AgentEffects


_builder = TypeMachineBuilder(AgentSide, _Agent)
_idle = _builder.state("idle")
_owing = _builder.state("idle after a refusal")  # a RESET of it is on its way, perhaps
_asked = _builder.state("asked")
_open = _builder.state("open")
_gateway_ended = _builder.state("gateway ended")  # END has come
_target_ended = _builder.state("target ended")  # END has left
_both = _builder.state("both ended")  # and the target's end is still in use
_cut = _builder.state("cut")  # RESET has come, and the target's end is still in use
_broken = _builder.state("broken")  # after our RESET: the gateway's will come
_over = _builder.state("over")

_USED = (_open, _gateway_ended, _target_ended, _both, _cut)


def _ask(side: AgentSide, core: _Agent, asked: Asked) -> None:
    core.effects.asked(asked)


def _yes(side: AgentSide, core: _Agent) -> None:
    core.effects.say_status(Answered())


def _no(side: AgentSide, core: _Agent, answered: Answered) -> None:
    core.effects.say_status(answered)
    core.effects.rest()


def _cancel(side: AgentSide, core: _Agent) -> None:
    core.effects.cancel()
    core.effects.say_ended()
    core.effects.rest()


def _cut_off(side: AgentSide, core: _Agent) -> None:
    core.effects.cut()


def _reset(side: AgentSide, core: _Agent) -> None:
    core.effects.say_reset()


def _finish(side: AgentSide, core: _Agent) -> None:
    core.effects.say_ended()
    core.effects.rest()


def _owe(side: AgentSide, core: _Agent) -> None:
    core.effects.say_ended()


def _die(side: AgentSide, core: _Agent, why: str) -> None:
    core.effects.die(why)


def _die_asked(side: AgentSide, core: _Agent, why: str) -> None:
    core.effects.cancel()
    core.effects.die(why)


def _die_used(side: AgentSide, core: _Agent, why: str) -> None:
    core.effects.cut()
    core.effects.die(why)


def _odd(what: str, state: str) -> Callable[..., None]:
    def odd(side: AgentSide, core: _Agent, *_: object) -> None:
        side.break_off(f"{what} has no place where a stream is {state}")

    return odd


for _rest in (_idle, _owing):
    _rest.upon(AgentSide.requested).to(_asked)(_ask)
_idle.upon(AgentSide.gateway_reset).loop().returns(None)  # it has crossed our ENDED
_owing.upon(AgentSide.gateway_reset).to(_idle)(_owe)  # it has crossed our STATUS

_asked.upon(AgentSide.accept).to(_open)(_yes)
_asked.upon(AgentSide.refuse).to(_owing)(_no)
_asked.upon(AgentSide.gateway_reset).to(_idle)(_cancel)
_asked.upon(AgentSide.break_off).to(_over)(_die_asked)

_open.upon(AgentSide.came).loop().returns(None)
_open.upon(AgentSide.gateway_end).to(_gateway_ended).returns(None)
_open.upon(AgentSide.target_end).to(_target_ended).returns(None)
_gateway_ended.upon(AgentSide.target_end).to(_both).returns(None)
_target_ended.upon(AgentSide.came).loop().returns(None)
_target_ended.upon(AgentSide.gateway_end).to(_both).returns(None)
for _used in (_open, _gateway_ended, _target_ended, _both):
    _used.upon(AgentSide.gateway_reset).to(_cut)(_cut_off)
for _used in (_open, _gateway_ended, _target_ended):
    _used.upon(AgentSide.leave).to(_broken)(_reset)
for _used in (_both, _cut):
    _used.upon(AgentSide.leave).to(_idle)(_finish)

_broken.upon(AgentSide.came).loop().returns(None)
_broken.upon(AgentSide.gateway_end).loop().returns(None)
_broken.upon(AgentSide.gateway_reset).to(_idle)(_finish)

for _one in (_idle, _owing, _asked, _broken):
    _one.upon(AgentSide.leave).loop().returns(None)
for _one in (_idle, _owing, _broken):
    _one.upon(AgentSide.break_off).to(_over)(_die)
for _one in _USED:
    _one.upon(AgentSide.break_off).to(_over)(_die_used)
# Of ours, too late to be of use.
for _one in (_idle, _owing, *_USED, _broken):
    _one.upon(AgentSide.accept).loop().returns(None)
    _one.upon(AgentSide.refuse).loop().returns(None)
for _one in (_idle, _owing, _asked, _target_ended, _both, _cut, _broken):
    _one.upon(AgentSide.target_end).loop().returns(None)

_odd_ones: tuple[tuple[Callable[..., None], str, tuple[Any, ...]], ...] = (
    (AgentSide.requested, "REQUEST", (_asked, *_USED, _broken)),
    (AgentSide.came, "DATA", (_idle, _owing, _asked, _gateway_ended, _both, _cut)),
    (
        AgentSide.gateway_end,
        "END",
        (_idle, _owing, _asked, _gateway_ended, _both, _cut),
    ),
    (AgentSide.gateway_reset, "RESET", (_cut,)),
)
for _said, _what, _places in _odd_ones:
    for _one in _places:
        _one.upon(_said).loop()(_odd(_what, _one.name))

_inputs: tuple[Callable[..., None], ...] = (
    *(AgentSide.requested, AgentSide.accept, AgentSide.refuse, AgentSide.came),
    *(AgentSide.gateway_end, AgentSide.gateway_reset, AgentSide.target_end),
    *(AgentSide.leave, AgentSide.break_off),
)
for _said in _inputs:
    _over.upon(_said).loop().returns(None)

_machine: Final = swift(_builder.build())


class AgentLife:
    """An agent's stream: its machine, the number of its request, what frames mean to it.

    Attributes:
        side: for what is no frame.
        serial: of the present request, or of the last one; 0 before the first.
    """

    __slots__ = ("serial", "side")

    def __init__(self, effects: AgentEffects) -> None:
        self.side: AgentSide = _machine(_Agent(effects))
        self.serial = 0

    def hear(self, frame: Frame) -> None:
        """Tell the machine of any frame but DATA, whose header alone counts (`side.came`)."""
        kind = frame.kind
        if kind is FrameKind.REQUEST:
            self._request(frame)
        elif kind not in (FrameKind.END, FrameKind.RESET):
            self.side.break_off(f"{kind.name} has no place on a stream")
        elif not self.serial or read_serial(frame.body) != self.serial:
            self.side.break_off(f"{kind.name} of another request than the present one")
        elif kind is FrameKind.END:
            self.side.gateway_end()
        else:
            self.side.gateway_reset()

    def _request(self, frame: Frame) -> None:
        try:
            serial, told = read_turn(frame, "asked")
            asked = Asked.read(told)
        except BadBytes as error:
            self.side.break_off(str(error))
            return
        if serial != self.serial + 1 or serial > SERIALS:
            self.side.break_off("REQUEST of another number than the next one")
            return
        self.serial = serial
        self.side.requested(asked)
