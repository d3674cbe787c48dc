"""`python -m tests.bench.tunnel`: what a client gets through gateway and agent.

1. A cluster and an agent are started, `twistd tlsgate` both, pinned to one core together; load
   and targets are on another one.
2. The load comes through both by `tlsgate-ssh` and CONNECT, through the gateway alone by a
   static route of the same process with the same certificate, and through two HAProxys in a
   row: round by round, in turns.
3. `ssh root@node true` runs through `tgsh proxy ssh` and straight to the same sshd, in
   turns, on whichever core is free.

Medians of the rounds, each beside what it has to reach. By the wall is what a client sees; by
processor time of gateway and agent together is what they would do with the core to
themselves, which on a machine that others use is the steadier one.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.bench.cases import MIB, Answer
from tests.bench.figures import table
from tests.bench.identity import SHOWN, Figure
from tests.bench.machine import cores, facts
from tests.bench.tunnelhouse import House, Way
from tests.support.child import program

WARM_SECONDS = 0.5
#: New connections that are under way at the same time, and clients of round trips.
AT_ONCE = 16
MANY = 32

#: Name: the load's mode, its target, and how many connections.
CASES = {
    "down": ("down", "source", 1),
    "up": ("up", "sink", 1),
    "connect": ("connect", "echo", AT_ONCE),
    "one": ("connect", "echo", 1),
    "trip": ("pingpong", "echo", 1),
    "trips": ("pingpong", "echo", MANY),
}

Read = Callable[[Answer], float]


def say(text: str) -> None:
    """Tell who waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


# -- the load ---------------------------------------------------------------------------------


def run(house: House, way: Way, case: str, seconds: float) -> None:
    """Run one case once."""
    mode, target, count = CASES[case]
    keys = {"connections": count, "pids": ",".join(map(str, way.pids)), "warm": WARM_SECONDS}
    answer = house.load.command(mode, seconds=seconds, **keys, **way.keys(target))
    way.told.setdefault(case, []).append(answer)


def rounds(house: House, ways: Sequence[Way], count: int, seconds: float) -> None:
    """Run all cases, in turns."""
    for number in range(count):
        for case in CASES:
            for way in ways:
                run(house, way, case, seconds)
        say(f"round {number + 1} of {count}")


def median(way: Way, case: str, read: Read) -> float:
    """The middle of what the rounds of one case say."""
    return statistics.median(read(answer) for answer in way.told[case])


def ratio(way: Way, to: Way, case: str, read: Read) -> float:
    """The middle of the ratios of neighbouring runs."""
    pairs = zip(way.told[case], to.told[case], strict=True)
    return statistics.median(read(one) / read(other) for one, other in pairs)


def moved(answer: Answer) -> float:
    """MiB of either direction; in the other one there is next to nothing."""
    return float(max(answer["sent"], answer["received"])) / MIB


def _speed(amount: Read, by: str, answer: Answer) -> float:
    return amount(answer) / float(answer[by])


def _each(by: str, answer: Answer) -> float:
    return float(answer[by]) / max(1, int(answer["count"])) * 1e6


def rate_figures(ways: Sequence[Way], reached: Way) -> Iterator[Figure]:
    """What goes through in a second, of the wall and of processor time."""
    cases: tuple[tuple[str, str, Read, str, float], ...] = (
        ("down", "one stream to the client", moved, "MiB", 500.0),
        ("up", "one stream to the target", moved, "MiB", 500.0),
        ("connect", "connections of one byte", lambda told: float(told["count"]), "", 600.0),
    )
    for case, what, amount, unit, bound in cases:
        for way in ways:
            reach = bound if way is reached else None
            for by, second in (("wall", "/s"), ("cpu", " a CPU second")):
                value = median(way, case, functools.partial(_speed, amount, by))
                yield Figure(
                    what=f"{what}, {way.name}", value=value, unit=f"{unit}{second}".strip(),
                    reach=reach, least=True,
                )  # fmt: skip


