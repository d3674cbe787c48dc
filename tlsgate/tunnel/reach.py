"""When an agent looks for a gateway: at once, again after a while, or anew on its wish.

1. `begin` asks for the way; when that is `found` the gateway is dialled; once it has
   `greeted` there is a session.
2. What fails, or a session that is `lost`, is tried again after a wait that nobody can tell:
   thousands of agents that lost the same gateway must not come back at once (R07).
3. `moved` is the gateway's wish, or our own: ask for the way and dial again, while the
   session that is there goes on until the next one has greeted.
4. `parked`: the gateway is reached by another way already. It sleeps until it is woken.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define
from automat import TypeMachineBuilder


class Reach(Protocol):
    """What the machine is told."""

    def begin(self) -> None:
        """Start, or wake up."""

    def found(self) -> None:
        """The way is known."""

    def greeted(self) -> None:
        """The gateway has answered; there is a session."""

    def failed(self) -> None:
        """The way cannot be learnt, or it leads nowhere."""

    def lost(self) -> None:
        """The newest session has ended."""

    def moved(self) -> None:
        """Dial anew."""

    def parked(self) -> None:
        """It is not needed now."""

    def due(self) -> None:
        """The wait is over."""

    def stop(self) -> None:
        """Look for nothing any more."""


class Effects(Protocol):
    """What the machine asks for."""

    def find(self) -> None:
        """Ask for the way."""

    def dial(self) -> None:
        """Dial it."""

    def settle(self) -> None:
        """Use the new session; the one before it, if there is any, drains."""

    def wait(self) -> None:
        """Call `due` after a while."""

    def forget(self) -> None:
        """Drop the wait, the question or the dial that is under way."""


@define
class _Core:
    effects: Effects


_builder = TypeMachineBuilder(Reach, _Core)
_asleep = _builder.state("asleep")
_finding = _builder.state("finding")
_dialling = _builder.state("dialling")
_there = _builder.state("there")
_waiting = _builder.state("waiting")
_over = _builder.state("over")


def _find(reach: Reach, core: _Core) -> None:
    core.effects.find()


def _dial(reach: Reach, core: _Core) -> None:
    core.effects.dial()


def _settle(reach: Reach, core: _Core) -> None:
    core.effects.settle()


def _wait(reach: Reach, core: _Core) -> None:
    core.effects.wait()


def _forget(reach: Reach, core: _Core) -> None:
    core.effects.forget()


def _find_at_once(reach: Reach, core: _Core) -> None:
    core.effects.forget()
    core.effects.find()


_asleep.upon(Reach.begin).to(_finding)(_find)
_finding.upon(Reach.found).to(_dialling)(_dial)
_finding.upon(Reach.failed).to(_waiting)(_wait)
_dialling.upon(Reach.greeted).to(_there)(_settle)
_dialling.upon(Reach.failed).to(_waiting)(_wait)
_there.upon(Reach.lost).to(_waiting)(_wait)
_there.upon(Reach.moved).to(_finding)(_find)
_waiting.upon(Reach.due).to(_finding)(_find)
_waiting.upon(Reach.begin).to(_finding)(_find_at_once)

for _state in (_finding, _dialling, _there, _waiting):
    _state.upon(Reach.parked).to(_asleep)(_forget)
for _state in (_asleep, _finding, _dialling, _there, _waiting):
    _state.upon(Reach.stop).to(_over)(_forget)

# What says nothing here: an older session ends while another one is looked for.
for _state in (_asleep, _finding, _dialling, _waiting, _over):
    _state.upon(Reach.lost).loop().returns(None)
    _state.upon(Reach.moved).loop().returns(None)
for _state in (_finding, _dialling, _there, _over):
    _state.upon(Reach.begin).loop().returns(None)
for _state in (_asleep, _over):
    _state.upon(Reach.parked).loop().returns(None)
for _state in (_asleep, _there, _waiting, _over):
    _state.upon(Reach.failed).loop().returns(None)
for _state in (_asleep, _dialling, _there, _waiting, _over):
    _state.upon(Reach.found).loop().returns(None)
for _state in (_asleep, _finding, _there, _waiting, _over):
    _state.upon(Reach.greeted).loop().returns(None)
for _state in (_asleep, _finding, _dialling, _there, _over):
    _state.upon(Reach.due).loop().returns(None)
_over.upon(Reach.stop).loop().returns(None)

_machine: Final = _builder.build()


def reach(effects: Effects) -> Reach:
    """Make one that is asleep."""
    return _machine(_Core(effects))
