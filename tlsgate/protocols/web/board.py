"""The launcher: what somebody may reach, as links and as command lines that are ready.

Applications open by a click; databases and nodes have the command that connects, to copy.
Whatever agents and operators have written is text here: escaped, and bounded in number.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from attrs import field, frozen

#: Of each kind; more are found by `tgsh`.
SHOWN: Final = 300
#: Of one target's labels.
_LABELS: Final = 12

#: How the protocols of databases are written.
_PROTOCOLS: Final = {"postgres": "PostgreSQL", "mysql": "MySQL", "mongodb": "MongoDB"}


@frozen(kw_only=True)
class Target:
    """One thing that somebody may reach.

    Attributes:
        users: of a database, or logins of a node; patterns such as "*" stay as they are.
        names: of databases inside it.
    """

    name: str
    labels: Mapping[str, str] = field(factory=dict)
    protocol: str = ""
    description: str = ""
    public_addr: str = ""
    users: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What it is found by."""
        labels = (f"{key}={value}" for key, value in self.labels.items())
        return " ".join((self.name, self.protocol, self.description, *labels)).lower()


@frozen(kw_only=True)
class Board:
    """All that one user may reach."""

    apps: Sequence[Target] = ()
    databases: Sequence[Target] = ()
    nodes: Sequence[Target] = ()

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Board:
        """Read what the auth service says; what it leaves out is not there."""
        return cls(
            apps=[_target(one) for one in said.get("apps", ())],
            databases=[_target(one) for one in said.get("databases", ())],
            nodes=[_target(one) for one in said.get("nodes", ())],
        )


def body(board: Board, user: str, origin: Callable[[str, str], str | None]) -> str:
    """The sections of the page.

    Args:
        user: who looks at it; a node's login of that name comes first.
        origin: where browsers find an application, by its name and its public_addr.
    """
    count = len(board.apps) + len(board.databases) + len(board.nodes)
    if not count:
        return (
            '<section><p class="none">Nothing is open to you here yet: no application, no '
            "database, no node. An operator gives you roles for them.</p></section>"
        )
    find = (
        '<div class="find" role="search" hidden><label for="find">Find by name or label</label>'
        '<input id="find" type="search" placeholder="Find by name or label" autocomplete="off" '
        'autocapitalize="none" spellcheck="false"><output for="find"></output><kbd>/</kbd></div>'
    )
    return (
        f"{find}"
        '<p class="none nobody" role="status" hidden>Nothing of that name or label.</p>'
        + _part("Applications", "apps", board.apps, "tiles", lambda one: _app(one, origin))
        + _part("Databases", "db", board.databases, "rows", _database)
        + _part("Nodes", "nodes", board.nodes, "rows", lambda one: _node(one, user))
    )


def _part(
    title: str,
    kind: str,
    targets: Sequence[Target],
    shape: str,
    draw: Callable[[Target], str],
) -> str:
    if not targets:
        return ""
    items = "".join(f'<li data-words="{escape(one.words)}">{draw(one)}' for one in targets[:SHOWN])
    left = len(targets) - SHOWN
    command = {"apps": "tgsh apps ls", "db": "tgsh db ls", "nodes": "tgsh ls"}[kind]
    more = f'<p class="hint">And {left} more: <code>{command}</code></p>' if left > 0 else ""
    return (
        f'<section data-part="{kind}"><h2>{title} <small>{len(targets)}</small></h2>'
        f'<ul class="{shape}">{items}</ul>{more}</section>'
    )


def _app(one: Target, origin: Callable[[str, str], str | None]) -> str:
    where = None if one.protocol == "tcp" else origin(one.name, one.public_addr)
    about = f'<span class="about">{escape(one.description)}</span>' if one.description else ""
    if where is None:
        command = shlex.join(("tgsh", "proxy", "app", one.name))
        lines = _line(command, f"Copy the command for {one.name}")
        tag = '<span class="who plain">TCP</span>' if one.protocol == "tcp" else ""
        title = f'<div class="title"><b>{escape(one.name)}</b>{tag}</div>'
        return f'<div class="tile">{title}{about}{lines}{_labels(one)}</div>'
    host = where.removeprefix("https://")
    return (
        f'<a class="tile" href="{escape(where)}/"><b>{escape(one.name)}</b>{about}'
        f'<span class="where">{escape(host)}</span>{_labels(one)}</a>'
    )