def wait_figures(ways: Sequence[Way], alone: Way, both: Way) -> Iterator[Figure]:
    """What a client waits for."""
    firsts = {}
    for way, what in ((alone, "first byte to its echo"), (both, "CONNECT to its 200")):
        firsts[way.name] = median(way, "one", lambda told: float(told["first"]) * 1e3)
        yield Figure(what=f"{what} with the dial, p50", value=firsts[way.name], unit="ms")
    added = firsts[both.name] - firsts[alone.name]
    yield Figure(what="  what the opened stream adds", value=added, unit="ms", reach=1)
    trip: tuple[tuple[str, str, str, float | None], ...] = (
        ("trip", "wall", "one client", 1.6),
        ("trips", "cpu", f"{MANY} clients", None),
    )
    for case, by, what, reach in trip:
        read = functools.partial(_each, by)
        for way in ways:
            value = median(way, case, read)
            yield Figure(what=f"64 bytes, {what}, {way.name}", value=value, unit=f"us {by}")
        value = ratio(both, alone, case, read)
        yield Figure(what="  both to alone", value=value, unit=by, reach=reach)


# -- ssh ---------------------------------------------------------------------------------------


def ssh_figures(house: House, count: int) -> Iterator[Figure]:
    """Connect and run, straight and through both, in turns."""
    house.write_config(house.alice)
    took: dict[str, list[float]] = {"straight": [], "through": []}
    for _ in range(count):
        for name, words in ssh_words(house).items():
            began = time.monotonic()
            done = subprocess.run(
                words, env=house.alice.env, capture_output=True, timeout=60, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            took[name].append((time.monotonic() - began) * 1e3)
            if done.returncode:
                raise SystemExit(f"bench: {words}: {done.stderr.decode()}")
    values = {name: statistics.median(times) for name, times in took.items()}
    for name, what in (("straight", "straight to its sshd"), ("through", "through both")):
        yield Figure(what=f"ssh root@node true, {what}, p50", value=values[name], unit="ms")
    value = values["through"] / values["straight"]
    yield Figure(what="  through to straight", value=value, unit="", reach=1.15)


def ssh_words(house: House) -> dict[str, list[str]]:
    """The same ssh and the same files: with the way of its configuration, and with none."""
    ssh = [program("ssh", "openssh-client"), "-F", str(house.alice.config), "-o", "BatchMode=yes"]
    direct = ["-o", "ProxyCommand=none", "-o", "HostName=127.0.0.1", "-o", f"Port={house.db1.port}"]
    direct += ["-o", "HostKeyAlias=db1.localhost"]
    where = ["root@db1.localhost", "true"]
    return {"straight": [*ssh, *direct, *where], "through": [*ssh, *where]}


# -- all of it ---------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Give 0 when all is reached, 1 when something is missed."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench.tunnel", description=__doc__.split("\n")[0]
    )
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--seconds", type=float, default=1.5, help="of one run")
    made.add_argument("--ssh", type=int, default=21, help="runs of ssh each way")
    made.add_argument("--nice", type=int, default=0, help="of gateway, agent and load; root")
    given = made.parse_args(arguments)
    cores()
    told = {name: fact for name, fact in facts().items() if name in SHOWN}
    house = House()
    house.nice = given.nice
    found: list[Figure] = []
    try:
        house.open()
        ways = house.ways()
        alone, both, _ = ways
        if given.rounds:
            rounds(house, ways, given.rounds, given.seconds)
            found += [*rate_figures(ways, both), *wait_figures(ways, alone, both)]
        if given.ssh:
            say("ssh")
            found += ssh_figures(house, given.ssh)
    finally:
        house.doCleanups()
    for name, fact in told.items():
        print(f"{name:12}{fact}")
    head = ("figure", "value", "unit", "reach", "verdict")
    print("\n" + table([head, *(one.row() for one in found)]))
    return 1 if any(one.verdict == "missed" for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
