"""Resources: list, get, write, remove; one table for all kinds.

Writes are idempotent: what is so already is answered with the revision that it has, and
nothing is written or recorded. A revision in the metadata has to be the newest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import evolve

from tlsgate.auth import networking, nodes, resources
from tlsgate.auth.bodies import Page, Put, Remove
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.kinds import KINDS, Kind, Resource, as_json, kind_of, read_resource, role_of
from tlsgate.auth.locks import read_lock
from tlsgate.core import keeping
from tlsgate.core.keeping import ABSENT, Delete, Item
from tlsgate.errors import BadAsk, BadResource, Conflict, Exists, NoSuch

_AUTHORITY = "cert_authority"


def _kind(call: Call) -> Kind:
    """The kind that the path names.

    Raises:
        NoSuch: there is none.
    """
    word = call.names["kind"][:64]
    name = kind_of(word)
    if name is None:
        raise NoSuch("kind", word)
    return KINDS[name]


def _name(call: Call) -> str:
    name = call.names["name"]
    if not 0 < len(name) <= resources.NAME_CHARACTERS or "/" in name or not name.isprintable():
        raise NoSuch(call.names["kind"][:64], name[:64])
    return name


def _authority(call: Call, name: str) -> dict[str, Any]:
    """An authority as a resource, without any private key.

    Raises:
        NoSuch: there is none.
    """
    public = call.parts.authorities.public().get(name)
    if public is None:
        raise NoSuch("authority", name)
    return {
        "kind": _AUTHORITY,
        "version": "v2",
        "metadata": {"name": name, "revision": public["revision"]},
        "spec": {**public, "cluster_name": call.parts.cluster},
    }


async def _list(call: Call) -> Any:
    kind, page = _kind(call), call.query
    call.rights.require(kind.name, "list")
    call.rights.require(kind.name, "readnosecrets", "read")
    if kind.name == _AUTHORITY:
        names = sorted(call.parts.authorities.public())
        names = [name for name in names if name > page.after]
        found = [_authority(call, name) for name in names[: page.limit]]
        return {"items": found, "next": names[page.limit - 1] if len(names) > page.limit else None}
    if kind.singleton is not None:
        one = await networking.current(call.parts.store, kind.name)
        return {"items": [] if page.after else [as_json(one)], "next": None}
    prefix = resources.PREFIXES[kind.name]
    after = prefix + page.after if page.after else ""
    items = await call.parts.store.scan(prefix, after, page.limit)
    last = items[-1].key.removeprefix(prefix) if len(items) == page.limit else None
    return {"items": [resources.shown(item) for item in items], "next": last}


async def _get(call: Call) -> Any:
    kind, name = _kind(call), _name(call)
    call.rights.require(kind.name, "readnosecrets", "read")
    if kind.name == _AUTHORITY:
        return _authority(call, name)
    if kind.singleton is not None:
        _check_singleton(kind, name)
        return as_json(await networking.current(call.parts.store, kind.name))
    return resources.shown(await _item(call, kind, name))


async def _put(call: Call) -> Any:
    kind, name = _kind(call), _name(call)
    if not isinstance(call.body, Mapping):
        raise BadResource([("", "has to be a resource: kind, version, metadata, spec")])
    # Rights first: who may not write learns nothing of what would be right.
    call.rights.require(kind.name, "create", "update")
    new = read_resource(call.body)
    if new.kind != kind.name:
        raise BadResource([("kind", f"is {new.kind}, and the path says {kind.name}")])
    if kind.singleton is not None:
        _check_singleton(kind, name)
        return await _put_setting(call, new)
    if new.name != name:
        raise BadResource([("metadata.name", "is not the name in the path")])
    if kind.name == "token":
        raise BadAsk("tokens are not written but made: POST /v1/tokens, `tgctl tokens add`")
    item = await call.parts.store.get(resources.key_of(kind.name, name))
    _check_revision(call, new, item)
    call.rights.require(kind.name, "create" if item is None else "update")
    if item is not None and item.value == resources.packed(new) and item.expires == new.expires:
        return resources.shown(item)
    if item is not None and not (call.query.force or new.revision):
        raise Exists(kind.name, name)
    await _CHECKS[kind.name](call, new, item)
    cleared: list[keeping.Change] = []
    if kind.name == "user" and item is None:
        cleared = await call.parts.users.clearing(name)
    change = keeping.Put(
        resources.key_of(kind.name, name),
        resources.packed(new),
        ABSENT if item is None else item.revision,
        new.expires,
    )
    revision = await call.parts.store.commit([change, *cleared])
    created, updated = _EVENTS[kind.name]
    call.emit(created if item is None else updated, name=name)
    return {**as_json(evolve(new, revision=revision)), **_warned(new)}


async def _delete(call: Call) -> Any:
    kind, name = _kind(call), _name(call)
    call.rights.require(kind.name, "delete")
    parts = call.parts
    if kind.name == _AUTHORITY:
        raise BadAsk("an authority is not removed but rotated")
    if kind.singleton is not None:
        _check_singleton(kind, name)
        call.rights.require(kind.name, "update")
        mine = kind.name == networking.NETWORKING
        change = await networking.reset(
            parts.store,
            kind.name,
            force=call.query.force,
            may_switch=parts.may_switch,
            default=parts.default_networking() if mine else None,
        )
        if change.changed:
            call.emit(_SETTING_EVENTS[kind.name], networking.audited(change), name=name)
        return {"kind": kind.name, "name": name}
    if kind.name == "node":
        return {"kind": kind.name, "name": name, "lock": await nodes.remove(call, name)}
    item = await _item(call, kind, name)
    if kind.name == "user":
        if not call.query.force:
            await resources.check_editors(parts.store, user=(name, None))
        await parts.users.remove(name)
        call.emit("user.delete", name=name)
    elif kind.name == "role":
        await resources.check_unused(parts.store, name)
        if not call.query.force:
            await resources.check_editors(parts.store, role=(name, None))
        await parts.store.commit([Delete(item.key, item.revision)])
        call.emit("role.deleted", name=name)
    elif kind.name == "token":
        await parts.tokens.remove(name)
        call.emit("join_token.delete", name=name)
    else:
        await parts.locks.remove(name)
        call.emit("lock.deleted", name=name)
    return {"kind": kind.name, "name": name}


# -- what each kind asks for ---------------------------------------------------------


async def _check_user(call: Call, new: Resource, item: Item | None) -> None:
    roles = list(new.spec.get("roles", ()))
    missing = [
        ("spec.roles", f"there is no role {role!r}")
        for role in roles
        if await call.parts.store.get(resources.key_of("role", role)) is None
    ]
    if not roles:
        missing.append(("spec.roles", "a user has one role at least"))
    if missing:
        raise BadResource(missing[:20])
    if item is not None:
        # `force` means overwrite here; what locks everybody out is no overwriting.
        await resources.check_editors(call.parts.store, user=(new.name, roles))


async def _check_role(call: Call, new: Resource, item: Item | None) -> None:
    role = role_of(new)
    if item is not None:
        await resources.check_editors(call.parts.store, role=(new.name, role))


async def _check_lock(call: Call, new: Resource, item: Item | None) -> None:
    read_lock(new.name, as_json(new))


_CHECKS: Final[Mapping[str, Callable[[Call, Resource, Item | None], Awaitable[None]]]] = {
    "user": _check_user,
    "role": _check_role,
    "lock": _check_lock,
}
_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "user": ("user.create", "user.update"),
    "role": ("role.created", "role.updated"),
    "lock": ("lock.created", "lock.created"),
}
_SETTING_EVENTS: Final[Mapping[str, str]] = {
    networking.NETWORKING: "networking.update",
    networking.PREFERENCE: "auth_preference.update",
}


async def _put_setting(call: Call, new: Resource) -> Any:
    parts = call.parts
    call.rights.require(new.kind, "update")
    said = call.body.get("spec")
    change = await networking.write(
        parts.store,
        new,
        force=call.query.force,
        confirm=call.query.confirm,
        may_switch=parts.may_switch,
        keeps_mode=new.kind == networking.NETWORKING and networking.says_no_mode(said),
    )
    if change.changed:
        call.emit(_SETTING_EVENTS[new.kind], networking.audited(change), name=new.name)
    return {**as_json(change.new), **_warned(new)}


async def _item(call: Call, kind: Kind, name: str) -> Item:
    item = await call.parts.store.get(resources.key_of(kind.name, name))
    if item is None:
        raise NoSuch(kind.name, name[:64])
    return item


def _check_revision(call: Call, new: Resource, item: Item | None) -> None:
    """Let a write pass that stands on what is there.

    Raises:
        Conflict: it stands on another revision.
    """
    if new.revision and (item is None or item.revision != new.revision):
        raise Conflict(resources.key_of(new.kind, new.name))


def _check_singleton(kind: Kind, name: str) -> None:
    if name not in (kind.singleton, kind.name, *kind.aliases):
        raise NoSuch(kind.name, name[:64])


def _warned(resource: Resource) -> dict[str, Any]:
    """What was written and does nothing here."""
    if not resource.warnings:
        return {}
    return {"warnings": [{"path": path, "message": why} for path, why in resource.warnings]}


VERBS: Final = (
    Verb(
        name="resources.list",
        method="GET",
        path="/v1/resources/{kind}",
        who="user",
        summary="List the resources of a kind, by name, a page at a time.",
        answer=_list,
        reply="Resources",
        query=Page,
    ),
    Verb(
        name="resources.get",
        method="GET",
        path="/v1/resources/{kind}/{name}",
        who="user",
        summary="Get a resource.",
        answer=_get,
        reply="Resource",
    ),
    Verb(
        name="resources.put",
        method="PUT",
        path="/v1/resources/{kind}/{name}",
        who="user",
        summary="Write a resource: a new one, or over one with force or its newest revision.",
        answer=_put,
        reply="Resource",
        changes=True,
        raw_body=True,
        query=Put,
    ),
    Verb(
        name="resources.delete",
        method="DELETE",
        path="/v1/resources/{kind}/{name}",
        who="user",
        summary="Remove a resource; a setting goes back to its default.",
        answer=_delete,
        reply="ResourceNamed",
        changes=True,
        query=Remove,
    ),
)
