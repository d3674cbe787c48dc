"""The guide's steps as verbs: where the cluster stands, who would break, one step, and back.

A step is judged before it is taken; what is in its way is said, and only force goes on. What a
configuration file decides is answered as changes of that file, and waits for the reload.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from tlsgate.auth import networking
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.migration import QUIET_SECONDS, Direction, Run, step_of
from tlsgate.auth.migrationanswers import MigrationAsked, PreflightAsked, RollbackBody, StepBody
from tlsgate.auth.migrationfiles import changed_files
from tlsgate.auth.verbs_ledger import may_read
from tlsgate.core.dependents import breaks, not_known, people
from tlsgate.core.ledger import Row, told
from tlsgate.core.migration import (
    MULTIPLEX,
    SEPARATE,
    SEPARATE_PORTS,
    Snapshot,
    broken,
    contradicts,
    may_switch,
)
from tlsgate.core.migrationsteps import (
    DONE,
    GO,
    LATER,
    NO_GO,
    Step,
    back,
    separate_ports,
    steps,
)
from tlsgate.errors import BadAsk, StepNotSafe, StepRuns


async def status(call: Call) -> Any:
    """Where each step of the guide stands; the query is a `MigrationAsked`."""
    may_read(call)
    asked: MigrationAsked = call.query
    mine = call.parts.migration
    snapshot = mine.snapshot(_quiet(asked.quiet))
    return {
        "mode": snapshot.mode,
        "mode_since": snapshot.mode_since,
        "mode_origin": snapshot.mode_origin,
        "settle_seconds": snapshot.settle_seconds,
        "unsettled_seconds": snapshot.unsettled_seconds,
        "broken": list(broken(snapshot)),
        "contradicts": list(contradicts(snapshot)),
        "away": list(snapshot.away),
        "steps": [_shown(step) for step in steps(snapshot)],
        "back": [_shown(step) for step in back(snapshot)],
        "run": None if mine.run is None else mine.run.told(),
    }


async def _preflight(call: Call) -> Any:
    may_read(call)
    asked: PreflightAsked = call.query
    snapshot = call.parts.migration.snapshot(_quiet(asked.quiet))
    close = [word for word in asked.close.replace(" ", "").split(",") if word]
    known = {port.name for report in snapshot.gateways for port in report.listeners}
    for name in close:
        if name not in known and name not in SEPARATE_PORTS:
            raise BadAsk(f"no gateway has a listener {name[:64]!r}")
    close = close or list(separate_ports(snapshot))
    rows = breaks(snapshot, close)
    why = _against(snapshot, close)
    return {
        "close": close,
        "go": not rows and not why,
        "why": why,
        "breaks": [told(row) for row in rows],
        "people": list(people(rows, snapshot.now)),
        "unknown": sum(
            row.open
            for row in snapshot.ledger
            if row.use.kind == "unknown" and row.use.listener in close
        ),
    }


def _against(snapshot: Snapshot, close: Collection[str]) -> list[str]:
    """Why these listeners may not close now, whoever uses them."""
    why = []
    if "web" in close:
        why.append("clients of every mode are told to use the web port")
    if any(name in SEPARATE_PORTS for name in close):
        if snapshot.mode == SEPARATE:
            why.append("clients are told to use the separate ports (the mode is separate)")
        else:
            why += contradicts(snapshot)
            if left := snapshot.unsettled_seconds:
                said = "clients may act by what they were told before for another"
                why.append(f"{said} {left:.0f} s")
    return [*why, *not_known(snapshot)]


async def _take(call: Call) -> Any:
    body: StepBody = call.body
    return await _go(call, body.step, "there", body.dry_run, body.force, _quiet(body.quiet_seconds))


async def _rollback(call: Call) -> Any:
    """The next step of the way back that is not done."""
    body: RollbackBody = call.body
    _may_change(call)
    found = back(call.parts.migration.snapshot())
    following = next((step for step in found if step.state != DONE), found[-1])
    return await _go(call, following.number, "back", body.dry_run, body.force, QUIET_SECONDS)


async def _go(
    call: Call, number: int, direction: Direction, dry: bool, force: bool, quiet: float
) -> Any:
    """Take a step.

    Raises:
        StepNotSafe: it would break somebody, and is not forced.
        StepRuns: another one is under way at this moment.
    """
    _may_change(call)
    mine = call.parts.migration
    snapshot = mine.snapshot(quiet)
    step = step_of(snapshot, number, direction)
    key = step.key
    changes = changed_files(mine, snapshot, key, direction)
    closing = separate_ports(snapshot) if key == "close" else ()
    who = breaks(snapshot, closing)
    if mine.run is not None and mine.run.stage == "switching":
        raise StepRuns(mine.run.words)
    unsafe = step.state in (NO_GO, LATER) and key in ("mode", "close", "open", "agents")
    if unsafe and not force and not dry:
        raise StepNotSafe(_words(number, direction), step.names or (step.todo,))
    answer = _answer(step, direction, force=force and unsafe, files=changes, who=who)
    if step.state == DONE:
        return {**answer, "result": "nothing", "said": ["it is done already"]}
    if dry:
        return {**answer, "result": "would", "said": _would(step, changes)}
    run = Run(
        step=number,
        direction=direction,
        stage="file" if changes else "switching",
        mode=(MULTIPLEX if direction == "there" else SEPARATE) if key == "mode" else "",
        by=str(call.principal),
        started=snapshot.now,
    )
    if changes:
        await mine.begin(run)
        _emit(call, run, force and unsafe, who)
        return {**answer, "result": "waits", "said": ["a file decides this: change it, reload"]}
    if key == "mode" and mine.mode != run.mode:
        await mine.begin(run)
        await _switch(call, run, force=force)
        _emit(call, run, force and unsafe, who)
        await mine.end()
        return {**answer, "result": "done", "said": [f"clients are told {run.mode} now"]}
    if key == "agents" and mine.advise is not None and step.state in (GO, NO_GO):
        await mine.advise()
        _emit(call, run, force and unsafe, who)
        return {**answer, "result": "waits", "said": ["agents are told to move, in waves"]}
    return {**answer, "result": "waits", "said": [step.todo or "nothing is to be done here"]}


async def _switch(call: Call, run: Run, *, force: bool) -> None:
    """Change the mode in the cluster's state.

    Raises:
        GateError: it stays as it was.
    """
    parts = call.parts
    mine = parts.migration
    try:
        old = await networking.current(parts.store, networking.NETWORKING)
        why = () if force else may_switch(mine.snapshot(), run.mode)
        if why:
            raise StepNotSafe(run.words, why)
        new = evolve(old, spec={**old.spec, "proxy_listener_mode": _number(run.mode)})
        change = await networking.write(
            parts.store,
            new,
            force=True,
            confirm=False,
            may_switch=lambda was, will: (),
        )
    except BaseException:
        await mine.end(False)
        raise
    await mine.look_again()
    if change.changed:
        call.emit("networking.update", networking.audited(change), name=new.name)


def _answer(
    step: Step,
    direction: Direction,
    *,
    force: bool,
    files: Sequence[Mapping[str, Any]],
    who: Sequence[Row],
) -> dict[str, Any]:
    return {
        "step": _shown(step),
        "direction": direction,
        "forced": force,
        "files": list(files),
        "breaks": [told(row) for row in who],
    }


def _would(step: Step, changes: Sequence[Mapping[str, Any]]) -> list[str]:
    said = ["a file decides this"] if changes else []
    if step.todo:
        said.append(step.todo)
    return said


def _emit(call: Call, run: Run, forced: bool, who: Sequence[Row]) -> None:
    fields = {
        "step": run.step,
        "direction": run.direction,
        "stage": run.stage,
        "forced": forced,
        "breaks": sorted({f"{row.use.kind} {row.use.name}" for row in who})[:100],
    }
    call.emit("migration.step", fields)


def _may_change(call: Call) -> None:
    call.rights.require(networking.NETWORKING, "update")


def _quiet(said: float | None) -> float:
    return QUIET_SECONDS if said is None else said


def _number(mode: str) -> int:
    return 1 if mode == MULTIPLEX else 0


def _words(number: int, direction: Direction) -> str:
    return f"step {number}" if direction == "there" else f"rollback step {number}"


def _shown(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "key": step.key,
        "title": step.title,
        "state": step.state,
        "evidence": list(step.evidence),
        "names": list(step.names),
        "todo": step.todo,
    }


VERBS: Final = (
    Verb(
        name="migration.status",
        method="GET",
        path="/v1/migration",
        who="user",
        summary="Say where the cluster stands between separate ports and one, step by step.",
        answer=status,
        reply="MigrationStatus",
        query=MigrationAsked,
    ),
    Verb(
        name="migration.preflight",
        method="GET",
        path="/v1/migration/preflight",
        who="user",
        summary="Say who would break if listeners closed now.",
        answer=_preflight,
        reply="Preflight",
        query=PreflightAsked,
    ),
    Verb(
        name="migration.step",
        method="POST",
        path="/v1/migration/step",
        who="user",
        summary="Take a step towards one port, or say what it would change.",
        answer=_take,
        reply="StepTaken",
        changes=True,
        body=StepBody,
    ),
    Verb(
        name="migration.rollback",
        method="POST",
        path="/v1/migration/rollback",
        who="user",
        summary="Take the next step back to separate ports.",
        answer=_rollback,
        reply="StepTaken",
        changes=True,
        body=RollbackBody,
    ),
)
