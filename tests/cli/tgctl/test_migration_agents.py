"""Tests for `tgctl migration agents`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor
from tlsgate.cli.tgctl.call import Call
from tlsgate.cli.tgctl.migration_agents import command

PATH = "/v1/migration/agents"
ADVICE = {"percent": 100, "labels": {}, "paused": False, "number": 0}


def agent(name: str, **more: Any) -> dict[str, Any]:
    """An agent as the API gives it."""
    return {
        "name": name,
        "roles": ["node"],
        "gateway": "gw1",
        "worker": "0",
        "listener": "web",
        "transport": "tls-alpn",
        "should": "web",
        "state": "moved",
        "why": "",
        **more,
    }


def told(*agents: Mapping[str, Any], **advice: Any) -> dict[str, Any]:
    """What the API says of them."""
    counts: dict[str, int] = {}
    for one in agents:
        counts[one["state"] or "unknown"] = counts.get(one["state"] or "unknown", 0) + 1
    return {"advice": {**ADVICE, **advice}, "counts": counts, "agents": list(agents)}


class AgentsTests(SynchronousTestCase):
    """Tests for the command."""

    def run_with(self, answer: Any, *words: str) -> Result:
        """Run it against a daemon that answers so."""
        self.door = TableDoor({f"GET {PATH}": answer, f"POST {PATH}": ADVICE})
        call = Call(open_door=self.door.open)
        env = {"TLSGATE_CONFIG": None, "TLSGATE_DATA_DIR": None, "TGSH_HOME": "/nonexistent"}
        return CliRunner().invoke(command, words, obj=call, env=env)

    def test_list(self) -> None:
        """Each with its place, and the counts; 3: somebody cannot move."""
        stays = agent("b", listener="tunnel", state="cannot", why="port 443 is shut")
        away = agent("c", gateway=None, worker="", listener="", transport="", state="away")
        ran = self.run_with(told(agent("a", worker=""), stays, away, agent("d", state="")))
        self.assertEqual(
            [" ".join(line.split()) for line in ran.stdout.splitlines()],
            [
                "AGENT SERVICES GATEWAY NOW TRANSPORT SHOULD STATE WHY",
                "a node gw1 web tls-alpn web moved -",
                "b node gw1/0 tunnel tls-alpn web cannot port 443 is shut",
                "c node no tunnel - - web away -",
                "d node gw1/0 web tls-alpn web unknown -",
                "",
                "1 moved, 1 cannot, 1 away, 1 unknown",
            ],
        )
        self.assertEqual(ran.exit_code, 3)

    def test_not_yet(self) -> None:
        """4: somebody has not moved yet, or a gateway does not say."""
        for state in ("old", "moving", ""):
            ran = self.run_with(told(agent("a"), agent("b", state=state)))
            self.assertEqual(ran.exit_code, 4)

    def test_all_there(self) -> None:
        """Then it is done; an agent that has no tunnel at all is no obstacle."""
        for answer in (told(), told(agent("a")), told(agent("a", state="away"))):
            self.assertEqual(self.run_with(answer).exit_code, 0)
        self.assertEqual(self.run_with(told()).stdout, "no agent\n")
        shown = self.run_with(told(agent("a")), "--format=json").stdout
        self.assertEqual(json.loads(shown), told(agent("a")))

    def test_advice(self) -> None:
        """Who is to move is said first, and what holds others back is shown."""
        for words, body in (
            (["--percent=10"], {"percent": 10, "labels": None, "paused": False}),
            (["--labels=env=dev"], {"percent": None, "labels": {"env": "dev"}, "paused": False}),
            (["--pause"], {"percent": None, "labels": None, "paused": True}),
            (["--all"], {"percent": 100, "labels": {}, "paused": False}),
        ):
            self.run_with(told(), *words)
            self.assertEqual(self.door.bodies, [body, None])
        ran = self.run_with(told(percent=10, labels={"env": "dev"}, paused=True))
        self.assertEqual(
            ran.stdout.splitlines()[2:],
            [
                "nobody is asked to move (--pause); `tgctl migration agents --all` goes on",
                "only 10 % of the agents are asked",
                "only agents with env=dev are asked",
            ],
        )
        self.assertNotEqual(self.run_with(told(), "--all", "--pause").exit_code, 0)