def _database(one: Target) -> str:
    protocol = _PROTOCOLS.get(one.protocol, one.protocol)
    tag = f'<span class="who behind">{escape(protocol)}</span>' if protocol else ""
    about = f'<p class="about">{escape(one.description)}</p>' if one.description else ""
    words = [f"--db-user={_first(one.users, 'USER')}", f"--db-name={_first(one.names, 'NAME')}"]
    connect = shlex.join(("tgsh", "db", "connect", one.name, *words))
    proxy = shlex.join(("tgsh", "proxy", "db", one.name, *words, "--tunnel"))
    log_in = shlex.join(("tgsh", "db", "login", one.name, *words))
    uri = shlex.join(("tgsh", "db", "config", one.name, "--format=uri"))
    ways = (
        _why("A local address for graphical clients, which need no certificate there:")
        + _line(proxy, f"Copy the command of a local proxy for {one.name}")
        + _why("A certificate for this database, and the address for a client of your own:")
        + _line(log_in, f"Copy the command to log in to {one.name}")
        + _line(uri, f"Copy the command for the address of {one.name}")
        + _allowed("Users", one.users)
        + _allowed("Databases", one.names)
    )
    return (
        f'<div class="title"><h3>{escape(one.name)}</h3>{tag}{_labels(one)}</div>{about}'
        f"{_line(connect, f'Copy the command for {one.name}')}"
        f"<details><summary>Other ways to connect</summary>{ways}</details>"
    )


def _node(one: Target, user: str) -> str:
    login = user if user in one.users else _first(one.users, "")
    where = f"{login}@{one.name}" if login else one.name
    others = [each for each in one.users if each != login and "*" not in each]
    also = _allowed("Also as", others) if others else ""
    return (
        f'<div class="title"><h3>{escape(one.name)}</h3>{_labels(one)}</div>'
        f"{_line(shlex.join(('tgsh', 'ssh', where)), f'Copy the command for {one.name}')}{also}"
    )


def _line(command: str, what: str) -> str:
    """A command line, and a button that copies it."""
    # A line breaks between words only: clients' options begin with hyphens.
    text = " ".join(f"<span>{escape(word)}</span>" for word in command.split(" "))
    return (
        f'<div class="line"><code data-text="{escape(command)}"><i>$ </i>{text}</code>'
        f'<button class="copy" type="button" hidden aria-label="{escape(what)}">Copy</button></div>'
    )


def _why(words: str) -> str:
    return f'<p class="why">{words}</p>'


def _allowed(title: str, values: Iterable[str]) -> str:
    said = " ".join(f"<code>{escape(value)}</code>" for value in values)
    return f'<p class="why">{title}: {said}</p>' if said else ""


def _labels(one: Target) -> str:
    if not one.labels:
        return ""
    shown = sorted(one.labels.items())
    chips = "".join(f"<span>{escape(f'{key}={value}')}</span>" for key, value in shown[:_LABELS])
    more = f"<span>+{len(shown) - _LABELS}</span>" if len(shown) > _LABELS else ""
    return f'<span class="labels">{chips}{more}</span>'


def _first(values: Iterable[str], otherwise: str) -> str:
    """The first value that is no pattern."""
    plain = (one for one in values if one and not any(sign in one for sign in "*^$["))
    return next(plain, otherwise)


def _target(said: Mapping[str, Any]) -> Target:
    facts = {**said, **(said.get("facts") or {})}
    return Target(
        name=str(said["name"]),
        labels={str(key): str(value) for key, value in (said.get("labels") or {}).items()},
        protocol=str(facts.get("protocol") or ""),
        description=str(facts.get("description") or ""),
        public_addr=str(facts.get("public_addr") or ""),
        users=tuple(map(str, said.get("db_users") or said.get("logins") or ())),
        names=tuple(map(str, said.get("db_names") or ())),
    )
