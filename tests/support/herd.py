"""Thousands of light agents in one process: the tunnel's own code, and nothing beside it.

`Herd` has each of them join, and `start` the process; `python -m tests.support.herd FOLDER` is
that process. Its agents offer a node each and refuse every client; they keep no view of the
cluster. Whoever has a tunnel again sends a heartbeat when its turn comes, as a whole agent would.
"""

from __future__ import annotations

import functools
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from tests.support.child import Child
from tests.support.cluster import new_key
from tests.support.harness import ROOT, Gate
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.config.settings import KeyPair
from tlsgate.core.offers import Answered, Asked, Offer
from tlsgate.errors import GateError
from tlsgate.net.poller import Poller
from tlsgate.net.wheel import Wheel
from tlsgate.tls.dialing import ClusterTls, Expected
from tlsgate.tls.fast import Slab
from tlsgate.tls.keypair import load_pair
from tlsgate.tls.peer import load_cas
from tlsgate.tunnel import finding
from tlsgate.tunnel.agent import Agent
from tlsgate.tunnel.dialling import Badge, Means
from tlsgate.tunnel.stream import AgentStream

_LOOK_SECONDS = 0.2
_CONNECT_SECONDS = 5.0
#: Who begin in a second.
_FIRST_A_SECOND = 80
#: Heartbeats in a second: agents send theirs each minute, and not all at once.
_BEATS_A_SECOND = 60
#: After a heartbeat without an answer.
_AGAIN_SECONDS = 8.0
#: Who join at a time, in the test's own process.
_AT_ONCE = 4


class Herd:
    """The process, and what it says.

    Args:
        gate: a cluster; the agents find it at `server`.
        beats: whether they send a heartbeat each time they are there.
        prefix: of their names.
    """

    def __init__(
        self,
        gate: Gate,
        folder: Path,
        server: str,
        count: int,
        *,
        beats: bool = True,
        prefix: str = "light",
    ) -> None:
        self.count = count
        self._child: Child | None = None
        private, public, _ = new_key()
        (folder / "key").write_bytes(private)
        secret = gate.admin("POST", "/v1/tokens", {"types": ["node"], "uses": 1})["secret"]
        # One key is one member: a token's single use covers all of its names.
        names = [f"{prefix}{number}" for number in range(count)]

        def join(name: str) -> list[str]:
            body = {"token": secret, "type": "node", "name": name, "tls_public_key": public}
            answer = gate.admin("POST", "/v1/join", body)
            (folder / f"{name}.crt").write_text(answer["certificate"])
            return list(answer["cas"]["host"])

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            cas, *_ = pool.map(join, names)
        (folder / "cas").write_text("".join(cas))
        told = {"server": server, "cluster": "gw.test", "names": names, "beats": beats}
        (folder / "herd.json").write_text(json.dumps(told))
        self._folder = folder

    def start(self) -> None:
        """Have all of them dial."""
        command = (sys.executable, "-m", "tests.support.herd", str(self._folder))
        self._child = Child(command, self._folder / "log", env={"PYTHONPATH": str(ROOT)})

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.end()

    @property
    def child(self) -> Child:
        """The process."""
        assert self._child is not None, "it is not started"
        return self._child

    def said(self) -> dict[str, Any]:
        """The newest of its lines: how many are there, and how many beats were answered."""
        lines = self.child.text().splitlines()
        told = [line for line in lines[-50:] if line.startswith('{"at"')]
        return dict(json.loads(told[-1])) if told else {"at": 0.0, "here": 0, "beats": 0}

    def until(self, count: int, seconds: float) -> float:
        """Wait until so many have a tunnel with a stream; gives when, since the epoch."""
        self.child.until(lambda: self.said()["here"] == count, f"{count} are here", seconds)
        return float(self.said()["at"])


