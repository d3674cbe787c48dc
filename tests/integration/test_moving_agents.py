"""Agents on their way from a tunnel port to the web port and back, while they are in use."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import Any

from tests.support.child import until
from tests.support.harness import ROOT, Gate
from tests.support.sshcase import SharedSshCase, SshCase

#: An agent that cannot dial is believed after two tries, with a wait of up to 8 s in between.
_TRY_SECONDS = 40.0


class MovingCase(SshCase):
    """What an operator sees of agents."""

    def agents(self, *words: str, code: int | None = None) -> dict[str, Any]:
        """What `tgctl migration agents` prints, by agent; the last is the counts."""
        data = ("--data-dir", str(self.hub.data_dir))
        tgctl = (sys.executable, "-m", "tlsgate.cli.tgctl.main", *data)
        done = subprocess.run(
            [*tgctl, "migration", "agents", "--format=json", *words],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertIn(done.returncode, (0, 3, 4) if code is None else (code,), done.stderr)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def states(self) -> dict[str, tuple[str, str]]:
        """The listener and the state of each agent's newest tunnel, as auth knows them."""
        told = self.hub.admin("GET", "/v1/migration/agents")["agents"]
        told.sort(key=lambda one: "last client" not in one["why"])
        return {one["name"]: (one["listener"], one["state"]) for one in told}

    def until_states(self, *wanted: tuple[str, str], seconds: float = 30.0) -> None:
        """Wait until agents are so far, in the order of their names."""

        def right() -> bool:
            return tuple(value for _, value in sorted(self.states().items())) == wanted

        until(right, f"{wanted}, not {self.states()}", seconds)


class MovingAgentsTests(MovingCase, SharedSshCase):
    """Three agents, two of which carry nobody."""

    more: tuple[Gate, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.until_states(*[("web", "moved")] * 3)

    def made(self) -> SharedSshCase:
        """Start everything."""
        super().made()
        self.more = (
            self.agent(self.hub, "db2", labels={"env": "dev"}),
            self.agent(self.hub, "db3", labels={"env": "prod"}),
        )
        return self

    def test_there_and_back(self) -> None:
        """All move by themselves, and a session that is under way hears nothing of it."""
        self.says(self.alice, "tgsh", "ssh", "root@db1", "true")
        words = ("tgsh", "ssh", "root@db1", "cat")
        held = subprocess.Popen(
            words,
            env=self.alice.env,
            cwd=self.alice.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(held.kill)
        assert held.stdin is not None and held.stdout is not None
        failed: list[str] = []
        stop = threading.Event()

        def dial() -> None:
            while not stop.wait(0.2):
                done = self.do(self.alice, "tgsh", "ssh", "root@db1", "true")
                if done.returncode:
                    failed.append(done.stderr.decode())

        dials = threading.Thread(target=dial)
        dials.start()
        try:
            for mode, listener in (("separate", "tunnel"), ("multiplex", "web")):
                held.stdin.write(b"a line\n")
                held.stdin.flush()
                self.assertEqual(held.stdout.readline(), b"a line\n")
                self.mode(mode)
                self.until_states(*[(listener, "moved")] * 3)
        finally:
            stop.set()
            dials.join()
        held.stdin.write(b"the last line\n")
        held.stdin.flush()
        self.assertEqual(held.stdout.readline(), b"the last line\n")
        held.stdin.close()
        self.assertEqual((held.wait(30), failed), (0, []))
        held.stdout.close()
        self.agents(code=0)

    def test_some_first(self) -> None:
        """By labels, then by a percentage, then all; and nobody while it is paused."""
        self.agents("--labels=env=dev")
        self.mode("separate")
        self.until_states(("web", "old"), ("tunnel", "moved"), ("web", "old"))
        told = self.agents(code=4)
        why = {one["name"]: one["why"] for one in told["agents"]}
        self.assertEqual((why["db1"], why["db2"]), ("the advice is not for it", ""))
        self.agents("--labels=", "--percent=0")
        self.agents("--percent=100", "--pause")
        self.assertEqual(self.agents(code=4)["counts"]["old"], 2)
        self.agents("--all")
        self.until_states(*[("tunnel", "moved")] * 3)
        self.mode("multiplex")
        self.until_states(*[("web", "moved")] * 3)


class StuckAgentTests(MovingCase):
    """An agent that cannot reach where it should be."""

    def test_it_is_named(self) -> None:
        """It serves on by the old tunnel, holds the others back, and moves once it can."""
        # What agents are told of the tunnel's port leads nowhere, as behind a shut firewall.
        shut = socket.socket()
        self.addCleanup(shut.close)
        shut.bind(("127.0.0.1", 0))
        number = shut.getsockname()[1]
        self.begin(proxy_more={"tunnel_public_addr": f"localhost:{number}"})
        db1 = self.node()
        self.agent(self.hub, "db2")
        alice = self.person()
        self.mode("separate")

        def stuck() -> bool:
            return "cannot" in {state for _, state in self.states().values()}

        until(stuck, "an agent that cannot", _TRY_SECONDS)
        told = self.agents(code=3)
        [one] = [agent for agent in told["agents"] if agent["state"] == "cannot"]
        self.assertIn(str(number), one["why"])
        [other] = [agent for agent in told["agents"] if agent["state"] != "cannot"]
        self.assertEqual(other["why"], f"it waits: {one['name']} cannot move")
        self.assertEqual(self.says(alice, "tgsh", "ssh", "root@db1", "echo", "there"), "there\n")
        self.assertEqual(len(self.tunnels(db1.agent)), 1)
        self.mode("multiplex")
        self.until_states(("web", "moved"), ("web", "moved"))
