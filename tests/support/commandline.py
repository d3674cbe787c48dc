"""tgctl in the test's own process, with a door that answers from a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from click.testing import CliRunner, Result

from tlsgate.cli.tgctl.call import Call
from tlsgate.cli.tgctl.main import tgctl
from tlsgate.errors import DaemonSaid, Fault, GateError


@define
class TableDoor:
    """Answers "METHOD path" from a table, or raises what stands there."""

    answers: Mapping[str, Any]
    asked: list[tuple[str, Mapping[str, str] | None]] = field(factory=list)
    bodies: list[Any] = field(factory=list)
    opened: list[Path] = field(factory=list)

    def open(self, data_dir: Path) -> TableDoor:
        """Be the door of *data_dir*."""
        self.opened.append(data_dir)
        return self

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        seconds: float = 15.0,
        body: Any = None,
    ) -> Any:
        """Give the table's answer."""
        self.asked.append((f"{method} {path}", query))
        self.bodies.append(body)
        # As a daemon says of what it does not have.
        none = DaemonSaid("bad_ask", Fault.OPERATOR, f"there is no {path}")
        answer = self.answers.get(f"{method} {path}", none)
        if callable(answer):
            answer = answer(query, body)
        if isinstance(answer, GateError):
            raise answer
        return answer


def run(
    *words: str,
    door: TableDoor | None = None,
    env: dict[str, str] | None = None,
    name: str | None = None,
    stdin: str = "",
) -> Result:
    """Run `tgctl *words*`; the result has exit_code, stdout and stderr.

    Args:
        door: what answers for the daemon.
        env: variables; none of the test's own that mean something to tgctl.
        name: what the program is called.
    """
    call = Call(open_door=(door or TableDoor({})).open)
    none: dict[str, str | None] = {
        "TLSGATE_CONFIG": None,
        "TLSGATE_DATA_DIR": None,
        "TGSH_HOME": "/nonexistent",
    }
    return CliRunner().invoke(
        tgctl, words, obj=call, env={**none, **(env or {})}, prog_name=name, input=stdin
    )
