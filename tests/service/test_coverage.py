"""Tests for `tlsgate.service.coverage`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.offers import Offer
from tlsgate.service.coverage import uncovered


def gate(*covered: str, public: tuple[str, ...] = ("gw.test:443",)) -> Any:
    """A gate with certificates for *covered*."""
    return SimpleNamespace(
        settings=SimpleNamespace(public=SimpleNamespace(web=public)),
        certificates=SimpleNamespace(covers=covered.__contains__),
    )


def app(name: str, **facts: str) -> Offer:
    """An application."""
    return Offer(kind="app", name=name, facts={"protocol": "http", **facts})


class CoverageTests(SynchronousTestCase):
    """Tests for `uncovered`."""

    def test_covered(self) -> None:
        """An application that has a certificate, or needs none of the web's, is not told of."""
        offers = (app("grafana"), app("feed", protocol="tcp"))
        self.assertEqual(uncovered(gate("grafana.gw.test"), offers), [])
        self.assertEqual(uncovered(gate("grafana.localhost", public=()), offers), [])

    def test_uncovered(self) -> None:
        """Of any other an operator hears which name there has to be a certificate for."""
        offers = (app("wiki", public_addr="wiki.example.net"), app("odd", public_addr="a b"))
        said = uncovered(gate("gw.test"), offers)
        wiki = "application wiki: no certificate is for wiki.example.net, so browsers refuse it; "
        wiki += "add one to https_keypairs"
        self.assertEqual(said, [wiki, "application odd: its public_addr is no host name"])
