"""The databases and applications that the user's roles open, as the API tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlsgate.cli.show import plain
from tlsgate.errors import BadAsk, Unreachable

if TYPE_CHECKING:
    from tlsgate.cli.door import Asks

#: What the API calls the lists, and people one of them.
_PATHS = {"db": ("databases", "database"), "app": ("apps", "application")}


def offered(
    api: Asks, kind: str, labels: Sequence[str] = (), search: str = ""
) -> list[dict[str, Any]]:
    """The databases ("db") or applications ("app") that have these labels and words, by name.

    Raises:
        BadAsk: a label is none.
        GateError: the API refuses, or is not there.
    """
    wanted = {}
    for one in labels:
        name, equals, value = one.partition("=")
        if not (name and equals and value) or "," in one:
            raise BadAsk(f"{one!r} is no label: write name=value")
        wanted[name] = value
    path, _ = _PATHS[kind]
    query = {"labels": ",".join(labels), "search": search}
    answer = api.ask("GET", f"/v1/me/{path}", {key: text for key, text in query.items() if text})
    try:
        found = [_one(item) for item in answer[path]]
    except (LookupError, TypeError, AttributeError, ValueError) as e:
        raise Unreachable("the cluster", f"its list of {path} is none") from e
    return sorted(
        (one for one in found if wanted.items() <= one["labels"].items()),
        key=lambda one: str(one["name"]),
    )


def named(api: Asks, kind: str, name: str) -> dict[str, Any]:
    """The one that is called *name*.

    Raises:
        BadAsk: none is, or the user's roles do not open it.
    """
    found = offered(api, kind)
    for one in found:
        if one["name"] == name:
            return one
    _, word = _PATHS[kind]
    verb = "db" if kind == "db" else "apps"
    raise BadAsk(
        f"no {word} is called {plain(name)!r}, or your roles do not open it: "
        f"`tgsh {verb} ls` shows those that you may reach"
    )


def _one(item: Mapping[str, Any]) -> dict[str, Any]:
    facts = item.get("facts") or {}

    def words(key: str) -> list[str]:
        return [str(one) for one in item.get(key) or ()]

    def fact(key: str) -> str:
        value = item.get(key)
        return str(facts.get(key, "") if value is None else value)

    return {
        "name": str(item["name"]),
        "protocol": fact("protocol"),
        "description": fact("description"),
        "public_addr": fact("public_addr"),
        "host": str(item.get("host") or ""),
        "labels": {str(k): str(v) for k, v in (item.get("labels") or {}).items()},
        "db_users": words("db_users"),
        "db_names": words("db_names"),
    }
