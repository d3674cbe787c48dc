"""Tests for `tlsgate.protocols.tcp`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError, NoAgent, NotServed, TargetDenied
from tlsgate.interfaces import RelayTo
from tlsgate.protocols.tcp import Tcp
from tlsgate.testing import (
    FakeCluster,
    FakeContext,
    FakeTunnels,
    connect,
    member,
    route,
    settings,
)

FEED = Offer(kind="app", name="feed", facts={"protocol": "tcp", "public_addr": ""})
WIKI = Offer(kind="app", name="wiki", facts={"protocol": "http", "public_addr": ""})


def narrow(name: str) -> Identity:
    """Alice, by a certificate for one application."""
    return member("alice", routes={"app": name})


class TcpTests(SynchronousTestCase):
    """TCP applications."""

    def context(self, identity: Identity | None, server_name: str | None = None) -> FakeContext:
        """A connection with the token."""
        public = evolve(settings().public, web=("gate.test:443",))
        return FakeContext(
            settings=settings(public=public),
            cluster=FakeCluster(),
            tunnels=FakeTunnels(FEED, WIKI),
            identity=identity,
            server_name=server_name,
            der=b"der",
        )

    def test_reached(self) -> None:
        """By certificate or by name; nothing is read before the target has it."""
        for identity, name in (
            (narrow("feed"), None),
            (narrow("feed"), "feed.gate.test"),
            (member("alice"), "feed.gate.test"),
        ):
            context = self.context(identity, name)
            connect(Tcp(), context)
            assert context.relayed is not None
            reach, answer, unread, target, _ = context.relayed
            self.assertEqual((unread, target), (b"", "app/feed"))
            about = context.relayed_about
            assert about is not None
            told = {"app": "feed", "user": "alice"}
            self.assertEqual((dict(about.fields), about.rest), (told, None))
            self.assertEqual((answer(None), answer(GateError())), (b"", b""))
            asked = reach.asked
            self.assertEqual(
                (asked.kind, asked.name, asked.user, asked.certificate, asked.client),
                ("app", "feed", "alice", b"der", "192.0.2.7:40000"),
            )

    def test_refused(self) -> None:
        """No name, two names, an application of HTTP, one that is away, nobody at all."""
        for identity, name, error in (
            (member("alice"), None, NotServed),
            (member("alice"), "gate.test", NotServed),
            (narrow("feed"), "wiki.gate.test", NotServed),
            (narrow("wiki"), None, NotServed),
            (narrow("away"), None, NoAgent),
            (None, "feed.gate.test", NotServed),
        ):
            self.assertRaises(error, Tcp().build, self.context(identity, name))

    def test_denied(self) -> None:
        """Roles decide."""
        context = self.context(narrow("feed"))
        cluster: Any = context.cluster
        cluster.decision = Decision(False, "no role allows it")
        self.assertRaises(TargetDenied, Tcp().build, context)

    def test_static(self) -> None:
        """A static route's target is reached as ever."""
        context = FakeContext(route=route(protocol="tcp", target="tcp:db:1"))
        self.assertEqual(Tcp().build(context), RelayTo(target="tcp:db:1"))
