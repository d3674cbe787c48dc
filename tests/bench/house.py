"""What `tests.bench.identity` measures at: a cluster with people, connections, programs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.support.cluster import User, request
from tests.support.harness import ROOT, Gate, settings

#: A program's end is seen so late at most.
_LOOK_SECONDS = 0.003
LIMITS = {"handshakes_per_second_per_address": 100_000, "unauthenticated_per_address": 10_000}


@define
class Cluster:
    """A daemon, and people who have been invited."""

    folder: Path
    people: list[User] = field(factory=list)
    _gate: Gate | None = None

    @property
    def gate(self) -> Gate:
        """The daemon that runs."""
        assert self._gate is not None
        return self._gate

    def start(self) -> None:
        """Start it, with a heart."""
        quiet = {"log": {"output": "stderr", "severity": "INFO", "format": {"output": "json"}}}
        text = settings(
            self.folder / "data",
            teleport=quiet,
            auth={"enabled": "yes", "cluster_name": "gw.test"},
            proxy={"limits": LIMITS},
        )
        before = [sys.executable, "-m", "tests.bench.heart", str(self.folder / "heart")]
        self._gate = Gate(self.folder, text, before=before)
        self._gate.until_ready()

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._gate is not None:
            gate, self._gate = self._gate, None
            gate.stop()

    def invite(self, count: int) -> None:
        """Have so many people set their password and second factor."""
        for place in range(count):
            name = f"user{place}"
            made = self.gate.admin("POST", "/v1/users", {"name": name, "roles": ["access"]})
            token = made["invite"]["token"]
            begun = request(self.gate.dial(), "POST", "/v1/invites/begin", {"token": token})
            user = User(name=name, secret=begun.body["secret"])
            body = {"token": token, "password": user.password, "otp": code_of(user)}
            answer = request(self.gate.dial(), "POST", "/v1/invites/accept", body)
            if answer.status != 200:
                raise SystemExit(f"bench: {name} cannot accept: {answer.text}")
            self.people.append(user)

    def beats(self, since: float) -> list[dict[str, float]]:
        """What the heart has told since a moment of the wall clock."""
        time.sleep(0.6)  # it tells twice a second
        lines = map(json.loads, (self.folder / "heart").read_text().splitlines())
        return [line for line in lines if line["time"] >= since]


def code_of(user: User) -> str:
    """The oldest code of somebody that is good and not used yet; waits where there is none."""
    while True:
        now = int(time.time()) // 30
        step = max(user.last_step + 1, now - 1)
        if step <= now + 1:
            return user.code(step * 30)
        time.sleep(0.5)


class Keeping:
    """A connection that is kept for many requests."""

    def __init__(self, gate: Gate, context: ssl.SSLContext | None = None) -> None:
        self._spoken = http.client.HTTPConnection("gw.test", timeout=120)
        if context is None:
            self._spoken.sock = gate.dial()
        else:
            self._spoken.sock = context.wrap_socket(gate.connect(), server_hostname="gw.test")
        # As http.client does for what it dials itself: a body follows its headers at once.
        self._spoken.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, path: str, body: object) -> Any:
        """POST something; gives the answer, which has to be 200."""
        headers = {"Content-Type": "application/json"}
        self._spoken.request("POST", path, json.dumps(body), headers)
        answer = self._spoken.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"bench: POST {path} gave {answer.status}: {text!r}")
        return json.loads(text)

    def close(self) -> None:
        """End it."""
        self._spoken.close()


def peak_kib(pid: int) -> int:
    """The most memory that a process has had; rusage(2) would tell of its parent's, too."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def children_seconds() -> float:
    """Processor time of the programs that have run and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@frozen
class Ran:
    """What one run of a program took."""

    seconds: float
    rss_mib: float
    cpu_seconds: float


def run(home: Path, name: str, *words: object, typed: str = "") -> Ran:
    """Run a program as installed, to its end; its output is thrown away.

    Raises:
        SystemExit: it failed.
    """
    program = Path(sys.executable).with_name(name)
    command = (
        [str(program)] if program.exists() else [sys.executable, "-m", f"tlsgate.cli.{name}.main"]
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TGSH_HOME": str(home)}
    began, used = time.monotonic(), children_seconds()
    with (home.parent / "said").open("w") as said:
        child = subprocess.Popen(
            [*command, *map(str, words)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            text=True,
        )
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(typed)
            child.stdin.close()
        rss_kib = 0
        while child.poll() is None:
            rss_kib = max(rss_kib, peak_kib(child.pid))
            time.sleep(_LOOK_SECONDS)
    seconds = time.monotonic() - began
    if child.returncode:
        told = (home.parent / "said").read_text()
        raise SystemExit(f"bench: {name} {words[0]} gave {child.returncode}: {told}")
    return Ran(seconds, rss_kib / 1024, children_seconds() - used)
