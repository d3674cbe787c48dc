"""Resources in the store: where they stand, how they are shown, and who stands on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from tlsgate.auth import kinds
from tlsgate.auth.kinds import Resource
from tlsgate.auth.opaque import moment, pack, unpack
from tlsgate.core.keeping import PAGE, Item
from tlsgate.core.roles import Person, Role, decide_verb, parse_role, unreadable
from tlsgate.errors import BadResource, InUse, WouldBreak
from tlsgate.interfaces import IStore

#: Kind to the beginning of its keys, or to the one key that it has.
PREFIXES: Final[Mapping[str, str]] = {
    "user": "users/",
    "role": "roles/",
    "token": "tokens/",
    "lock": "locks/",
    "node": "nodes/",
    "cluster_networking_config": "networking",
    "cluster_auth_preference": "auth_preference",
}
#: Longer names name nothing.
NAME_CHARACTERS: Final = 128
#: How many users of a role an error names.
_NAMED = 5


def key_of(kind: str, name: str) -> str:
    """Where the resource stands."""
    return PREFIXES[kind] if kinds.KINDS[kind].singleton else PREFIXES[kind] + name


def packed(resource: Resource) -> bytes:
    """Write *resource* for the store; its revision is the item's."""
    whole = kinds.as_json(resource)
    whole["metadata"].pop("revision", None)
    return pack(whole)


def shown(item: Item) -> dict[str, Any]:
    """The resource in *item*, as the API gives it."""
    whole = unpack(item.key, item.value)
    whole["metadata"] = {**whole.get("metadata", {}), "revision": item.revision}
    spec = whole.get("spec", {})
    if whole.get("kind") == "token" and "roles" in spec:
        whole["spec"] = {"types" if key == "roles" else key: one for key, one in spec.items()}
    if whole.get("kind") == "node" and item.expires is not None:
        whole["metadata"]["expires"] = moment(item.expires)
    return whole


async def all_of(store: IStore, prefix: str) -> AsyncIterator[Item]:
    """Every item below *prefix*, by key."""
    after = ""
    while True:
        page = await store.scan(prefix, after, PAGE)
        for item in page:
            yield item
        if len(page) < PAGE:
            return
        after = page[-1].key


async def count_of(store: IStore, prefix: str) -> int:
    """How many items there are below *prefix*."""
    count = 0
    async for _ in all_of(store, prefix):
        count += 1
    return count


@lru_cache(maxsize=1024)
def _role(name: str, value: bytes) -> Role:
    """Parse a role once; what cannot be read allows nothing."""
    try:
        return parse_role(unpack(name, value))
    except BadResource:
        return unreadable(name)


def role_in(item: Item) -> Role:
    """The role in *item*."""
    return _role(item.key.removeprefix(PREFIXES["role"]), item.value)


async def roles_of(store: IStore, names: Sequence[str]) -> tuple[Role, ...]:
    """Those of the named roles that there are."""
    found = []
    for name in dict.fromkeys(names):
        item = await store.get(key_of("role", name))
        if item is not None:
            found.append(role_in(item))
    return tuple(found)


def person_in(item: Item) -> Person:
    """The user in *item*."""
    spec = unpack(item.key, item.value).get("spec") or {}
    return Person(
        name=item.key.removeprefix(PREFIXES["user"]),
        roles=tuple(spec.get("roles") or ()),
        traits={key: tuple(values) for key, values in (spec.get("traits") or {}).items()},
    )


# -- guards --------------------------------------------------------------------------


async def check_unused(store: IStore, role: str) -> None:
    """Let a role go that no user has.

    Raises:
        InUse: it names the first few who have it.
    """
    users = []
    async for item in all_of(store, PREFIXES["user"]):
        if role in person_in(item).roles:
            users.append(f"user {person_in(item).name}")
            if len(users) > _NAMED:
                users[-1] = "others"
                break
    if users:
        raise InUse("role", role, users)


async def check_editors(
    store: IStore,
    *,
    user: tuple[str, Sequence[str] | None] | None = None,
    role: tuple[str, Role | None] | None = None,
) -> None:
    """Let a change pass after which somebody can still edit roles, if anybody can now.

    Args:
        user: a name, and the roles that it is to have; None: it is to go.
        role: a name, and what it is to be; None: it is to go.

    Raises:
        WouldBreak: nobody but the admin socket could edit roles any more.
    """
    before = [role_in(item) async for item in all_of(store, PREFIXES["role"])]
    after = before
    if role is not None:
        after = [one for one in before if one.name != role[0]]
        after += [role[1]] if role[1] is not None else []
    was = False
    async for item in all_of(store, PREFIXES["user"]):
        person = person_in(item)
        later: Person | None = person
        if user is not None and user[0] == person.name:
            later = None if user[1] is None else Person(person.name, tuple(user[1]), person.traits)
        if later is not None and _edits(after, later):
            return
        was = was or _edits(before, person)
    if was:
        raise WouldBreak(
            "this takes the last way to change the cluster but the admin socket",
            ["no user could edit roles any more"],
        )


def _edits(roles: Sequence[Role], person: Person) -> bool:
    return decide_verb(roles, person, "role", "update").allowed
