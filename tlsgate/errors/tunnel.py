"""Errors of reverse tunnels and of what is reached through them."""

from __future__ import annotations

from attrs import define

from tlsgate.errors.base import Fault, GateError


@define(eq=False)
class NoAgent(GateError):
    """No agent with an open tunnel offers what is asked for."""

    fault = Fault.TARGET
    reason = "no_agent"
    kind: str
    name: str

    def __str__(self) -> str:
        return (
            f"no {self.kind} {self.name!r} has a tunnel to this gateway; it is likely offline: "
            "try again, or see `tgsh ls` and `tgctl inventory ls`"
        )


@define(eq=False)
class AgentRefused(GateError):
    """The agent has decided against a client, or could not reach the target.

    `why` is the agent's own sentence; `said` is its reason, such as "denied".
    """

    fault = Fault.TARGET
    reason = "agent_refused"
    name: str
    said: str
    why: str

    def __str__(self) -> str:
        return self.why or f"{self.name} has refused: {self.said}"


@define(eq=False)
class TunnelBroken(GateError):
    """A tunnel's connection ended, or its other side broke the protocol."""

    fault = Fault.TARGET
    reason = "tunnel_broken"
    why: str

    def __str__(self) -> str:
        return f"the tunnel broke: {self.why}"


@define(eq=False)
class BadTunnelWay(GateError):
    """What the gateway advertises for agents contradicts itself."""

    fault = Fault.OPERATOR
    reason = "bad_tunnel_way"
    why: str

    def __str__(self) -> str:
        return f"the gateway's /webapi/find contradicts itself: {self.why}"


@define(eq=False)
class AgentBusy(GateError):
    """The agent is there, and has no free stream for one more client."""

    fault = Fault.TARGET
    reason = "agent_busy"
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} takes nobody more now: {self.why}; try again in a moment"


@define(eq=False)
class NotOffered(GateError):
    """The agent's configuration does not list the address that a client names."""

    fault = Fault.CLIENT
    reason = "not_offered"
    name: str
    port: int

    def __str__(self) -> str:
        return f"node {self.name} offers no port {self.port}; its ssh_service.targets say which"


@define(eq=False)
class TargetDenied(GateError):
    """No role of the client's lets it reach what it names."""

    fault = Fault.CLIENT
    reason = "target_denied"
    who: str
    target: str
    why: str

    def __str__(self) -> str:
        return f"{self.who} may not reach {self.target}: {self.why}"
