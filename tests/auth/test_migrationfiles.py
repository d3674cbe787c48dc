"""Tests for `tlsgate.auth.migrationfiles`; the steps themselves are in `test_verbs_migration`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.test_verbs_migration import BACK, STEP, VerbsCase
from tests.core.migrations import report
from tlsgate.auth.migrationfiles import _addresses, closing_public
from tlsgate.core.gatewayreports import GatewayReport


def told(names: tuple[str, ...] = ("web", "ssh", "mysql"), **public: Any) -> GatewayReport:
    """A gateway whose clients are told something of its ports."""
    made = report(names=names)
    listeners = tuple(evolve(one, public=public.get(one.name, ())) for one in made.listeners)
    return evolve(made, listeners=listeners)


class HelperTests(SynchronousTestCase):
    """What is worked out of a report."""

    def test_addresses(self) -> None:
        """Ports that version v1 opens by itself need no word; a socket's path is an endpoint."""
        ports = {
            "ssh": "0.0.0.0:3023",
            "tunnel": "0.0.0.0:3025",
            "mysql": "/run/mysql.sock",
            "mongo": "",
            "mine": "0.0.0.0:1",
        }
        made = {change["path"][-1]: change["value"] for change in _addresses(ports)}
        self.assertEqual(
            made,
            {"tunnel_listen_addr": "0.0.0.0:3025", "mysql_listen_addr": "unix:/run/mysql.sock"},
        )

    def test_closing_public(self) -> None:
        """What leads to the port goes with it; what leads to the web port stays if it may."""
        self.assertEqual(closing_public(told()), {})
        self.assertEqual(closing_public(told(ssh=("gw:3023",))), {"ssh": ("gw:3023",)})
        self.assertEqual(closing_public(told(ssh=("gw:443",), web=("gw:443",))), {})
        self.assertEqual(closing_public(told(ssh=("gw:3000",))), {})
        two = ("gw:443", "gw:3023")
        self.assertEqual(closing_public(told(ssh=two, web=("gw:443",))), {"ssh": two})
        self.assertEqual(closing_public(told(mysql=("gw:3000",))), {"mysql": ("gw:3000",)})
        self.assertEqual(closing_public(told(("web",), ssh=("gw:3023",))), {})


class StepTests(VerbsCase):
    """There and back."""

    def test_an_old_block(self) -> None:
        """An older file has the address of Kubernetes in a block, which goes as a whole."""
        self.switch(1)
        self.cluster.clock.advance(61)
        self.come(names=("web", "kube"), mode_in_force="multiplex")
        (file,) = self.ask(STEP, {"step": 7})["files"]
        dropped = [one["path"][-1] for one in file["changes"] if one["value"] is None]
        self.assertEqual(dropped, ["kube_listen_addr", "kubernetes"])

    def test_public_addresses(self) -> None:
        """They go with their ports, and come back with them, over a restart in between too."""
        self.switch(1)
        self.cluster.clock.advance(61)
        public = {"ssh": ("gw:3023",), "mysql": ("a:1", "b:2")}
        self.come(mode_in_force="multiplex", listeners=told(**public).listeners)
        (file,) = self.ask(STEP, {"step": 7})["files"]
        self.assertEqual(
            [change["path"][-1] for change in file["changes"]],
            ["version", "listen_addr", "ssh_public_addr", "mysql_listen_addr", "mysql_public_addr"],
        )
        self.cluster.clock.advance(1)
        self.come(names=("web",), mode_in_force="multiplex")
        self.assertEqual(dict(self.restart().public_of("gw1"))["mysql"], ["a:1", "b:2"])
        (file,) = self.ask(BACK, {"dry_run": True})["files"]
        changes = {change["path"][-1]: change["value"] for change in file["changes"]}
        self.assertEqual(
            (changes["ssh_public_addr"], changes["mysql_public_addr"]),
            (["gw:3023"], ["a:1", "b:2"]),
        )
