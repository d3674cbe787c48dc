"""Every kind of resource: its names, its versions, and how a written one is read.

1. `read_resource` takes {kind, version, metadata, spec} as YAML or JSON gave it, and gives a
   `Resource`, or every problem at once, each with its path.
2. `Resource.spec` is in normal form: plain JSON values, durations and times in one spelling,
   only keys that are served. Two resources that mean the same are equal.
3. `spec_of` gives it as the kind's model; `as_json` writes the whole for the API and the store.

Reading YAML, and several documents in one text, is the command line's. Source of kinds and
keys: https://goteleport.com/docs/reference/resources/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from attrs import evolve, field, frozen
from pydantic import BeforeValidator, Field, ValidationError

from tlsgate.auth import kind_role
from tlsgate.auth.kind_cluster import (
    DEFAULTS,
    ORIGIN,
    ORIGINS,
    AuthoritySpec,
    AuthPreferenceSpec,
    NetworkingSpec,
)
from tlsgate.auth.kind_node import NodeSpec
from tlsgate.auth.kind_people import LockSpec, TokenSpec, UserSpec
from tlsgate.auth.kind_role import RoleSpec
from tlsgate.auth.kindfields import Labels, Name, Spec, Text, Time, called, written_time
from tlsgate.config.blocks import unserved
from tlsgate.config.fields import Unserved
from tlsgate.config.findings import nearest
from tlsgate.config.marks import Path, dotted
from tlsgate.config.validate import unknown_key
from tlsgate.core.roles import Role, parse_role
from tlsgate.errors import BadResource

S = TypeVar("S", bound=Spec)

#: The longest normal form of a resource, as JSON.
RESOURCE_BYTES: Final = 128 * 1024
#: Problems that are told of one resource; more help nobody.
_PROBLEMS: Final = 64


@frozen(kw_only=True)
class Kind:
    """One kind of resource.

    Attributes:
        aliases: what else people call it, in the singular; plurals are taken too.
        singleton: the only name that it may have; None: any.
        filled: unwritten keys stand in the normal form with their defaults.
    """

    name: str
    model: type[Spec]
    versions: tuple[str, ...] = ("v2",)
    aliases: tuple[str, ...] = ()
    singleton: str | None = None
    filled: bool = False
    writable: bool = True


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(name="user", model=UserSpec),
        Kind(name="role", model=RoleSpec, versions=kind_role.VERSIONS),
        Kind(name="token", model=TokenSpec, aliases=("provision_token",)),
        Kind(name="lock", model=LockSpec),
        Kind(name="node", model=NodeSpec, aliases=("server",), writable=False, filled=True),
        Kind(
            name="cluster_networking_config",
            model=NetworkingSpec,
            aliases=("networking", "networking_config"),
            singleton="cluster-networking-config",
            filled=True,
        ),
        Kind(
            name="cluster_auth_preference",
            model=AuthPreferenceSpec,
            aliases=("cap", "auth_preference", "cluster_authentication_preference"),
            singleton="cluster-auth-preference",
            filled=True,
        ),
        Kind(
            name="cert_authority",
            model=AuthoritySpec,
            aliases=("ca", "authority"),
            writable=False,
            filled=True,
        ),
    )
}

#: What Teleport has and this version has not.
_LATER: Final = frozenset(
    {
        "access_list", "app", "bot", "db", "device", "github", "installer", "kube_cluster",
        "login_rule", "network_restrictions", "oidc", "recording", "remote_cluster",
        "saml", "session_recording_config", "trusted_cluster", "ui_config", "windows_desktop",
    }
)  # fmt: skip


@frozen(kw_only=True)
class Resource:
    """One resource.

    Attributes:
        expires: seconds since the epoch; None: never.
        spec: in normal form, plain JSON values.
        revision: of the store; 0: not stored, or not said.
        warnings: path and sentence of what was written and does nothing here.
    """

    kind: str
    version: str
    name: str
    labels: Mapping[str, str] = field(factory=dict)
    expires: float | None = None
    spec: Mapping[str, Any] = field(factory=dict)
    revision: int = 0
    description: str = ""
    warnings: tuple[tuple[str, str], ...] = field(default=(), eq=False)

    @property
    def origin(self) -> str | None:
        """Where a setting of the cluster comes from; None: the label is not there."""
        return self.labels.get(ORIGIN)


def _revision(value: Any) -> int:
    digits = value if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not digits.isdecimal() or not digits.isascii():
        raise ValueError(f"has to be the number that was read, not {called(value)}")
    if len(digits) > 15:
        raise ValueError("is no revision of this cluster")
    return int(digits)


class Metadata(Spec):
    """metadata of every resource."""

    name: Name | None = None
    description: Text = ""
    labels: Labels = Field(default_factory=dict)
    expires: Time | None = None
    revision: Annotated[int, BeforeValidator(_revision)] = 0
    namespace: Annotated[Any, Unserved("")] = None
    id: Annotated[Any, Unserved("")] = None


class _Envelope(Spec):
    """What stands around a spec."""

    kind: Any = None
    version: Any = None
    sub_kind: Annotated[Any, Unserved("")] = None
    metadata: Any = None
    spec: Any = None


def kind_of(word: str) -> str | None:
    """The kind that *word* means: its name, an alias, or a plural; None: there is none."""
    wanted = word.lower().replace("-", "_")
    for kind in KINDS.values():
        for one in (kind.name, *kind.aliases):
            if wanted in (one, f"{one}s", f"{one[:-1]}ies"):
                return kind.name
    return None


def read_resource(written: Any) -> Resource:
    """Read what somebody has written as a resource.

    Raises:
        BadResource: with every problem, each with its path.
    """
    reading = _Reading()
    envelope = reading.read(_Envelope, written, ())
    kind = reading.kind(envelope.kind) if isinstance(written, Mapping) else None
    if kind is None:
        raise BadResource(reading.problems)
    if not kind.writable:
        raise BadResource([("kind", f"{kind.name} can only be read")])
    version = reading.version(envelope.version, kind)
    metadata = reading.read(Metadata, envelope.metadata or {}, ("metadata",))
    name = reading.name(metadata, kind)
    spec = reading.spec(kind, envelope.spec or {})
    if (origin := metadata.labels.get(ORIGIN)) not in (None, *ORIGINS):
        path = f"metadata.labels.{ORIGIN}"
        reading.problems.append((path, f"has to be {', '.join(ORIGINS)}, not {called(origin)}"))
    if len(json.dumps(spec)) > RESOURCE_BYTES:
        reading.problems.append(("spec", f"comes to more than {RESOURCE_BYTES} bytes"))
    if reading.problems:
        raise BadResource(reading.problems[:_PROBLEMS])
    expires = metadata.expires
    if expires is None and isinstance(spec.get("expires"), str):
        expires = LockSpec.model_validate(spec).expires
    return Resource(
        kind=kind.name,
        version=version,
        name=name,
        labels=dict(sorted(metadata.labels.items())),
        expires=expires,
        spec=spec,
        revision=metadata.revision,
        description=metadata.description,
        warnings=tuple(reading.warnings),
    )


def as_json(resource: Resource) -> dict[str, Any]:
    """*resource* as the API and the store have it; what is empty is left out."""
    metadata: dict[str, Any] = {"name": resource.name}
    if resource.description:
        metadata["description"] = resource.description
    if resource.labels:
        metadata["labels"] = dict(resource.labels)
    if resource.expires is not None:
        metadata["expires"] = written_time(resource.expires)
    if resource.revision:
        metadata["revision"] = resource.revision
    return {
        "kind": resource.kind,
        "version": resource.version,
        "metadata": metadata,
        "spec": dict(resource.spec),
    }


def spec_of(resource: Resource, model: type[S]) -> S:
    """The spec as its kind's *model*: `spec_of(resource, UserSpec).roles`."""
    return model.model_validate(resource.spec)


