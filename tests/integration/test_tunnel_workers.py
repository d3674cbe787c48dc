"""An agent and a gateway of two workers: it holds a tunnel to each."""

from __future__ import annotations

from typing import Any

from tests.support.agent import AgentCase
from tests.support.harness import CLIENT_SECONDS, Gate


class TunnelWorkersTests(AgentCase):
    """Whichever worker a client comes to, the agent is there."""

    def held(self, agent: Gate) -> list[Any]:
        """The workers to which the agent has a tunnel with a stream."""
        return [
            one["worker"] for one in self.tunnels(agent) if one["streams"] and not one["draining"]
        ]

    def test_both(self) -> None:
        """Connections go to the worker that they name, whoever accepts them."""
        gate = self.cluster(proxy={"workers": 2})
        agent = self.agent(gate)
        agent.child.until(
            lambda: self.held(agent) == ["0", "1"], "a tunnel to each", 2 * CLIENT_SECONDS
        )
        # Each connection was meant for one worker, and has come to it.
        self.assertEqual(gate.events(event="connection.refused", route="tunnel"), [])
        self.assertEqual(gate.events(event="route.deny", route="tunnel"), [])
