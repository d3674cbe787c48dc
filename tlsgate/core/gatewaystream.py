"""The gateway's side of a stream's life; see `streams` for the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define
from automat import TypeMachineBuilder

from tlsgate.core.frames import Frame, FrameKind, read_serial
from tlsgate.core.offers import Answered
from tlsgate.core.streams import read_turn, swift
from tlsgate.errors import BadBytes


class GatewaySide(Protocol):
    """What the gateway's machine is told."""

    def ask(self) -> None:
        """There is a client for it."""

    def accepted(self) -> None:
        """STATUS: yes."""

    def refused(self, answered: Answered) -> None:
        """STATUS: no."""

    def came(self) -> None:
        """The header of a DATA frame."""

    def agent_end(self) -> None:
        """END: the target sends no more."""

    def agent_reset(self) -> None:
        """RESET: the target broke."""

    def agent_ended(self) -> None:
        """ENDED: the agent's last word."""

    def client_end(self) -> None:
        """Our END has been written."""

    def leave(self) -> None:
        """Nobody reads or writes for the client any more."""

    def late(self) -> None:
        """What was waited for has not come."""

    def retire(self) -> None:
        """Serve nobody after the present client."""

    def break_off(self, why: str) -> None:
        """The connection is gone, or there is a doubt."""


class GatewayEffects(Protocol):
    """What the gateway's machine asks for."""

    def reach(self) -> None:
        """The target is there: give out the client's end."""

    def miss(self, answered: Answered) -> None:
        """The agent has refused."""

    def died(self, why: str) -> None:
        """Nobody has answered, and nobody will."""

    def cut(self) -> None:
        """The client's end is broken from now on."""

    def say_reset(self) -> None:
        """Write RESET."""

    def wait(self) -> None:
        """Call `late` after a while, and not when it was asked for before."""

    def wait_no_more(self) -> None:
        """Do not call `late`."""

    def rest(self) -> None:
        """It is idle, and may be asked."""

    def part(self) -> None:
        """Close the connection in order."""

    def die(self, why: str) -> None:
        """Reset the connection."""


@define
class _Gateway:
    effects: GatewayEffects
    retiring: bool = False


_builder = TypeMachineBuilder(GatewaySide, _Gateway)
_idle = _builder.state("idle")
_asked = _builder.state("asked")
_open = _builder.state("open")
_agent_ended = _builder.state("agent ended")  # END has come
_client_ended = _builder.state("client ended")  # END has left
_both = _builder.state("both ended")  # and the client's end is still in use
_cut = _builder.state("cut")  # RESET has come, and the client's end is still in use
_finishing = _builder.state("finishing")  # after both ENDs: ENDED will come
_leaving = _builder.state("leaving")  # after our RESET: ENDED will come
_over = _builder.state("over")

_USED = (_open, _agent_ended, _client_ended, _both, _cut)


def _rest(side: GatewaySide, core: _Gateway) -> None:
    core.effects.wait_no_more()
    if core.retiring:
        side.retire()
    else:
        core.effects.rest()


def _accept(side: GatewaySide, core: _Gateway) -> None:
    core.effects.reach()


def _refuse(side: GatewaySide, core: _Gateway, answered: Answered) -> None:
    core.effects.miss(answered)
    _rest(side, core)


def _cut_off(side: GatewaySide, core: _Gateway) -> None:
    core.effects.cut()


def _reset(side: GatewaySide, core: _Gateway) -> None:
    core.effects.say_reset()
    core.effects.wait()


def _finish(side: GatewaySide, core: _Gateway) -> None:
    core.effects.wait()


def _part(side: GatewaySide, core: _Gateway) -> None:
    core.effects.part()


def _retire_later(side: GatewaySide, core: _Gateway) -> None:
    core.retiring = True


def _late(side: GatewaySide, core: _Gateway) -> None:
    core.effects.die("the agent has not said that it is done with a client")


def _die(side: GatewaySide, core: _Gateway, why: str) -> None:
    core.effects.wait_no_more()
    core.effects.die(why)


def _die_asked(side: GatewaySide, core: _Gateway, why: str) -> None:
    core.effects.died(why)
    core.effects.die(why)


def _die_used(side: GatewaySide, core: _Gateway, why: str) -> None:
    core.effects.cut()
    core.effects.die(why)


def _odd(what: str, state: str) -> Callable[..., None]:
    """What has no place in *state*: the connection ends, as after any other doubt."""

    def odd(side: GatewaySide, core: _Gateway, *_: object) -> None:
        side.break_off(f"{what} has no place where a stream is {state}")

    return odd


_idle.upon(GatewaySide.ask).to(_asked).returns(None)
_idle.upon(GatewaySide.retire).to(_over)(_part)
_idle.upon(GatewaySide.break_off).to(_over)(_die)
_idle.upon(GatewaySide.leave).loop().returns(None)

_asked.upon(GatewaySide.accepted).to(_open)(_accept)
_asked.upon(GatewaySide.refused).to(_idle)(_refuse)
_asked.upon(GatewaySide.leave).to(_leaving)(_reset)
_asked.upon(GatewaySide.break_off).to(_over)(_die_asked)

