"""Nodes: what agents say in heartbeats, kept a while, and taken away for good by an operator.

1. An agent says every minute what it offers, under its certificate's name and for its
   certificate's roles alone (S41). What is new is written at once; what is known is written
   again when half of its life is over. So an agent costs a write a minute at most, and those
   that all come back at once cost none (R07).
   Databases and applications stand beside the nodes (`offered`).
2. What was offered is gone two minutes after the last word.
3. An operator who removes a node locks its agent: its tunnels, its watch and its right to
   the next certificate end within a second. It comes back under a new name, or when the lock
   is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from tlsgate.auth import certify, offered
from tlsgate.auth.agentbodies import Heartbeat, OfferBody
from tlsgate.auth.calls import Call
from tlsgate.auth.opaque import pack, unpack
from tlsgate.auth.parts import Parts
from tlsgate.auth.resources import PREFIXES, all_of
from tlsgate.auth.tokens import TYPES
from tlsgate.core.keeping import ABSENT, Delete, Item, Put
from tlsgate.core.locks import agent_name
from tlsgate.errors import BadResource, Conflict, Forbidden, Locked, NoSuch

#: Between two heartbeats, and how long the last one is good for.
BEAT_SECONDS: Final = 60.0
LIFE_SECONDS: Final = offered.LIFE_SECONDS

#: Of a node as it is kept.
_BYTES: Final = 128 * 1024
#: Rounds against an operator who removes the node meanwhile.
_TRIES: Final = 4

_PREFIX: Final = PREFIXES["node"]
#: What an agent is; a gateway is none.
AGENTS: Final = frozenset(TYPES) - {"gateway"}


async def beat(call: Call) -> dict[str, Any]:
    """Take an agent's heartbeat.

    Raises:
        Forbidden: who asks is no agent, or says what another one would.
        BadResource: what it offers contradicts itself, or is too much.
        Locked: it has been removed this moment.
    """
    body: Heartbeat = call.body
    principal, parts = call.principal, call.parts
    roles = AGENTS & set(principal.system_roles)
    if not roles:
        raise Forbidden(str(principal), "send heartbeats", "it is no agent")
    _check(call, roles)
    own = next((one for one in body.offers if one.kind == "node"), None)
    labels = await given_labels(call, principal.name, roles)
    if own is not None:
        await _keep(call, _PREFIX + principal.name, pack(_resource(body, own, labels)))
    for kind in offered.KINDS:
        if kind in roles:
            value = offered.packed(
                kind, body.offers, hostname=body.hostname, version=body.version, given=labels
            )
            await _keep(call, offered.key_of(kind, principal.name), value)
    now = parts.now()
    parts.following.take("agent", principal.name, body.authorities, now)
    return {
        "next_seconds": BEAT_SECONDS,
        "expires": now + LIFE_SECONDS,
        "labels": labels,
        "gateways": gateways_of(parts),
    }


def gateways_of(parts: Parts) -> list[str]:
    """Where agents find gateways; the auth service's own port is none."""
    found = parts.public_addresses() if parts.gateways is None else parts.gateways.addresses()
    return list(dict.fromkeys(found))


def _check(call: Call, roles: frozenset[str]) -> None:
    """Let offers pass that this agent may make (S41)."""
    body: Heartbeat = call.body
    seen: set[tuple[str, str]] = set()
    for number, offer in enumerate(body.offers):
        if offer.kind not in roles:
            why = f"the certificate is for {', '.join(sorted(roles))}, not for {offer.kind}"
            raise Forbidden(str(call.principal), f"offer a {offer.kind}", why)
        if offer.kind == "node" and offer.name != call.principal.name:
            why = "a node has the name of its agent's certificate"
            raise Forbidden(str(call.principal), f"be node {offer.name!a}", why)
        if (offer.kind, offer.name) in seen:
            raise BadResource([(f"offers.{number}", "is there twice")])
        seen.add((offer.kind, offer.name))
        offered.check(call.parts, number, offer)


def _resource(body: Heartbeat, own: OfferBody, given: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of a node; nothing that differs from one heartbeat to the next."""
    return {
        "kind": "node",
        "version": "v2",
        "metadata": {"name": own.name, "labels": {**own.labels, **given}},
        "spec": {
            "hostname": body.hostname,
            "version": body.version,
            "addresses": list(own.addresses),
            "offers": sorted(f"{one.kind}/{one.name}" for one in body.offers if one is not own),
            "sshd": dict(body.sshd or {}),
        },
    }


async def _keep(call: Call, key: str, value: bytes | None) -> None:
    """Keep *value* for a while; None: nothing, of who has offered something before."""
    store, now = call.parts.store, call.parts.now()
    if value is not None and len(value) > _BYTES:
        raise BadResource([("offers", f"come to more than {_BYTES} bytes")])
    for left in reversed(range(_TRIES)):
        item = await store.get(key)
        if value is None:
            if item is not None:
                await store.commit([Delete(key)])
            return
        if item is not None and item.value == value and (item.expires or 0.0) - now > BEAT_SECONDS:
            return
        claims = call.principal.claims
        lock = None if claims is None else call.parts.locks.matches(claims)
        if lock is not None:
            raise Locked(str(call.principal), lock.message)
        expects = ABSENT if item is None else item.revision
        try:
            await store.commit([Put(key, value, expects, now + LIFE_SECONDS)])
        except Conflict:
            if not left:
                raise
        else:
            return


async def given_labels(call: Call, name: str, roles: Iterable[str] = ("node",)) -> dict[str, str]:
    """The labels of the token by which the agent *name* has joined."""
    found: dict[str, str] = {}
    for role in sorted(roles):
        key = certify.host_key(role, name)
        item = await call.parts.store.get(key)
        found |= {} if item is None else dict(unpack(key, item.value).get("labels") or {})
    return found


async def every(call: Call) -> AsyncIterator[tuple[Item, dict[str, Any]]]:
    """All nodes that are heard, by name."""
    async for item in all_of(call.parts.store, _PREFIX):
        yield item, unpack(item.key, item.value)


async def remove(call: Call, name: str) -> str:
    """Remove the node *name*, and lock its agent; give the lock's name.

    Raises:
        NoSuch: no agent has joined under that name.
    """
    parts = call.parts
    item = await parts.store.get(_PREFIX + name)
    if item is None and await parts.store.get(certify.host_key("node", name)) is None:
        raise NoSuch("node", name[:64])
    who = agent_name(name, "node", parts.cluster)
    lock = parts.locks.table.matches(frozenset({("agent", who)}), parts.now())
    if lock is None or lock.expires is not None:
        # Before the node goes: its next heartbeat must not bring it back.
        lock = await parts.locks.add(
            {"agent": who}, message=f"the node {name} was removed", created_by=str(call.principal)
        )
        call.emit("lock.created", name=lock.name, target=f"agent {who}")
    await parts.store.commit([Delete(_PREFIX + name)])
    parts.following.drop("agent", name)
    call.emit("node.delete", name=name)
    return lock.name
