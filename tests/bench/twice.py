"""What benches of targets behind agents share: a cluster on one core, two HAProxys, and figures."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import asdict

from tests.bench.children import Child
from tests.bench.figures import table
from tests.bench.gateways import free_port
from tests.bench.identity import SHOWN, Figure
from tests.bench.machine import cores, facts, pinned
from tests.support.agent import AgentCase

QUIET = {"log": {"output": "stderr", "severity": "INFO", "format": {"output": "json"}}}
LIMITS = {"handshakes_per_second_per_address": 100_000, "unauthenticated_per_address": 10_000}


class Twice(AgentCase):
    """Daemons of ours beside two HAProxys in a row; `doCleanups` ends all of it."""

    def runTest(self) -> None:
        """For the constructor of a test case."""

    def role(self, name: str, **allow: object) -> None:
        """Write a role."""
        spec = {"kind": "role", "version": "v7", "metadata": {"name": name}}
        self.hub.admin("PUT", f"/v1/resources/role/{name}", {**spec, "spec": {"allow": allow}})

    def open_hub(self) -> None:
        """Start the cluster on one core; servers and clients begin on the other one."""
        put(os.getpid(), cores()[1])
        self.hub = self.cluster(proxy={"limits": LIMITS}, teleport=QUIET)
        put(self.hub.child.pid, cores()[0])

    def hops(self, port: int, outer: str = "", inner: str = "") -> tuple[int, tuple[int, ...]]:
        """Two HAProxys before *port*, TCP; gives the port of the first, and both processes.

        Args:
            outer: what the first says of its `bind`.
            inner: what the second says of its `server`.
        """
        doors, pids = [free_port(), free_port()], []
        for number, (bind, target, server) in enumerate(((outer, doors[1], ""), ("", port, inner))):
            folder = self.folder()
            text = (
                "global\n  nbthread 1\n  maxconn 4000\n\ndefaults\n  mode tcp\n"
                "  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\n"
                f"listen one\n  bind 127.0.0.1:{doors[number]} {bind}\n"
                f"  server one 127.0.0.1:{target} {server}\n"
            )
            file = folder / "haproxy.cfg"
            file.write_text(text)
            words = [*pinned(cores()[0], 0), "haproxy", "-db", "-f", str(file)]
            child = Child(f"haproxy{number}", words, folder / "log", cwd=folder)
            self.addCleanup(child.stop)
            child.wait_for_port(doors[number])
            pids.append(child.pid)
        return doors[0], tuple(pids)


def put(pid: int, core: int) -> None:
    """Have a program run on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu_seconds(pids: Iterable[int]) -> float:
    """What all threads of these have used so far; the kernel counts it in nanoseconds."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def say(text: str) -> None:
    """Tell who waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(
    name: str,
    doc: str,
    arguments: Sequence[str],
    measure: Callable[[argparse.Namespace], Iterable[Figure]],
) -> int:
    """Measure, print a table and, where it is wished, JSON; 1 when something is missed."""
    made = argparse.ArgumentParser(prog=f"python -m {name}", description=doc.split("\n")[0])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--seconds", type=float, default=3.0, help="of one run")
    made.add_argument("--json", type=Path, help="a file for the figures")
    given = made.parse_args(arguments)
    cores()
    told = {key: fact for key, fact in facts().items() if key in SHOWN}
    found = list(measure(given))
    for key, fact in told.items():
        print(f"{key:12}{fact}")
    head = ("figure", "value", "unit", "reach", "verdict")
    print("\n" + table([head, *(one.row() for one in found)]))
    if given.json is not None:
        figures = [{**asdict(one), "verdict": one.verdict} for one in found]
        given.json.write_text(json.dumps({"machine": told, "figures": figures}, indent=2) + "\n")
    return 1 if any(one.verdict == "missed" for one in found) else 0
