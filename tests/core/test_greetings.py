"""Tests for `tlsgate.core.greetings`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.greetings import (
    OFFERS,
    AgentHello,
    Changed,
    Drain,
    GatewayHello,
    Inventory,
    Open,
    Reconnect,
    Retire,
    Said,
    Unmoved,
    read_said,
    spread_seconds,
)
from tlsgate.core.offers import Offer
from tlsgate.errors import BadBytes

DB1 = Offer(kind="node", name="db1", labels={"env": "prod"}, addresses=("127.0.0.1:22",))
AGENT = AgentHello(
    kind="control",
    agent="db1",
    cluster="prod",
    version="1.0.0",
    roles=("node",),
    offers=(DB1,),
    hostname="db1.lan",
)
GATEWAY = GatewayHello(
    gateway="gw",
    worker="1",
    workers=("0", "1"),
    version="1.0.0",
    session="ab12",
    ping_seconds=5.0,
    spares=2,
    gateways=("gw.example.com:443",),
    spread_seconds=2.5,
)
CHANGED = Changed(ping_seconds=1.5, spares=0, workers=("0",), gateways=())
SAID: tuple[Said, ...] = (
    Inventory((DB1,), "db1.lan"),
    Open(3),
    Retire(1),
    Drain(),
    Reconnect("it stops"),
    Unmoved("port 443 is shut"),
    CHANGED,
)


class Readings(SynchronousTestCase):
    """What is read of what is told."""

    def bad(self, read: Any, told: dict[str, Any], why: str) -> None:
        """*told* is refused for this reason."""
        self.assertIn(why, str(self.assertRaises(BadBytes, read, told)))

    def test_whole(self) -> None:
        """Each value comes back as it was told."""
        self.assertEqual(AgentHello.read(AGENT.told()), AGENT)
        self.assertEqual(GatewayHello.read(GATEWAY.told()), GATEWAY)
        for said in SAID:
            self.assertEqual(read_said(said.told()), said)

    def test_newer(self) -> None:
        """Facts and words of a newer version are passed over."""
        self.assertEqual(AgentHello.read({**AGENT.told(), "colour": "red"}), AGENT)
        self.assertEqual(read_said({"say": "dance"}), None)

    def test_lacks(self) -> None:
        """Nothing of what is known may be missing, but what the first release did not say."""
        for value, read in ((AGENT, AgentHello.read), (GATEWAY, GatewayHello.read)):
            for key in value.told().keys() - {"spread_seconds"}:
                told = value.told()
                del told[key]
                self.assertRaises(BadBytes, read, told)

    def test_agent(self) -> None:
        """An agent's HELLO is bounded in all its parts."""
        for more, why in (
            ({"v": 2}, "version"),
            ({"v": True}, "version"),
            ({"kind": "both"}, "kind"),
            ({"agent": ""}, "agent is no text"),
            ({"agent": "x" * 257}, "agent is no text"),
            ({"agent": "a\nb"}, "cannot be printed"),
            ({"hostname": 1}, "hostname is no text"),
            ({"roles": "node"}, "roles is no list"),
            ({"roles": [1]}, "roles is no text"),
            ({"roles": ["node"] * 257}, "roles is no list of at most 256"),
            ({"offers": [DB1.told()] * 2}, "twice"),
            ({"offers": [DB1.told()] * (OFFERS + 1)}, "offers is no list"),
            ({"offers": ["db1"]}, "offer"),
        ):
            self.bad(AgentHello.read, {**AGENT.told(), **more}, why)

    def test_gateway(self) -> None:
        """So is a gateway's."""
        for more, why in (
            ({"ping_seconds": "15"}, "no number"),
            ({"ping_seconds": True}, "no number"),
            ({"ping_seconds": 0}, "not between"),
            ({"ping_seconds": float("nan")}, "not between"),
            ({"spread_seconds": "8"}, "no number"),
            ({"spread_seconds": 0}, "not between"),
            ({"spares": -1}, "whole number"),
            ({"spares": 1.0}, "whole number"),
            ({"spares": False}, "whole number"),
            ({"spares": 1001}, "whole number"),
            ({"error": "x" * 1025}, "error is no text"),
            ({"worker": "x" * 250}, "worker is no number of a worker"),
            ({"workers": ["0", 1]}, "workers is no number of a worker"),
        ):
            self.bad(GatewayHello.read, {**GATEWAY.told(), **more}, why)

    def test_r07_spread(self) -> None:
        """Few agents come back soon, many over eight seconds; an older gateway says nothing."""
        self.assertEqual([spread_seconds(count) for count in (0, 100, 250)], [1.0, 1.0, 2.5])
        self.assertEqual(spread_seconds(10_000), 8.0)
        told = GATEWAY.told()
        self.assertEqual(GatewayHello.read({**told, "spread_seconds": 9}).spread_seconds, 8.0)
        del told["spread_seconds"]
        self.assertEqual(GatewayHello.read(told).spread_seconds, 8.0)

    def test_addresses(self) -> None:
        """Of gateways that are told of, those that cannot be dialled are passed over."""
        odd = (
            "gw",
            "gw:",
            "gw:0",
            "gw:65536",
            "gw:x",
            ":443",
            "a b:1",
            "-x:1",
            "[::1",
            "gw:\u0664",
        )
        good = ("gw.example.com:443", "[2001:db8::1]:3024", "192.0.2.1:1")
        told = {**GATEWAY.told(), "gateways": [*odd, *good]}
        self.assertEqual(GatewayHello.read(told).gateways, good)
        changed = read_said({**CHANGED.told(), "gateways": [*good, *odd]})
        assert isinstance(changed, Changed)
        self.assertEqual(changed.gateways, good)

    def test_said(self) -> None:
        """And what is said later."""
        for told, why in (
            ({}, "say is no text"),
            ({"say": "open", "count": 0}, "between 1 and"),
            ({"say": "retire"}, "between 1 and"),
            ({"say": "inventory", "offers": None}, "offers is no list"),
        ):
            self.bad(read_said, told, why)
