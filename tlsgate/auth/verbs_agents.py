"""What agents say of themselves, gateways of their agents, and who may see which node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.task import deferLater

from tlsgate.auth import nodes
from tlsgate.auth.agentbodies import AgentsBody, Heartbeat, NodesAsked
from tlsgate.auth.bodies import Page
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.principal import GATEWAY
from tlsgate.auth.resources import roles_of
from tlsgate.core.keeping import Item
from tlsgate.core.locks import agent_name
from tlsgate.core.roles import Person, Target, allowed_logins, decide_target
from tlsgate.errors import BadAsk, Forbidden, NoSuch

#: After so many nodes others have their turn.
_TURN: Final = 200
#: Hosts that an answer names.
_NAMED: Final = 100


async def _heartbeat(call: Call) -> Any:
    return await nodes.beat(call)


async def _report(call: Call) -> Any:
    body: AgentsBody = call.body
    principal, parts = call.principal, call.parts
    if principal.kind != "host" or GATEWAY not in principal.system_roles:
        raise Forbidden(str(principal), "report agents", "only gateways have any")
    rows = [one.model_dump() for one in body.agents]
    now = parts.now()
    parts.inventory.report(principal.name, body.worker, rows, now)
    # Of a worker with very many agents there are several reports: "0", "0.1".
    worker = (body.worker or "").partition(".")[0]
    parts.following.take("gateway", principal.name, body.authorities, now, worker=worker)
    return {"taken": len(rows), "gateways": nodes.gateways_of(parts)}


async def _mine(call: Call) -> Any:
    return {"nodes": await nodes_of(call, call.rights.person, call.query)}


async def nodes_of(call: Call, shown: Person | None, asked: NodesAsked) -> list[dict[str, Any]]:
    """The nodes that *shown* may come to, by name; None: the admin socket."""
    wanted = pairs(asked.labels)
    word = asked.search.lower()
    found: list[dict[str, Any]] = []
    count = 0
    sight = await _sight(call, shown)
    async for _, resource in nodes.every(call):
        count += 1
        if not count % _TURN:
            await deferLater(call.parts.clock, 0)
        row = _row(resource)
        if not fits(row, word, wanted):
            continue
        logins = sight(row)
        if logins is not None:
            found.append({**row, "logins": logins})
    return found


def _row(resource: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec = resource["metadata"], resource["spec"]
    return {
        "name": metadata["name"],
        "hostname": spec.get("hostname", ""),
        "labels": dict(metadata.get("labels", {})),
        "addresses": list(spec.get("addresses", ())),
    }


async def _sight(
    call: Call, shown: Person | None
) -> Callable[[Mapping[str, Any]], list[str] | None]:
    """Give what says as whom the one who asks may come to a node; None: not at all.

    The answers are those of gateways, agents and their sshd: roles of the certificate that
    the user still has allow, and any that the user has now denies (`ClusterState`).
    """
    parts = call.parts
    if shown is None:  # the admin socket, which sees all and logs in nowhere
        return lambda _: []
    person = await parts.users.get(shown.name) or shown
    every = await roles_of(parts.store, person.roles)
    table, now, cluster = parts.locks.table, parts.now(), parts.cluster
    if parts.locks.matches(person) is not None:
        return lambda _: None
    locked = {
        login
        for role in every
        for login in allowed_logins([role], person)
        if parts.locks.matches(person, login=login) is not None
    }

    def logins(row: Mapping[str, Any]) -> list[str] | None:
        target = Target(kind="node", name=row["name"], labels=row["labels"])
        agent = agent_name(row["name"], "node", cluster)
        whole = {("agent", row["name"]), ("agent", agent)}
        if table.matches(frozenset(whole), now) is not None:
            return None
        for who in (shown, person):
            if not decide_target(every, who, target).allowed:
                return None
        mine = allowed_logins(every, shown, target)
        known = frozenset(allowed_logins(every, person, target)) - locked
        return [login for login in mine if login in known]

    return logins


def fits(row: Mapping[str, Any], word: str, wanted: Mapping[str, str]) -> bool:
    """Whether *row* has the *word*, in lower case, and all labels that are *wanted*."""
    labels: Mapping[str, str] = row["labels"]
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    texts = (row["name"], row["hostname"], *(f"{key}={value}" for key, value in labels.items()))
    return not word or any(word in text.lower() for text in texts)


def pairs(written: str) -> dict[str, str]:
    """Read labels: "a=b,c=d".

    Raises:
        BadAsk: it is written in another way.
    """
    found = {}
    for one in filter(None, (each.strip() for each in written.split(","))):
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise BadAsk("labels are written a=b,c=d")
        found[key.strip()] = value.strip()
    return found


async def _inventory(call: Call) -> Any:
    call.rights.require("node", "list")
    call.rights.require("node", "readnosecrets", "read")
    rows = await inventory_rows(call)
    page: Page = call.query
    left = [row for row in rows if _place(row) > page.after]
    last = _place(left[page.limit - 1]) if len(left) > page.limit else None
    return {"items": left[: page.limit], "next": last}


async def inventory_rows(call: Call) -> list[dict[str, Any]]:
    """All agents: each with the gateway that has it, or with none."""
    rows = call.parts.inventory.rows(call.parts.now())
    seen = {row["name"] for row in rows}
    async for item, resource in nodes.every(call):
        if resource["metadata"]["name"] not in seen:
            rows.append(_unheld(item, resource))
    return sorted(rows, key=_place)


async def _followers(call: Call) -> Any:
    call.rights.require("cert_authority", "readnosecrets", "read", "list")
    kind, parts = call.names["type"], call.parts
    public = parts.authorities.public().get(kind)
    if public is None:
        raise NoSuch("authority", kind[:64])
    rows = list(parts.following.rows(kind, parts.now()))
    seen = {row["name"] for row in rows if row["kind"] == "agent"}
    async for item, resource in nodes.every(call):  # heard before this process was there
        if (name := resource["metadata"]["name"]) not in seen:
            heard = (item.expires or nodes.LIFE_SECONDS) - nodes.LIFE_SECONDS
            row = {"kind": "agent", "name": name, "worker": "", "revision": None}
            rows.append({**row, "last_seen": heard})
    behind = [row for row in rows if (row["revision"] or 0) < public["revision"]]
    return {
        "type": kind,
        "phase": public["phase"],
        "revision": public["revision"],
        "known": len(rows),
        "behind_count": len(behind),
        "behind": behind[:_NAMED],
    }


def _place(row: Mapping[str, Any]) -> str:
    """What a page goes on after."""
    return f"{row['name']} {row['gateway'] or ''} {row['worker']}"


def _unheld(item: Item, resource: Mapping[str, Any]) -> dict[str, Any]:
    """A node that is heard, and that no gateway says to have."""
    spec = resource["spec"]
    return {
        "name": resource["metadata"]["name"],
        "roles": ["node"],
        "version": spec.get("version", ""),
        "hostname": spec.get("hostname", ""),
        "listener": "",
        "transport": "",
        "address": "",
        "worker": "",
        "since": 0.0,
        "streams": 0,
        "should": "",
        "move": "",
        "why": "",
        "gateway": None,
        "last_seen": (item.expires or nodes.LIFE_SECONDS) - nodes.LIFE_SECONDS,
    }


VERBS: Final = (
    Verb(
        name="agent.heartbeat",
        method="POST",
        path="/v1/agent/heartbeat",
        who="host",
        summary="Say that an agent is there, and what it offers; under its own name alone.",
        answer=_heartbeat,
        reply="Beaten",
        body=Heartbeat,
    ),
    Verb(
        name="gateway.agents",
        method="POST",
        path="/v1/gateway/agents",
        who="gateway",
        summary="Say which agents have a tunnel to a gateway, on change and each minute.",
        answer=_report,
        reply="Taken",
        body=AgentsBody,
    ),
    Verb(
        name="me.nodes",
        method="GET",
        path="/v1/me/nodes",
        who="user",
        summary="List the nodes that I may reach, and as whom.",
        answer=_mine,
        reply="MyNodes",
        query=NodesAsked,
    ),
    Verb(
        name="authorities.followers",
        method="GET",
        path="/v1/authorities/{type}/followers",
        who="user",
        summary="Say which gateways and agents have not taken up an authority's last step yet.",
        answer=_followers,
        reply="Followers",
    ),
    Verb(
        name="inventory.list",
        method="GET",
        path="/v1/inventory",
        who="user",
        summary="List the agents, and the gateway and listener that each came by.",
        answer=_inventory,
        reply="AgentRows",
        query=Page,
    ),
)
