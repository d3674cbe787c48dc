"""Whether the other side of a control connection is still there: a ping each period.

1. `ticked` sends a ping, and asks for the next tick after a period. Behind a ping that was
   not answered the next two come half a period apart, so that the other side is silent for
   three periods at most before it is given up (R15).
2. `answered` is the answer to the newest ping: what comes by itself, or late, says nothing
   of the way there, so the shell does not tell of it.
3. A tick that finds the third ping in a row without an answer is the end of the link.

Source: three are what Teleport's keep_alive_count_max is by default,
https://goteleport.com/docs/reference/resources/ (cluster_networking_config).
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define
from automat import TypeMachineBuilder

#: Between pings behind one without an answer, in periods.
_AGAIN: Final = 0.5


class Link(Protocol):
    """What the machine is told, and asked."""

    def ticked(self) -> None:
        """A period is over; or the link begins."""

    def answered(self) -> None:
        """The answer to the newest ping has come."""

    def paced(self) -> None:
        """The period is another one from now on."""

    def ended(self) -> None:
        """The connection is gone."""

    def missed(self) -> int:
        """How many pings have had no answer within their period."""


class Effects(Protocol):
    """What the machine asks for."""

    def ping(self) -> None:
        """Send one."""

    def tick_later(self, periods: float) -> None:
        """Call `ticked` so many periods from now, and not when it was asked for before."""

    def tick_never(self) -> None:
        """Call it no more."""

    def silent(self) -> None:
        """The other side is not there."""


@define
class _Core:
    effects: Effects


_builder = TypeMachineBuilder(Link, _Core)
_heard = _builder.state("heard")
_first = _builder.state("first")  # one ping is on its way
_second = _builder.state("second")
_third = _builder.state("third")
_over = _builder.state("over")


def _ping(link: Link, core: _Core) -> None:
    core.effects.tick_later(1.0)
    core.effects.ping()


def _ping_again(link: Link, core: _Core) -> None:
    core.effects.tick_later(_AGAIN)
    core.effects.ping()


def _silent(link: Link, core: _Core) -> None:
    core.effects.silent()


def _pace(link: Link, core: _Core) -> None:
    core.effects.tick_later(1.0)


def _pace_again(link: Link, core: _Core) -> None:
    core.effects.tick_later(_AGAIN)


def _stop(link: Link, core: _Core) -> None:
    core.effects.tick_never()


_heard.upon(Link.ticked).to(_first)(_ping)
_first.upon(Link.ticked).to(_second)(_ping_again)
_second.upon(Link.ticked).to(_third)(_ping_again)
_third.upon(Link.ticked).to(_over)(_silent)

for _state, _missed in ((_heard, 0), (_first, 0), (_second, 1), (_third, 2)):
    _state.upon(Link.answered).to(_heard).returns(None)
    _state.upon(Link.paced).loop()(_pace_again if _missed else _pace)
    _state.upon(Link.ended).to(_over)(_stop)
    _state.upon(Link.missed).loop().returns(_missed)

_over.upon(Link.ticked).loop().returns(None)
_over.upon(Link.answered).loop().returns(None)
_over.upon(Link.paced).loop().returns(None)
_over.upon(Link.ended).loop().returns(None)
_over.upon(Link.missed).loop().returns(3)

_machine: Final = _builder.build()


def link(effects: Effects) -> Link:
    """Make a link whose first tick is still to come."""
    return _machine(_Core(effects))
