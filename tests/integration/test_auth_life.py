"""The auth service through upgrades, reloads and a violent end, with people logged in."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from tests.integration.test_identity import RouteCase
from tests.support.child import alive, until
from tests.support.harness import Gate


class LifeTests(RouteCase):
    """One process: the store goes from hand to hand."""

    def status(self, gate: Gate) -> int:
        """What the API answers on the admin socket; 0 while nobody answers."""
        try:
            gate.admin("GET", "/v1/resources/role", seconds=5)
        except (AssertionError, OSError):
            return 0
        return 200

    def test_upgrade(self) -> None:
        """Who is connected stays, who comes gets in, and logins go on with the new process."""
        gate = self.gated()
        user = self.add_user(gate, "alice")
        alice = self.sign(gate, "alice")
        with self.reach(gate, alice, "echo") as held:
            self.assertEqual(self.says(held), b"hello")
            before = gate.pid
            gate.admin("POST", "/v1/upgrade", seconds=90)
            until(lambda: gate.ready() and gate.pid != before, "another process answers")
            self.assertEqual(self.says(held), b"hello")
            with self.reach(gate, alice, "echo") as new:
                self.assertEqual(self.says(new), b"hello")
        until(lambda: self.status(gate) == 200, "the new process has the store", 15)
        self.assertEqual(self.login(gate, user).name, "alice")
        until(lambda: not alive(before), "the old process ends")

    def test_reload(self) -> None:
        """A reload takes up what the file says of the cluster, and gives routes their roles."""
        gate = self.gated()
        self.add_user(gate, "alice")
        alice = self.sign(gate, "alice")
        text: dict[str, Any] = self.settings_of(gate)
        text["auth_service"]["client_idle_timeout"] = "7m"
        text["proxy_service"]["routes"][0]["require_role"] = ["editor"]
        gate.reload(text)
        said = gate.admin(
            "GET", "/v1/resources/cluster_networking_config/cluster-networking-config"
        )
        self.assertEqual(said["metadata"]["labels"]["teleport.dev/origin"], "config-file")
        self.assertEqual(said["spec"]["client_idle_timeout"], "7m0s")
        with self.reach(gate, alice, "echo") as connection:
            self.assertEqual(self.says(connection), b"")

    def settings_of(self, gate: Gate) -> dict[str, Any]:
        """The file's contents."""
        found: dict[str, Any] = json.loads(gate.file.read_text())
        return found


class WorkersLifeTests(LifeTests):
    """Two workers, and the auth service in a process of its own."""

    def cluster(self, **keys: Any) -> Gate:
        """Start a daemon with workers."""
        return super().cluster(proxy={**keys.pop("proxy", {}), "workers": 2}, **keys)

    def test_killed(self) -> None:
        """A killed auth service is replaced; nobody who is connected, or comes, notices."""
        gate = self.gated()
        user = self.add_user(gate, "alice")
        alice = self.sign(gate, "alice")
        members = gate.admin("GET", "/v1/status")["members"]
        (auth,) = [one["pid"] for one in members if one["worker"] == "auth"]
        with self.reach(gate, alice, "echo") as held:
            self.assertEqual(self.says(held), b"hello")
            os.kill(auth, signal.SIGKILL)
            since = time.monotonic()
            with self.reach(gate, alice, "echo") as new:
                self.assertEqual(self.says(new), b"hello")
            until(lambda: self.status(gate) == 200, "another one answers", 10)
            self.took = time.monotonic() - since
            self.assertEqual(self.says(held), b"hello")
        self.assertEqual(self.login(gate, user).name, "alice")
        gate.admin("POST", "/v1/locks", {"target": {"user": "alice"}})

        def locked() -> bool:
            with self.reach(gate, alice, "echo") as connection:
                return self.says(connection) == b""

        until(locked, "workers follow the new one", 5)
