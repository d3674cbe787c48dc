"""Settings that a cluster has one of each: where one comes from, and who may change it.

The label `teleport.dev/origin` says whence the value is:

- `defaults`: nobody has written it; nothing is kept.
- `config-file`: `auth_service` of the configuration file has a key of it. At every start the
  file wins again, and says so when that drops what somebody has set meanwhile.
- `dynamic`: somebody has set it through the API.

A change of the mode passes the guard of the cluster's invariant: nobody is told to use what
nobody serves. Source: https://goteleport.com/docs/reference/resources/ and what the mode
does in https://goteleport.com/docs/reference/architecture/tls-routing/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from tlsgate.auth.kind_cluster import CONFIG_FILE, DEFAULTS, DYNAMIC, MODES, ORIGIN, NetworkingSpec
from tlsgate.auth.kinds import KINDS, Resource, defaults, read_resource, spec_of, with_origin
from tlsgate.auth.opaque import unpack
from tlsgate.auth.resources import key_of, packed
from tlsgate.core.keeping import ABSENT, ANY, Delete, Put
from tlsgate.errors import BadAsk, Conflict, Exists, NeedsConfirm, WouldBreak
from tlsgate.interfaces import IStore

NETWORKING: Final = "cluster_networking_config"
PREFERENCE: Final = "cluster_auth_preference"

_MODE: Final = "proxy_listener_mode"

#: Rounds against others who change the same setting while the daemon starts.
_TRIES = 8

MaySwitch = Callable[[str, str], Sequence[str]]


@frozen(kw_only=True)
class Change:
    """What became of a setting.

    Attributes:
        changed: False: it was so already, and nothing was written.
    """

    old: Resource
    new: Resource
    changed: bool


async def current(store: IStore, kind: str) -> Resource:
    """The setting in force, with its origin; its revision is 0 where nothing is kept."""
    item = await store.get(key_of(kind, ""))
    if item is None:
        return defaults(kind)
    resource = evolve(read_resource(unpack(item.key, item.value)), revision=item.revision)
    return resource if resource.origin is not None else with_origin(resource, DYNAMIC)


async def write(
    store: IStore,
    new: Resource,
    *,
    force: bool,
    confirm: bool,
    may_switch: MaySwitch,
    keeps_mode: bool = False,
) -> Change:
    """Set it as an operator asks.

    Args:
        keeps_mode: the operator has written none: the default of it would be a switch, for
            one who changes something else.
        force: overwrite what is not the default, and do what the guard warns of.
        confirm: change what the configuration file manages.

    Raises:
        Conflict: *new* has a revision, and that is no more the newest.
        NeedsConfirm: the file manages it.
        Exists: it is not the default, and neither forced nor of the newest revision.
        WouldBreak: clients would be told of what is not served.
    """
    old = await current(store, new.kind)
    key = key_of(new.kind, new.name)
    if new.revision and new.revision != old.revision:
        raise Conflict(key)
    new = with_origin(new, DYNAMIC)
    if keeps_mode:
        new = evolve(new, spec={**new.spec, _MODE: old.spec[_MODE]})
    if _same(old, new):
        return Change(old=old, new=old, changed=False)
    if old.origin == CONFIG_FILE and not confirm:
        raise NeedsConfirm(
            f"{new.kind} {new.name}",
            "change it there and reload; with --confirm it changes until the next start",
        )
    if old.origin != DEFAULTS and not (force or confirm or new.revision):
        raise Exists(new.kind, new.name)
    if not force:
        _check_switch(old, new, may_switch)
    revision = await store.commit([Put(key, packed(new), old.revision or ABSENT)])
    return Change(old=old, new=evolve(new, revision=revision), changed=True)


async def reset(
    store: IStore,
    kind: str,
    *,
    force: bool,
    may_switch: MaySwitch,
    default: Mapping[str, Any] | None = None,
) -> Change:
    """Go back to the default.

    Args:
        default: what of it depends on the configuration file's version.

    Raises:
        NeedsConfirm: the file manages it, so it would come back.
        WouldBreak: clients would be told of what is not served.
    """
    old = await current(store, kind)
    new = _defaults(kind, default)
    if old.origin == CONFIG_FILE:
        raise NeedsConfirm(f"{kind} {old.name}", "remove its keys there and reload")
    if old.origin == DEFAULTS:
        return Change(old=old, new=old, changed=False)
    if not force:
        _check_switch(old, new, may_switch)
    await store.commit([_default(new, old.revision)])
    return Change(old=old, new=new, changed=True)


def _defaults(kind: str, default: Mapping[str, Any] | None) -> Resource:
    new = defaults(kind)
    if not default:
        return new
    spec = {**new.spec, **default}
    read = read_resource({"kind": kind, "version": new.version, "spec": spec})
    return with_origin(read, DEFAULTS)


def _default(new: Resource, revision: int) -> Put | Delete:
    """What makes *new* the setting: nothing is kept of a default that is always the same."""
    key = key_of(new.kind, "")
    if new.spec == defaults(new.kind).spec:
        return Delete(key, revision or ANY)
    return Put(key, packed(new), revision or ABSENT)


async def start(
    store: IStore,
    kind: str,
    from_file: Mapping[str, Any] | None,
    default: Mapping[str, Any] | None = None,
) -> tuple[Change, str | None]:
    """Take up what the configuration file says, when auth starts or reloads.

    Args:
        from_file: the spec; None: the file has no key of it.
        default: what of the default depends on the file's version.

    Returns:
        what became of it, and a warning where something that was set is gone.

    Raises:
        BadResource: the file's spec cannot be taken.
    """
    for _ in range(_TRIES):
        old = await current(store, kind)
        key = key_of(kind, "")
        if from_file is None:
            new = _defaults(kind, default)
            if old.origin == DYNAMIC or (old.origin == DEFAULTS and old.spec == new.spec):
                return Change(old=old, new=old, changed=False), None
            change = _default(new, old.revision)
        else:
            new = read_resource(
                {"kind": kind, "version": KINDS[kind].versions[-1], "spec": dict(from_file)}
            )
            new = with_origin(new, CONFIG_FILE)
            if _same(old, new) and old.origin == CONFIG_FILE:
                return Change(old=old, new=old, changed=False), None
            change = Put(key, packed(new), old.revision or ABSENT)
        try:
            revision = await store.commit([change])
        except Conflict:
            continue
        warning = None
        if from_file is not None and old.origin == DYNAMIC and old.spec != new.spec:
            said = ", ".join(differences(old, new))
            warning = f"{kind}: the configuration file overrides what was set ({said})"
        new = evolve(new, revision=0 if from_file is None else revision)
        return Change(old=old, new=new, changed=True), warning
    raise Conflict(key_of(kind, ""))


async def mode_after(
    store: IStore, from_file: Mapping[str, Any] | None, default: Mapping[str, Any]
) -> str:
    """The mode that `start` would make of the file; nothing is written.

    Raises:
        BadResource: the file's spec cannot be taken.
    """
    old = await current(store, NETWORKING)
    if from_file is None:
        return mode_of(old if old.origin == DYNAMIC else _defaults(NETWORKING, default))
    written = {"kind": NETWORKING, "version": KINDS[NETWORKING].versions[-1]}
    return mode_of(read_resource({**written, "spec": dict(from_file)}))


def differences(old: Resource, new: Resource) -> list[str]:
    """What has changed, a word each: "proxy_listener_mode separate -> multiplex"."""
    keys = sorted(set(old.spec) | set(new.spec))
    return [
        f"{key} {_word(key, old.spec.get(key))} -> {_word(key, new.spec.get(key))}"
        for key in keys
        if old.spec.get(key) != new.spec.get(key)
    ]


def audited(change: Change) -> dict[str, object]:
    """The fields of the event that tells of *change*: what it was, what it is, and where from."""
    fields: dict[str, object] = {
        "changes": "; ".join(differences(change.old, change.new)),
        "origin.old": change.old.origin,
        "origin": change.new.origin,
    }
    if change.new.kind == NETWORKING:
        fields["mode.old"] = mode_of(change.old)
        fields["mode"] = mode_of(change.new)
    return fields


def mode_of(resource: Resource) -> str:
    """The word for a networking resource's mode: separate or multiplex."""
    return spec_of(resource, NetworkingSpec).mode


def says_no_mode(spec: object) -> bool:
    """Whether a networking's *spec*, as somebody has written it, leaves the mode open."""
    return not isinstance(spec, Mapping) or _MODE not in spec


def check_known(kind: str) -> None:
    """Let a kind pass of which a cluster has one.

    Raises:
        BadAsk: it is another.
    """
    if KINDS[kind].singleton is None:
        raise BadAsk(f"{kind} is no setting of the cluster")


def _check_switch(old: Resource, new: Resource, may_switch: MaySwitch) -> None:
    if new.kind != NETWORKING:
        return
    was, will = mode_of(old), mode_of(new)
    if was != will and (who := may_switch(was, will)):
        raise WouldBreak(f"switching from {was} to {will} would break clients", who)


def _same(old: Resource, new: Resource) -> bool:
    """Whether nothing is to be done; a default that is written is another thing."""
    without = {key: label for key, label in old.labels.items() if key != ORIGIN}
    others = {key: label for key, label in new.labels.items() if key != ORIGIN}
    return (
        old.spec == new.spec
        and without == others
        and old.description == new.description
        and old.origin != DEFAULTS
    )


def _word(key: str, value: Any) -> str:
    if key == _MODE and value in (0, 1):
        return MODES[value]
    return str(value)
