"""/web/migration: where the way from separate ports to one stands, for those who go it.

The steps as `tgctl migration status` has them, who still uses the separate ports, and how many
come by each port over time. It only shows: what is to be done, `tgctl` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar, Final

from twisted.web.server import Request

from tlsgate.protocols.web import chart, pages, session
from tlsgate.protocols.web.asked import Asked, Go, Show, address_of
from tlsgate.protocols.web.boardstyle import BOARD_STYLE
from tlsgate.protocols.web.login import LOGIN, OVER

#: What a reader without the right is told.
FORBIDDEN: Final = "Your roles do not let you see this. It is for those who may change the mode."
_STATES: Final = {"done": "done", "go": "go", "no-go": "no go", "later": "later"}
#: Names that a step shows.
_NAMES: Final = 12

MIGRATION_STYLE = (
    BOARD_STYLE
    + """
.steps{margin:1.2rem 0 0;padding:0;list-style:none;counter-reset:step}
.steps li{display:grid;grid-template-columns:1.4rem 1fr auto;gap:0 .8rem;padding:.9rem 1.1rem;
border:1px solid var(--line);border-top-width:0;background:var(--card)}
.steps li:first-child{border-top-width:1px;border-radius:.8rem .8rem 0 0}
.steps li:last-child{border-radius:0 0 .8rem .8rem}
.steps li>b{grid-row:span 9;color:var(--soft);font-weight:600}
.steps h3{margin:0;font-size:1.0625rem;font-weight:650}
.steps p{grid-column:2;margin:.1rem 0 0;color:var(--soft);font-size:.9375rem}
.state{align-self:start;padding:.05rem .7rem;border-radius:1rem;font-size:.875rem;font-weight:600;
background:var(--code);color:var(--soft);white-space:nowrap}
.state.done,.state.go{background:var(--wash);color:var(--accent)}
.state.no-go{background:var(--warnwash);color:var(--warn)}
.chart{margin:1rem 0 0;padding:1rem 1.1rem;border:1px solid var(--line);border-radius:.8rem;
background:var(--card)}
.chart>svg{display:block;width:100%;height:auto}
.chart text{fill:var(--soft);font-size:12px}
.chart .grid{stroke:var(--line);stroke-width:1}
.chart polyline,.chart path[class^=line]{fill:none;stroke-width:2.4;stroke-linejoin:round}
.chart .line0{stroke:var(--accent)}
.chart .line1{stroke:var(--blue);stroke-dasharray:9 3}
.chart .line2{stroke:var(--warn);stroke-dasharray:3 3}
.chart .line3{stroke:var(--ink);stroke-dasharray:12 3 2 3}
.chart .line4{stroke:var(--soft)}
.chart .line5{stroke:var(--soft);stroke-dasharray:2 5}
figcaption{margin:.7rem 0 0;color:var(--soft);font-size:.875rem}
figcaption ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.3rem 0 0;padding:0;
list-style:none}
figcaption svg{width:1.6rem;height:.55rem;margin-right:.4rem}
"""
)
_POLICY: Final = pages.policy(style=MIGRATION_STYLE)


class MigrationPage(Asked):
    """The page; who may not see it is told so."""

    methods: ClassVar = (b"GET", b"HEAD")

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go:
        """Show it; who is not logged in goes to where one logs in."""
        if rest:
            return self.problem(404)
        cookie = session.cookie_of(request)
        if cookie is None:
            return Go(LOGIN)
        body = {"cookie": cookie, "bearer": None, "address": address_of(request)}
        status, said = await self.ask(request, "/v1/web/migration", body)
        if status == 200:
            return Show(200, self._page(said), _POLICY)
        if status == 401:
            session.drop(request)
            return Go(OVER)
        if status == 403:
            return self.problem(403, FORBIDDEN)
        return self.problem(503 if status in (404, 503) else 500)

    def _page(self, said: Mapping[str, Any]) -> bytes:
        found = said["migration"]
        warnings = "".join(
            pages.note(str(one)) for one in (*found["broken"], *found["contradicts"])
        )
        picture = chart.draw(_used(said["usage"]), float(said["until"]))
        body = (
            '<div class="top"><h1>Migration</h1></div>'
            f'<p class="lead">Clients are told to use <b>{_mode(found["mode"])}</b>.</p>{warnings}'
            f"<section><h2>Steps</h2>{_steps(found['steps'])}</section>"
            f"<section><h2>Connections</h2>{picture or _nothing('Nothing is known yet.')}</section>"
            f"<section><h2>Who uses separate ports</h2>{_rows(said['rows'], int(said['more']))}"
            '</section><p class="hint">In a terminal: <code>tgctl migration status</code>, '
            "<code>tgctl ledger ls</code></p>"
        )
        return pages.document(
            "Migration", body, name=self.place.name, kind="board", style=MIGRATION_STYLE
        )


def _mode(mode: str) -> str:
    return "one port (multiplex)" if mode == "multiplex" else "separate ports"


def _used(usage: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """The series of listeners that anybody has used, the busiest first."""
    busy = {name: points for name, points in usage.items() if any(points)}
    return dict(sorted(busy.items(), key=lambda one: -sum(one[1])))


def _steps(found: Sequence[Mapping[str, Any]]) -> str:
    return f'<ol class="steps">{"".join(map(_step, found))}</ol>'


def _step(one: Mapping[str, Any]) -> str:
    state, title = str(one["state"]), str(one["title"])
    lines = [escape(str(line)) for line in one["evidence"]]
    if names := [str(name) for name in one["names"]]:
        left = len(names) - _NAMES
        more = f" and {left} more" if left > 0 else ""
        lines.append("Named: " + ", ".join(map(escape, names[:_NAMES])) + more)
    if one["todo"] and state != "done":
        lines.append(f"<b>{escape(str(one['todo']))}</b>")
    text = "".join(f"<p>{line}</p>" for line in lines)
    kind = state if state in _STATES else ""
    return (
        f'<li data-step="{int(one["number"])}"><b>{int(one["number"])}</b>'
        f"<h3>{escape(title[:1].upper() + title[1:])}</h3>"
        f'<span class="state {kind}">{escape(_STATES.get(state, state))}</span>{text}'
    )


def _rows(rows: Sequence[Mapping[str, Any]], more: int) -> str:
    if not rows:
        return _nothing("Nobody has been seen there.")
    lines = "".join(
        f'<tr><th scope="row">{escape(str(row["name"]))}<td>{escape(str(row["listener"]))}'
        f"<td>{escape(str(row['version']) or '-')}<td>{int(row['open'])}<td>{_when(row['last'])}"
        for row in rows
    )
    left = f'<p class="hint">And {more} more: <code>tgctl ledger ls</code></p>' if more else ""
    return (
        '<div class="card"><table><thead><tr><th scope="col">Who<th scope="col">Port'
        '<th scope="col">Client<th scope="col">Open<th scope="col">Last seen</thead>'
        f"<tbody>{lines}</tbody></table></div>{left}"
    )


def _when(seconds: object) -> str:
    moment = time.gmtime(float(str(seconds)))
    return (
        f'<time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}">'
        f"{time.strftime('%d %b %H:%M UTC', moment)}</time>"
    )


def _nothing(words: str) -> str:
    return f'<p class="none">{words}</p>'
