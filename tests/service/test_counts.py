"""Counters survive their way through JSON, and those of workers add up."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.net.tally import Tally
from tlsgate.service.counts import ended, fields, merged


def tally(times: int) -> Tally:
    """A tally in which everything happened *times* times."""
    made = Tally()
    for _ in range(times):
        made.accepted["web"] += 1
        made.active["web"] += 1
        made.refused["web", "no_route"] += 1
        made.uses["ssh", "raw"][0] += 3
        made.uses["ssh", "raw"][1] += 1
        made.shaken("web", 0.003)
        made.carried["echo", "web"][0] += 10
        made.carried["echo", "web"][1] += 20
    return made


class CountsTests(SynchronousTestCase):
    """Tests for `fields` and `merged`."""

    def test_sum(self) -> None:
        """One and two are three, in every counter."""
        several = [json.loads(json.dumps(fields(tally(times)))) for times in (1, 2)]
        total = fields(merged(several))
        total["handshake_seconds_sum"] = round(total["handshake_seconds_sum"], 6)
        expected = fields(tally(3))
        expected["handshake_seconds_sum"] = round(expected["handshake_seconds_sum"], 6)
        self.assertEqual(total, expected)

    def test_none(self) -> None:
        """Without workers there is nothing."""
        self.assertEqual(fields(merged([])), fields(Tally()))

    def test_ended(self) -> None:
        """Of a process that is gone the counts stay, and nobody is connected to it."""
        told = ended(fields(tally(2)))
        self.assertEqual((told["accepted"], told["active"]), ({"web": 2}, {"web": 0}))
        self.assertEqual(told["uses"], [["ssh", "raw", 6, 0]])