class _Light:
    """One agent of the process."""

    def __init__(self, herd: _Process, name: str) -> None:
        self._herd = herd
        self._away = True
        pair = load_pair(KeyPair(cert_file=herd.folder / f"{name}.crt", key_file=herd.key))
        badge = Badge(pair=evolve(pair), cluster=herd.cluster, cas=herd.cas)
        self.agent = Agent(
            herd.means,
            (herd.server,),
            ("node",),
            badge=lambda: badge,
            name=lambda: name,
            find=lambda server: finding.find(herd.means.reactor, server, {}),
            asked=_refuse,
            chance=random.random,
            make_stream=AgentStream,
        )
        host, _, port = herd.server.rpartition(":")
        expected = Expected(cluster=herd.cluster, cas=herd.cas)
        tls = ClusterTls(
            b"tlsgate-auth", lambda: expected, lambda: pair, host, herd.means.reactor, time.time
        )
        tcp = TCP4ClientEndpoint(herd.means.reactor, host, int(port), timeout=_CONNECT_SECONDS)
        self._door = HttpDoor(herd.means.reactor, wrapClientTLS(tls, tcp), "auth", far=True)
        self._offer = Offer(kind="node", name=name, addresses=("127.0.0.1:22",))
        self.agent.offer((self._offer,))

    def here(self) -> bool:
        """Whether it has a tunnel with a stream; each time it has one again, it says so."""
        here = any(one.streams and not one.draining for one in self.agent.tethers)
        if here and self._away and self._herd.beats:
            self._herd.later(self._tell, self._herd.minute)
        self._away = not here
        return here

    def _tell(self) -> None:
        beat = Deferred.fromCoroutine(self._beat())
        beat.addErrback(self._herd.missed)

    async def _beat(self) -> None:
        body = {"version": "0", "hostname": "", "offers": [self._offer.told()], "sshd": None}
        try:
            status, answer = await self._door.ask("POST", "/v1/agent/heartbeat", body)
        except GateError:
            self._herd.later(self._tell, _AGAIN_SECONDS)
            raise
        if status == 200:
            self._herd.beaten += 1
        else:
            print(status, answer, flush=True)


def _refuse(asked: Asked, request: Any) -> None:
    request.refuse(Answered(reason="target_denied", message="it is light"))


class _Process:
    """All of them, and what they share."""

    def __init__(self, folder: Path, told: Mapping[str, Any]) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.folder = folder
        self.key = folder / "key"
        self.server = str(told["server"])
        self.cluster = str(told["cluster"])
        self.beats = bool(told["beats"])
        self.beaten = 0
        self.cas = load_cas([(folder / "cas").read_text()])
        self.means = Means(
            reactor=reactor,
            poller=Poller(self.reactor),
            wheel=Wheel(self.reactor),
            slab=Slab(),
            now=self.reactor.seconds,
            time=time.time,
            environ={},
        )
        self._last: tuple[int, int] = (-1, -1)
        self._lights = [_Light(self, name) for name in told["names"]]

    def run(self) -> None:
        """Start all of them, and tell how many are there, until the process is ended."""
        for one in self._lights:
            # The first time they come one after the other: no storm yet.
            wait = random.random() * len(self._lights) / _FIRST_A_SECOND
            self.reactor.callLater(wait, one.agent.start)
        looking = LoopingCall(self._look)
        looking.start(_LOOK_SECONDS)
        self.reactor.run()

    def missed(self, failure: Failure) -> None:
        """A heartbeat has had no answer."""
        print("no beat:", failure.getErrorMessage(), flush=True)

    @property
    def minute(self) -> float:
        """Seconds in which each has its turn to send a heartbeat."""
        return len(self._lights) / _BEATS_A_SECOND

    def later(self, call: Callable[[], object], seconds: float) -> None:
        """Have *call* made within so many seconds, at a moment that nobody else has."""
        self.reactor.callLater(seconds * random.random(), call)

    def _look(self) -> None:
        now = (sum(one.here() for one in self._lights), self.beaten)
        if now != self._last:
            self._last = now
            told = {"at": time.time(), "here": now[0], "beats": now[1]}
            print(json.dumps(told), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Be the process."""
    folder = Path(arguments[0])
    observer = textFileLogObserver(sys.stderr)
    quiet: Any = functools.partial(_only_trouble, observer)
    globalLogBeginner.beginLoggingTo([quiet], redirectStandardIO=False)
    _Process(folder, json.loads((folder / "herd.json").read_text())).run()


def _only_trouble(observer: Any, event: Mapping[str, Any]) -> None:
    if event["log_level"].name in ("error", "critical"):
        observer(event)


if __name__ == "__main__":
    main(sys.argv[1:])
