"""`python -m tests.bench`: CPU and memory of tlsgate beside HAProxy's, as a table.

1. what the machine lacks is named; the load generator is compiled; certificates are made;
2. for each case every gateway is started on its core, the load on the other one;
3. one connection to each is verified, and what was negotiated has to be the same for all;
4. the gateways take turns, run by run; medians and ratios of neighbours are printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import define

from tests.bench import figures, machine, runs
from tests.bench.cases import CASES, Case
from tests.bench.children import BenchError
from tests.bench.gateways import KNOWN, Gateway, Peer


@define(kw_only=True)
class Choice:
    """What the command line asked for."""

    cases: tuple[Case, ...]
    gateways: tuple[Gateway, ...]
    plan: runs.Plan
    form: str
    keep: bool


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    names = ", ".join(case.name for case in CASES)
    made.add_argument("--only", action="append", metavar="CASE", help=f"some of: {names}")
    made.add_argument("--runs", type=int, default=6, help="of each gateway in a case (default 6)")
    made.add_argument("--seconds", type=float, default=2.0, help="that a run measures (default 2)")
    made.add_argument(
        "--gateways",
        default="haproxy,tlsgate,tlsgate-public,haproxy-splice",
        metavar="NAMES",
        help=f"the first one is the reference; known: {', '.join(KNOWN)}; one may stand twice",
    )
    made.add_argument(
        "--peer-command",
        metavar="COMMAND",
        help="one more gateway; places: " + " ".join(f"{{{p}}}" for p in Peer.PLACES),
    )
    made.add_argument("--peer-name", default="peer", metavar="NAME")
    made.add_argument(
        "--nice", type=int, default=0, help="of gateways and load, for a machine that others use"
    )
    made.add_argument("--cipher", default="TLS_AES_128_GCM_SHA256", metavar="SUITE")
    made.add_argument("--group", default="X25519", metavar="GROUP", help="of the key exchange")
    made.add_argument("--connections", type=int, help="in place of the case's own number")
    made.add_argument("--format", choices=sorted(figures.FORMATS), default="text")
    made.add_argument("--keep", action="store_true", help="keep configurations and logs")
    return made


def read(arguments: Sequence[str]) -> Choice:
    """Read the command line; SystemExit as argparse does."""
    made = parser()
    given = made.parse_args(arguments)
    known = {case.name: case for case in CASES}
    wanted = [name for part in given.only or known for name in part.split(",")]
    if unknown := [name for name in wanted if name not in known]:
        made.error(f"no such case: {', '.join(unknown)}; known: {', '.join(known)}")
    if not 1 <= given.runs <= 100:
        made.error("--runs has to be from 1 to 100")
    if not 0.2 <= given.seconds <= 60:
        made.error("--seconds has to be from 0.2 to 60")
    if given.connections is not None and not 1 <= given.connections <= 4000:
        made.error("--connections has to be from 1 to 4000")
    gateways: list[Gateway] = []
    for name in given.gateways.split(","):
        if name not in KNOWN:
            made.error(f"no such gateway: {name}; known: {', '.join(KNOWN)}")
        before = sum(each.name.split("#")[0] == name for each in gateways)
        gateways.append(KNOWN[name](name if not before else f"{name}#{before + 1}"))
    if given.peer_command:
        gateways.append(Peer(given.peer_name, template=given.peer_command))
    return Choice(
        cases=tuple(known[name] for name in wanted),
        gateways=tuple(gateways),
        plan=runs.Plan(
            runs=given.runs,
            seconds=given.seconds,
            cipher=given.cipher,
            group=given.group,
            connections=given.connections,
            nice=given.nice,
        ),
        form=given.format,
        keep=given.keep,
    )


def say(text: str) -> None:
    """Talk: standard output is for the table."""
    print(text, file=sys.stderr, flush=True)


def ended(number: int, frame: object) -> None:
    """Turn a signal into the exception that unwinds everything that was started."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main(arguments: Sequence[str]) -> int:
    """Give 0 when everything was measured, 1 when a case failed, 2 when nothing could be."""
    choice = read(arguments)
    if problems := machine.missing():
        for problem in problems:
            say(f"bench: {problem}")
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    folder = Path(tempfile.mkdtemp(prefix="tlsgate-bench-"))
    folder.chmod(0o755)
    facts = machine.facts()
    # What only waits and talks must not take the gateway's core.
    os.sched_setaffinity(0, {machine.cores()[1]})
    try:
        with runs.Bench(folder, choice.plan, say) as bench:
            sections = [bench.case(case, choice.gateways) for case in choice.cases]
            facts |= bench.facts()
        print(figures.FORMATS[choice.form](facts, sections))
        failed = any(row.value is None for section in sections for row in section.rows)
        return 1 if failed else 0
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: interrupted")
        return 130
    finally:
        if choice.keep:
            say(f"bench: files are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
