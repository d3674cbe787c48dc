"""Writes docs/openapi.yaml and the tables of docs/api.md: `python -m tests.openapi_page`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tlsgate.auth.api import TABLE, status_of
from tlsgate.auth.events import EVENTS
from tlsgate.auth.openapi import document
from tlsgate.errors import GateError, identity

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "openapi.yaml"
GUIDE = DOCS / "api.md"
_HEAD = "# Made by `python -m tests.openapi_page` from tlsgate/auth; a test holds it equal.\n"

_WHO = {
    "anyone": "anyone",
    "known": "users, hosts",
    "user": "users",
    "host": "hosts",
    "gateway": "gateways",
    "local": "the admin socket",
}


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: no aliases, no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def made() -> str:
    """The description as it is to be."""
    text: str = yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    return _HEAD + text


def guide(page: str) -> str:
    """The guide's *page* with its tables as they are to be."""
    verbs = "".join(
        f"| `{verb.method} {verb.path}` | {_WHO[verb.who]} | {verb.summary} |\n" for verb in TABLE
    )
    page = _between(page, "verbs", f"| verb | for | does |\n|---|---|---|\n{verbs}")
    reasons = "".join(
        f"| `{kind.reason}` | {status_of(kind)} | {sentence(kind)} |\n"
        for kind in sorted(_errors(), key=lambda kind: kind.reason)
    )
    page = _between(page, "reasons", f"| reason | status | when |\n|---|---|---|\n{reasons}")
    events = "".join(f"| `{event}` | {code} |\n" for event, code in sorted(EVENTS.items()))
    return _between(page, "events", f"| event | code |\n|---|---|\n{events}")


def _errors() -> list[type[GateError]]:
    """The errors that the auth service answers with."""
    return [
        kind
        for kind in vars(identity).values()
        if isinstance(kind, type)
        and issubclass(kind, GateError)
        and kind.__module__ == identity.__name__
    ]


def sentence(kind: type[GateError]) -> str:
    """What an error says of itself."""
    return (kind.__doc__ or "").partition("\n")[0].replace("|", "or")


def _between(page: str, what: str, table: str) -> str:
    marks = re.compile(rf"(<!-- {what}: [^\n]*\n).*?(<!-- end of {what} -->)", re.S)
    return marks.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(made())
    GUIDE.write_text(guide(GUIDE.read_text()))
