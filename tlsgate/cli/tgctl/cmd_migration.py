"""`tgctl migration`: from separate ports to one and back, step by step, with nobody dropped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import click

from tlsgate.cli.door import Asks
from tlsgate.cli.group import Whole
from tlsgate.cli.options import DURATION_OR_NONE
from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.migration_agents import agents
from tlsgate.core.dependents import ago
from tlsgate.errors import DaemonSaid

#: Exit codes beside the usual ones: something is in the way; or it is not done yet, because a
#: file has to be changed or others have to follow.
NO_GO: Final = 3
WAITS: Final = 4

#: How long a step is waited for when nobody says it, and how often it is looked at.
WAIT_SECONDS: Final = 15
_LOOK_SECONDS: Final = 0.25

_STEP, _BACK = "/v1/migration/step", "/v1/migration/rollback"
#: More steps than a rollback has: it ends whatever the other side says.
_MOST: Final = 8

_QUIET = click.option(
    "--quiet", type=DURATION_OR_NONE, help="Who was not there for so long does not count [24h]."
)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
_WRITE = click.option(
    "--write", is_flag=True, help="Change this host's file, keep a copy, and reload."
)
_FORCE = click.option("--force", is_flag=True, help="Do it though somebody would break.")
_WAIT = click.option(
    "--wait", type=DURATION_OR_NONE, help=f"Wait so long until it is done [{WAIT_SECONDS}s]."
)


@click.group("migration", cls=Whole)
def command() -> None:
    """Go from separate ports to one, and back, with nobody dropped.

    Exit codes: 0 go, or done; 3 no-go: somebody or something is in the way; 4 not done yet: a
    file has to be changed, or others have to follow.
    """


@command.command("status")
@_QUIET
@with_api
def status(call: Call, quiet: int | None) -> None:
    """Say for each step whether it is done, go or no-go, and by what evidence."""
    told = call.api().ask("GET", "/v1/migration", _query(quiet))
    call.show(told, _status_text)
    _exit(_code_of(told))


@command.command("plan")
@_QUIET
@with_api
def plan(call: Call, quiet: int | None) -> None:
    """Say what each step that is left would change: commands, files, lines."""
    api = call.api()
    told = api.ask("GET", "/v1/migration", _query(quiet))
    left = [step for step in told["steps"] if step["state"] != "done"]
    made = []
    for step in left:
        body = {"step": step["number"], "dry_run": True, **_quiet_body(quiet)}
        made.append(api.ask("POST", _STEP, body=body))
    own = _own(call, any(answer["files"] for answer in made))
    call.show(made, lambda _: "\n".join(_plan_lines(made, own)) or "all steps are done")


@command.command("step")
@click.argument("number", type=click.IntRange(1, 7))
@_QUIET
@_DRY_RUN
@_WRITE
@_FORCE
@_WAIT
@with_api
def step(
    call: Call,
    number: int,
    quiet: int | None,
    dry_run: bool,
    write: bool,
    force: bool,
    wait: int | None,
) -> None:
    """Take one step towards one port.

    What a configuration file decides is shown as a diff, and waits for the reload; --write
    does both where the file is this host's.
    """
    body = {"step": number, "dry_run": dry_run, "force": force, **_quiet_body(quiet)}
    answer = _asked(call.api(), _STEP, body)
    written = write and not dry_run
    code = _acted(call, answer, write=written, force=force, wait=wait, quiet=quiet)
    call.show(answer, lambda _: "\n".join(_answer_lines(answer)))
    _exit(code)


@command.command("rollback")
@_DRY_RUN
@_WRITE
@_FORCE
@_WAIT
@with_api
def rollback(call: Call, dry_run: bool, write: bool, force: bool, wait: int | None) -> None:
    """Go back to separate ports: they open first, then clients are told.

    Goes as far as it can, and says what it waits for; called again it goes on from there.
    """
    api, answers, code = call.api(), [], 0
    for _ in range(_MOST):
        body = {"dry_run": dry_run, "force": force}
        answer = _asked(api, _BACK, body)
        code = _acted(call, answer, write=write and not dry_run, force=force, wait=wait)
        answers.append(answer)
        if answer["result"] == "nothing" or code or dry_run:
            break
    call.show(answers, lambda _: "\n".join(line for one in answers for line in _answer_lines(one)))
    _exit(code)


@command.command("preflight")
@click.option("--close", default="", help="Listeners with commas [every separate one].")
@_QUIET
@with_api
def preflight(call: Call, close: str, quiet: int | None) -> None:
    """Say who would break if listeners closed now."""
    told = call.api().ask("GET", "/v1/migration/preflight", {"close": close, **_query(quiet)})
    call.show(told, _preflight_text)
    _exit(0 if told["go"] else NO_GO)


command.add_command(agents)


# -- what is done --


def _asked(api: Asks, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a step; one that is refused because somebody would break ends with its own code."""
    try:
        answer: dict[str, Any] = api.ask("POST", path, body=dict(body))
    except DaemonSaid as said:
        if said.word != "step_not_safe":
            raise
        click.echo(f"tgctl: {plain(str(said))}", err=True)
        _exit(NO_GO)
        raise AssertionError("click has ended the command") from said
    return answer


