"""R08: reloads and upgrades under load lose nothing, good or bad."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.integration.test_reload import ReloadCase
from tests.support.child import Child, sized, until
from tests.support.flood import Source, alice
from tests.support.harness import ROOT, Gate, route, settings
from tests.support.ports import free_port

#: For `tests.support.together`.
ALONE = "it runs at a share of what the machine can"

_RELOADS = 20
_UPGRADES = 3
_STREAMS = sized(100, 200)

_UNLIMITED = dict.fromkeys(
    ("unauthenticated_per_address", "handshakes_per_second_per_address"), 100_000
)


class Crowd:
    """Clients in a child process."""

    def __init__(self, folder: Path, how: str, port: int, number: int, least: int) -> None:
        self._stop = folder / f"stop-{how}-{number}"
        self._log = folder / f"crowd-{how}-{number}"
        self.child = Child(
            [
                sys.executable,
                "-m",
                "tests.support.flood",
                *(how, str(port), str(number), str(least), self._stop),
            ],
            self._log,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), **alice()},
        )

    def end(self) -> dict[str, Any]:
        """Tell it to stop; what it says."""
        self._stop.touch()
        code = self.child.wait(600)
        assert code == 0, self.child.tail()
        said: dict[str, Any] = json.loads(self._log.read_text().splitlines()[-1])
        return said


class NoLossTests(ReloadCase):
    """Changes of everything at 60 % of what the machine can."""

    limit_seconds = 1800

    def source_gate(self, workers: int) -> Gate:
        """A daemon with an echo and a source behind it."""
        self.source = self.serve(Source())
        self.workers = workers
        gate = self.echo_gate(proxy=self._proxy(), may_log=("upgrade failed", "not taken"))
        gate.reload(self.file(gate))
        return gate

    def _proxy(self, **more: object) -> dict[str, Any]:
        return {
            "workers": self.workers,
            "limits": _UNLIMITED,
            "timeouts": {"drain_seconds": 300},
            **more,
        }

    def file(self, gate: Gate, **proxy: object) -> dict[str, Any]:
        """The file with both routes, and more keys of proxy_service."""
        routes = [
            route("echo", alpn=["echo"], target=self.echo.endpoint),
            route("source", alpn=["source"], target=self.source.endpoint),
        ]
        said = settings(gate.data_dir, routes=routes, proxy=self._proxy(**proxy))
        said["teleport"]["log"]["severity"] = "INFO"
        return said

    def crowd(self, gate: Gate, how: str, number: int, least: int = 0) -> Crowd:
        """Clients of the daemon, ended with the test."""
        crowd = Crowd(gate.folder, how, gate.port(), number, least)
        self.addCleanup(crowd.child.end)
        return crowd

    def change_everything(self, workers: int, connections: int) -> None:
        """Reload and upgrade under load until there were so many connections."""
        gate = self.source_gate(workers)
        measure = self.crowd(gate, "connect", 0)
        _turn_for(sized(5, 10))
        measured = measure.end()
        self.assertEqual(measured["failed"], {})
        rate = measured["count"] / measured["seconds"]
        streams = self.crowd(gate, "stream", _STREAMS)
        until(
            lambda: gate.admin("GET", "/v1/status")["connections"] >= _STREAMS,
            "all streams",
            60,
            streams.child.tail,
        )
        flood = self.crowd(gate, "connect", int(rate * 0.6), connections)
        begun = time.monotonic()
        seconds = max(connections / (rate * 0.6), 30.0)
        port = free_port()
        more = self.file(gate, postgres_listen_addr=f"127.0.0.1:{port}")
        good = self.file(gate)
        bad = {**good, "version": "v9"}
        steps = _RELOADS + _UPGRADES + 1
        for step in range(steps):
            _turn_for(begun + seconds * (step + 0.5) / steps - time.monotonic())
            if step % 8 == 7:
                gate.admin("POST", "/v1/upgrade", seconds=120)
            elif step == 12:
                gate.write(bad)
                gate.admin("POST", "/v1/upgrade", seconds=120, status=409)
            elif step % 3 == 2:
                gate.reload(bad, status=409)
            else:
                gate.reload(more if step % 3 else good)
            gate.write(good)
        _turn_for(begun + seconds - time.monotonic())
        flooded, streamed = flood.end(), streams.end()
        failed = flooded["failed"], streamed["failed"]
        self.assertEqual(failed, ({}, {}), f"{failed}\n{self._causes(gate)}")
        self.assertGreaterEqual(flooded["count"], connections)
        self.assertGreater(streamed["bytes"], _STREAMS * (1 << 20) * seconds * 0.1)

    def _causes(self, gate: Gate) -> Counter[str]:
        """Why connections ended, as the daemon has it."""
        events = (gate.data_dir / "log" / "events.log").read_text().splitlines()
        return Counter(f"{one.get('route')} {one.get('cause')}" for one in map(json.loads, events))

    def test_one_process(self) -> None:
        """20 reloads and 3 upgrades: no connection fails, no stream is broken."""
        self.change_everything(1, sized(10_000, 100_000))

    def test_workers(self) -> None:
        """The same with a supervisor and two workers."""
        self.change_everything(2, sized(5_000, 100_000))


def _turn_for(seconds: float) -> None:
    """Let the load go on for so long; there is nothing to wait for but time."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, "time passes", max(seconds, 0) + 5)
