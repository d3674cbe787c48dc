"""Tests for `tlsgate.core.appnames`: which name an application has, and which one a name means."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.appnames import find, host_of, is_own
from tlsgate.core.offers import Offer

PUBLIC = ("gate.example.com", "gw.example.org")


def app(name: str, public_addr: str = "") -> Offer:
    """An application as an agent offers it."""
    return Offer(kind="app", name=name, facts={"public_addr": public_addr})


class HostTests(SynchronousTestCase):
    """Tests for `host_of`."""

    def test_host(self) -> None:
        """It is below the gateway's name, or what the agent's file says, in one spelling."""
        self.assertEqual(host_of("Grafana", "", PUBLIC[0]), "grafana.gate.example.com")
        self.assertEqual(host_of("wiki", "Wiki.Example.net.", PUBLIC[0]), "wiki.example.net")

    def test_none(self) -> None:
        """What cannot be a host name is none, so nobody is led there."""
        for name, public_addr in (("a b", ""), ("a", "10.0.0.1"), ("a", "x/y"), ("a", "h:1")):
            self.assertIsNone(host_of(name, public_addr, PUBLIC[0]))


class FindTests(SynchronousTestCase):
    """Tests for `find`."""

    def test_find(self) -> None:
        """Each public name leads to it, and a public_addr of its own leads only there."""
        grafana, wiki = app("grafana"), app("wiki", "wiki.example.net")
        for host, wanted in (
            ("grafana.gate.example.com", grafana),
            ("grafana.gw.example.org", grafana),
            ("wiki.example.net", wiki),
            ("wiki.gate.example.com", None),
            ("grafana.example.net", None),
            ("x.grafana.gate.example.com", None),
        ):
            self.assertEqual(find((grafana, wiki), host, PUBLIC), wanted, host)

    def test_claimed_twice(self) -> None:
        """Who says a name of another's gets none of its users; below ours, a name is its own's."""
        wiki, other = app("wiki", "wiki.example.net"), app("other", "wiki.example.net")
        self.assertIsNone(find((wiki, other), "wiki.example.net", PUBLIC))
        thief = app("thief", "grafana.gate.example.com")
        grafana = app("grafana")
        self.assertEqual(find((thief, grafana), "grafana.gate.example.com", PUBLIC), grafana)
        self.assertEqual(find((thief,), "grafana.gate.example.com", PUBLIC), thief)

    def test_below(self) -> None:
        """A name below another application's leads nowhere: cookies would reach upwards."""
        wiki, deep = app("wiki", "wiki.example.net"), app("deep", "a.wiki.example.net")
        self.assertIsNone(find((wiki, deep), "a.wiki.example.net", PUBLIC))
        self.assertEqual(find((deep,), "a.wiki.example.net", PUBLIC), deep)
        self.assertEqual(find((deep, app("deep")), "a.wiki.example.net", PUBLIC), deep)
        # Whether there is a grafana now or not.
        below = app("below", "x.grafana.gate.example.com")
        for offers in ((below,), (below, app("grafana"))):
            self.assertIsNone(find(offers, "x.grafana.gate.example.com", PUBLIC))

    def test_own(self) -> None:
        """No application has the gateway's names, or those of its services."""
        for host in (
            "gate.example.com",
            "auth.gate.example.com",
            "kube.gate.example.com",
            "orders.db.gate.example.com",
            "gw.example.org",
        ):
            self.assertTrue(is_own(host, PUBLIC), host)
            self.assertIsNone(find((app("x", host),), host, PUBLIC), host)
        self.assertFalse(is_own("auth.example.net", PUBLIC))

    def test_no_public_name(self) -> None:
        """Without a public name an application still has the one that its file gives."""
        wiki = app("wiki", "wiki.example.net")
        self.assertEqual(find((wiki, app("grafana")), "wiki.example.net", ()), wiki)