def _acted(
    call: Call,
    answer: dict[str, Any],
    *,
    write: bool,
    force: bool,
    wait: int | None,
    quiet: int | None = None,
) -> int:
    """Write files where that is wanted, wait for the step; gives the exit code.

    The answer gets what has been done: "said", "lines", and the step as it is then.
    """
    if answer["result"] in ("nothing", "would"):
        own = _own(call, bool(answer["files"]))
        answer["shown"] = _file_lines(answer, own)
        state = answer["step"]["state"]
        return NO_GO if answer["result"] == "would" and state in ("no-go", "later") else 0
    seconds = WAIT_SECONDS if wait is None else wait
    if answer["files"]:
        from tlsgate.cli.tgctl.fileedits import edits, put_in_force

        found = edits(answer["files"], _own(call, True))
        answer["shown"] = [line for one in found for line in one.lines()]
        here = [one for one in found if one.is_here]
        if write:
            for one in here:
                forced = force and answer["forced"]
                answer["shown"] += put_in_force(one, call.door(), force=forced)
                answer["said"] = []  # it said what is left to do
            if not here:
                answer["said"].append("none of these files is this daemon's")
        elif wait is None:
            seconds = 0
    elif answer["result"] == "waits" and wait is None:
        seconds = 0
    _wait(call.api(), answer, seconds, quiet)
    if answer["step"]["state"] == "done":
        answer["result"] = "done"
        return 0
    return WAITS


def _wait(api: Asks, answer: dict[str, Any], seconds: float, quiet: int | None) -> None:
    """Look at the step until it is done, for so long at most."""
    until = time.monotonic() + seconds
    number = answer["step"]["number"]
    side = "steps" if answer["direction"] == "there" else "back"
    while True:
        told = api.ask("GET", "/v1/migration", _query(quiet))
        answer["step"] = told[side][number - 1]
        if answer["step"]["state"] == "done" or time.monotonic() >= until:
            return
        time.sleep(_LOOK_SECONDS)


def _own(call: Call, needed: bool) -> Any:
    """The file of the daemon on this host that is asked; None: it is elsewhere, or not needed."""
    if not needed or call.is_remote:
        return None
    from tlsgate.cli.tgctl.fileedits import own_file
    from tlsgate.errors import DaemonAway, DoorClosed

    try:
        return own_file(call.door())
    except (DaemonAway, DoorClosed):
        return None


def _query(quiet: int | None) -> dict[str, str]:
    return {} if quiet is None else {"quiet": str(quiet)}


