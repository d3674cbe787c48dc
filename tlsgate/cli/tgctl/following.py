"""Waiting until all hosts of a cluster have taken up a step of an authority's rotation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from tlsgate.cli.faults import NotFollowed
from tlsgate.cli.show import plain

#: Between two questions.
PAUSE_SECONDS: Final = 0.5
#: So many are named in a line.
NAMED: Final = 5


def wait_for_all(
    ask: Callable[[], Mapping[str, Any]],
    timeout_seconds: int,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask again and again, and say on stderr whom it waits for.

    Args:
        ask: gives the answer of `/v1/authorities/{type}/followers`.

    Raises:
        NotFollowed: some have not, and the time is over.
    """
    began, told = now(), ""
    while True:
        answer = ask()
        missing = int(answer["behind_count"])
        if not missing:
            if told:
                _tell(f"all {answer['known']} have followed")
            return
        who = _names(answer["behind"], missing)
        if now() - began >= timeout_seconds:
            what = f"{answer['phase']} of {answer['type']}"
            raise NotFollowed(plain(what), who, timeout_seconds)
        line = (
            f"{int(answer['known']) - missing} of {answer['known']} have followed; not yet: {who}"
        )
        if line != told:
            _tell(line)
            told = line
        sleep(PAUSE_SECONDS)


def _tell(line: str) -> None:
    click.echo(f"tgctl: {line}", err=True)
    sys.stderr.flush()


def _names(behind: Sequence[Mapping[str, Any]], count: int) -> str:
    """Some of them, and how many more there are."""
    names = [_name(one) for one in behind[:NAMED]]
    if count > len(names):
        names.append(f"{count - len(names)} more")
    return ", ".join(names)


def _name(row: Mapping[str, Any]) -> str:
    text = f"{row['kind']} {row['name']}"
    if row["worker"] not in ("", "0"):
        text += f" (worker {row['worker']})"
    return plain(text)