_open.upon(GatewaySide.came).loop().returns(None)
_open.upon(GatewaySide.agent_end).to(_agent_ended).returns(None)
_open.upon(GatewaySide.client_end).to(_client_ended).returns(None)
_agent_ended.upon(GatewaySide.client_end).to(_both).returns(None)
_client_ended.upon(GatewaySide.came).loop().returns(None)
_client_ended.upon(GatewaySide.agent_end).to(_both).returns(None)
for _state in (_open, _agent_ended, _client_ended, _both):
    _state.upon(GatewaySide.agent_reset).to(_cut)(_cut_off)
for _state in (_open, _agent_ended, _client_ended, _cut):
    _state.upon(GatewaySide.leave).to(_leaving)(_reset)
_both.upon(GatewaySide.leave).to(_finishing)(_finish)

_finishing.upon(GatewaySide.agent_ended).to(_idle)(_rest)
# The agent's target broke while our END was on its way.
_finishing.upon(GatewaySide.agent_reset).to(_leaving)(_reset)
# Its target may take what was sent for a while yet: closing in order, nothing of it is lost.
_finishing.upon(GatewaySide.late).to(_over)(_part)

_leaving.upon(GatewaySide.accepted).loop().returns(None)
_leaving.upon(GatewaySide.refused).loop().returns(None)
_leaving.upon(GatewaySide.came).loop().returns(None)
_leaving.upon(GatewaySide.agent_end).loop().returns(None)
_leaving.upon(GatewaySide.agent_reset).loop().returns(None)
_leaving.upon(GatewaySide.agent_ended).to(_idle)(_rest)
_leaving.upon(GatewaySide.late).to(_over)(_late)

for _state in (_finishing, _leaving):
    _state.upon(GatewaySide.leave).loop().returns(None)
    _state.upon(GatewaySide.break_off).to(_over)(_die)
for _state in _USED:
    _state.upon(GatewaySide.break_off).to(_over)(_die_used)
for _state in (_asked, *_USED, _finishing, _leaving):
    _state.upon(GatewaySide.retire).loop()(_retire_later)
for _state in (_idle, _asked, *_USED):
    _state.upon(GatewaySide.late).loop().returns(None)

for _state in (_idle, _asked, _client_ended, _both, _cut, _finishing, _leaving):
    _state.upon(GatewaySide.client_end).loop().returns(None)

_odd_ones: tuple[tuple[Callable[..., None], str, tuple[Any, ...]], ...] = (
    (GatewaySide.ask, "another client", (_asked, *_USED, _finishing, _leaving)),
    (GatewaySide.accepted, "STATUS", (_idle, *_USED, _finishing)),
    (GatewaySide.refused, "STATUS", (_idle, *_USED, _finishing)),
    (GatewaySide.came, "DATA", (_idle, _asked, _agent_ended, _both, _cut, _finishing)),
    (
        GatewaySide.agent_end,
        "END",
        (_idle, _asked, _agent_ended, _both, _cut, _finishing),
    ),
    (GatewaySide.agent_reset, "RESET", (_idle, _asked, _cut)),
    (GatewaySide.agent_ended, "ENDED", (_idle, _asked, *_USED)),
)
for _input, _what, _states in _odd_ones:
    for _state in _states:
        _state.upon(_input).loop()(_odd(_what, _state.name))

_inputs: tuple[Callable[..., None], ...] = (
    *(GatewaySide.ask, GatewaySide.accepted, GatewaySide.refused, GatewaySide.came),
    *(GatewaySide.agent_end, GatewaySide.agent_reset, GatewaySide.agent_ended),
    *(GatewaySide.client_end, GatewaySide.leave, GatewaySide.late, GatewaySide.retire),
    GatewaySide.break_off,
)
for _input in _inputs:
    _over.upon(_input).loop().returns(None)

_machine: Final = swift(_builder.build())


class GatewayLife:
    """A gateway's stream: its machine, the number of its request, what frames mean to it.

    Attributes:
        side: for what is no frame.
        serial: of the present request, or of the last one; 0 before the first.
    """

    __slots__ = ("serial", "side")

    def __init__(self, effects: GatewayEffects) -> None:
        self.side: GatewaySide = _machine(_Gateway(effects))
        self.serial = 0

    def ask(self) -> None:
        """Count the next request; the shell writes it."""
        self.serial += 1
        self.side.ask()

    def hear(self, frame: Frame) -> None:
        """Tell the machine of any frame but DATA, whose header alone counts (`side.came`)."""
        kind = frame.kind
        if kind is FrameKind.STATUS:
            self._status(frame)
        elif kind not in (FrameKind.END, FrameKind.RESET, FrameKind.ENDED):
            self.side.break_off(f"{kind.name} has no place on a stream")
        elif read_serial(frame.body) != self.serial:
            self.side.break_off(f"{kind.name} of another request than the present one")
        elif kind is FrameKind.END:
            self.side.agent_end()
        elif kind is FrameKind.RESET:
            self.side.agent_reset()
        else:
            self.side.agent_ended()

    def _status(self, frame: Frame) -> None:
        try:
            serial, told = read_turn(frame, "answered")
            answered = Answered.read(told)
        except BadBytes as error:
            self.side.break_off(str(error))
            return
        if serial != self.serial:
            self.side.break_off("STATUS of another request than the present one")
        elif answered.good:
            self.side.accepted()
        else:
            self.side.refused(answered)