def _quiet_body(quiet: int | None) -> dict[str, float]:
    return {} if quiet is None else {"quiet_seconds": float(quiet)}


def _exit(code: int) -> None:
    if code:
        click.get_current_context().exit(code)


def _code_of(told: Mapping[str, Any]) -> int:
    """0: all is done, or the next step may be taken."""
    following = next((one for one in told["steps"] if one["state"] != "done"), None)
    stuck = following is not None and following["state"] in ("no-go", "later")
    return NO_GO if told["broken"] or stuck else 0


# -- words --


def _status_text(told: dict[str, Any]) -> str:
    lines = [f"the mode is {told['mode']} (by {told['mode_origin']})"]
    if told["mode_since"] is not None:
        lines[0] += f", for {ago(max(0.0, time.time() - told['mode_since']))}"
    if told["unsettled_seconds"]:
        lines.append(f"clients may act by the one before for {told['unsettled_seconds']:.0f} s")
    if told["run"] is not None:
        run = told["run"]
        way = "step" if run["direction"] == "there" else "rollback step"
        what = "waits for a file" if run["stage"] == "file" else "is under way"
        lines.append(f"{way} {run['step']} has begun and {what}")
    lines += [f"BROKEN: {why}" for why in told["broken"]]
    lines += [f"note: {why}" for why in told["contradicts"]]
    lines += [f"away: gateway {name}" for name in told["away"]]
    lines.append("")
    for one in told["steps"]:
        lines += _step_lines(one)
    return "\n".join(map(plain, lines))


def _step_lines(one: Mapping[str, Any]) -> Iterable[str]:
    yield f"{one['number']}  {one['state']:<6} {one['title']}"
    for said in one["evidence"]:
        yield f"          {said}"
    for name in one["names"]:
        yield f"          - {name}"
    if one["todo"] and one["state"] != "done":
        yield f"          -> {one['todo']}"


def _plan_lines(made: Iterable[dict[str, Any]], own: Any) -> Iterable[str]:
    for answer in made:
        yield from map(plain, _step_lines(answer["step"]))
        yield from (f"          {plain(line)}" for line in _file_lines(answer, own))


def _file_lines(answer: Mapping[str, Any], own: Any) -> list[str]:
    if not answer["files"]:
        return []
    from tlsgate.cli.tgctl.fileedits import edits

    return [line for one in edits(answer["files"], own) for line in one.lines()]


def _answer_lines(answer: Mapping[str, Any]) -> Iterable[str]:
    side = "step" if answer["direction"] == "there" else "rollback step"
    one = answer["step"]
    yield plain(f"{side} {one['number']}: {one['title']}: {_RESULTS[answer['result']](one)}")
    yield from map(plain, answer["said"])
    if answer["forced"]:
        nobody = "nobody, by the ledger" if not answer["breaks"] else ""
        yield f"forced; who breaks: {nobody}".rstrip()
        yield from (
            plain(f"  {row['kind']} {row['name']} by {row['listener']}") for row in answer["breaks"]
        )
    yield from map(plain, answer.get("shown", ()))
    if answer["result"] in ("waits", "would"):
        yield from (plain(f"  - {name}") for name in one["names"])


_RESULTS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "done": lambda one: "done",
    "nothing": lambda one: "done before",
    "waits": lambda one: "not done yet",
    "would": lambda one: str(one["state"]),
}


def _preflight_text(told: dict[str, Any]) -> str:
    ports = ", ".join(told["close"]) or "no separate port is open"
    lines = [f"{'go' if told['go'] else 'no-go'}: closing {ports}"]
    lines += [f"  {why}" for why in told["why"]]
    if told["people"]:
        lines.append(f"{len(told['people'])} would break:")
        lines += [f"  {who}" for who in told["people"]]
    if told["unknown"]:
        lines.append(f"and {told['unknown']} open connections of nobody who has shown a name")
    return "\n".join(map(plain, lines))