def role_of(resource: Resource) -> Role:
    """The role as decisions use it."""
    return parse_role(as_json(resource))


def defaults(kind: str) -> Resource:
    """The resource of a *kind* of which a cluster has one, as it is before anybody writes it."""
    one = KINDS[kind]
    resource = read_resource({"kind": kind, "version": one.versions[-1], "spec": {}})
    return with_origin(resource, DEFAULTS)


def with_origin(resource: Resource, origin: str) -> Resource:
    """*resource* with the label that says where it comes from."""
    return evolve(resource, labels={**resource.labels, ORIGIN: origin})


class _Reading:
    """One reading: what is wrong, and what is worth a word."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[tuple[str, str]] = []

    def read(self, model: type[S], value: Any, at: Path) -> S:
        """*value* as a *model*; what is wrong is told and left out, so the rest is read too."""
        for _ in range(_PROBLEMS):
            try:
                found = model.model_validate(value)
            except ValidationError as e:
                before = value
                for fault in e.errors(include_url=False, include_input=False):
                    value = self._told(model, fault["loc"], fault, value, at)
                if value == before:  # what is missing cannot be left out
                    break
            else:
                for path, why in unserved(found):
                    self.warn((*at, *path), why)
                return found
        return model.model_construct()

    def warn(self, path: Path, why: str) -> None:
        meant = f"is not served by this version: {why}" if why else "is not served by this version"
        if (dotted(path), meant) not in self.warnings:
            self.warnings.append((dotted(path), meant))

    def _told(self, model: type[Spec], loc: Path, fault: Any, value: Any, at: Path) -> Any:
        match fault["type"]:
            case "extra_forbidden":
                told = (*loc[:-1], str(loc[-1])[:64])  # the sender's word, of any length
                why = unknown_key(model, told).replace("a setting", "a key")
            case "missing":
                why, told = "is missing", loc
                loc = loc[:-1]
            case "value_error":
                why, told = str(fault["ctx"]["error"]), loc
            case _:
                why, told = fault["msg"][:1].lower() + fault["msg"][1:], loc
        problem = (dotted((*at, *told)), why)
        # What was refused and left out is not missing.
        if problem not in self.problems and (
            fault["type"] != "missing"
            or not any(path.startswith(problem[0]) for path, _ in self.problems)
        ):
            self.problems.append(problem)
        return _without(value, loc)

    def kind(self, value: Any) -> Kind | None:
        if isinstance(value, str) and (name := kind_of(value[:64])) is not None:
            return KINDS[name]
        if not isinstance(value, str):
            why = f"has to be {', '.join(KINDS)}, not {called(value)}"
        elif value.lower() in _LATER:
            why = f"{value.lower()} is not served by this version"
        else:
            hint = nearest(value[:64], KINDS)
            why = f"there is no kind {called(value)}" + (f"; did you mean {hint}?" if hint else "")
        self.problems.append(("kind", why))
        return None

    def version(self, value: Any, kind: Kind) -> str:
        if value is None:
            return kind.versions[-1]
        if isinstance(value, str) and value.lower() in kind.versions:
            return value.lower()
        listed = " or ".join(kind.versions)
        self.problems.append(("version", f"has to be {listed}, not {called(value)}"))
        return kind.versions[-1]

    def name(self, metadata: Metadata, kind: Kind) -> str:
        if kind.singleton is not None:
            if metadata.name not in (None, kind.singleton):
                self.problems.append(("metadata.name", f"has to be {kind.singleton}"))
            return kind.singleton
        if metadata.name is None and not any(p.startswith("metadata") for p, _ in self.problems):
            self.problems.append(("metadata.name", "is missing"))
        return metadata.name or ""

    def spec(self, kind: Kind, value: Any) -> dict[str, Any]:
        found = self.read(kind.model, value, ("spec",))
        if not isinstance(found, RoleSpec):
            return _plain(found, kind.filled)
        spec, problems, warnings = kind_role.narrowed(found)
        self.problems += [(dotted(("spec", *path)), why) for path, why in problems]
        for path, why in warnings:
            told = dotted(("spec", *path))
            self.warnings = [one for one in self.warnings if one[0] != told]
            self.warnings.append((told, why))
        known = {path for path, _ in self.problems}
        self.problems += [
            (path, why) for path, why in kind_role.problems_of(value) if path not in known
        ]
        return spec


def _plain(spec: Spec, filled: bool) -> dict[str, Any]:
    """*spec* in normal form: what was written of what is served, or all of that."""
    found: dict[str, Any] = {}
    for name, info in type(spec).model_fields.items():
        value = getattr(spec, name, None)  # a required one may have been refused
        later = any(isinstance(one, Unserved) for one in info.metadata)
        if later or value is None or not (filled or name in spec.model_fields_set):
            continue
        if isinstance(value, Spec):
            found[name] = _plain(value, filled)
        else:
            found[name] = spec.model_dump(mode="json", include={name})[name]
    return found


def _without(tree: Any, path: Path) -> Any:
    """*tree* without what stands at *path*; of a list, the whole list goes."""
    if not path or not isinstance(tree, Mapping):
        return {}
    first, rest = path[0], path[1:]
    inner = tree.get(first)
    if rest and isinstance(inner, Mapping):
        return {**tree, first: _without(inner, rest)}
    return {key: value for key, value in tree.items() if key != first}
