"""Tests for `tgsh.nodes`: the files and the way of a login."""

from __future__ import annotations

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.tgsh import flat, nodes
from tlsgate.cli.tgsh.call import Call
from tlsgate.errors import Unreachable


class PlaceForTests(CommandCase):
    """Tests for `place_for` and `way_for`."""

    def call(self) -> Call:
        """A command's call, of the login."""
        return Call(home=self.terminal.home, now=lambda: NOW)

    def test_agrees(self) -> None:
        """It is the place that `tgsh proxy ssh` reads."""
        ours = nodes.place_for(self.call(), "example")
        theirs = flat.place_of(str(self.terminal.home), None, None)
        self.assertEqual(vars(ours), vars(theirs))

    def test_away(self) -> None:
        """A gateway that is away is a sentence, not an error of the library."""

        def away(place: flat.Place) -> bytes:
            raise ConnectionRefusedError

        call = self.call()
        call.now, call.ask_ping = (lambda: NOW + 61), away
        error = self.assertRaises(Unreachable, nodes.way_for, call, nodes.place_for(call))
        self.assertIn("gate.test:443 cannot be reached: nobody listens there", str(error))
