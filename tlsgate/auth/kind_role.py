"""Kind `role`, as people write it: every key that Teleport has, v5 to v7.

The shape is checked here, what single values may be by `core.rolespec`, which reads the
result. A key that Teleport knows and we do not serve is a warning and is left out; where
leaving it out would give more than the role says, what it narrows is left out as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, field_validator

from tlsgate.auth.kindfields import Duration, Flag, Spec, Texts, listed, mapped, one_of
from tlsgate.config.fields import Unserved
from tlsgate.config.marks import Path
from tlsgate.core import durations, rolespec
from tlsgate.core.rolevalues import LEAST_SESSION_SECONDS
from tlsgate.errors import BadResource

VERSIONS: Final = rolespec.VERSIONS

Later = Annotated[Any, Unserved("")]
#: An option that would forbid something.
Unenforced = Annotated[Any, Unserved("this is not enforced")]

Selector = Annotated[dict[str, Texts], BeforeValidator(mapped)]


class RuleSpec(Spec):
    """One entry of rules."""

    resources: Texts
    verbs: Texts
    where: Annotated[Any, Unserved("")] = None
    actions: Later = None


class ConditionsSpec(Spec):
    """spec.allow or spec.deny."""

    logins: Texts = ()
    node_labels: Selector = Field(default_factory=dict)
    db_labels: Selector = Field(default_factory=dict)
    db_users: Texts = ()
    db_names: Texts = ()
    app_labels: Selector = Field(default_factory=dict)
    kubernetes_labels: Selector = Field(default_factory=dict)
    kubernetes_users: Texts = ()
    kubernetes_groups: Texts = ()
    rules: Annotated[tuple[RuleSpec, ...], BeforeValidator(listed)] = ()
    kubernetes_resources: Annotated[Any, Unserved("")] = None
    namespaces: Later = None
    cluster_labels: Later = None
    cluster_labels_expression: Later = None
    node_labels_expression: Later = None
    app_labels_expression: Later = None
    db_labels_expression: Later = None
    db_service_labels: Later = None
    db_service_labels_expression: Later = None
    kubernetes_labels_expression: Later = None
    windows_desktop_labels: Later = None
    windows_desktop_labels_expression: Later = None
    windows_desktop_logins: Later = None
    group_labels: Later = None
    group_labels_expression: Later = None
    db_roles: Later = None
    db_permissions: Later = None
    aws_role_arns: Later = None
    azure_identities: Later = None
    gcp_service_accounts: Later = None
    host_groups: Later = None
    host_sudoers: Later = None
    desktop_groups: Later = None
    impersonate: Later = None
    request: Later = None
    review_requests: Later = None
    join_sessions: Later = None
    require_session_join: Unenforced = None
    spiffe: Later = None
    github_permissions: Later = None


def _lock_mode(value: Any) -> str:
    return one_of(value, *rolespec.LOCK_MODES)


class OptionsSpec(Spec):
    """spec.options."""

    max_session_ttl: Duration | None = None
    client_idle_timeout: Duration | None = None
    disconnect_expired_cert: Flag | None = None
    pin_source_ip: Flag | None = None
    port_forwarding: Flag | None = None
    forward_agent: Flag | None = None
    audit_queries: Flag | None = None
    ssh_port_forwarding: Unenforced = None
    ssh_file_copy: Unenforced = None
    permit_x11_forwarding: Later = None
    max_sessions: Unenforced = None
    max_connections: Unenforced = None
    max_kubernetes_connections: Unenforced = None
    require_session_mfa: Unenforced = None
    mfa_verification_interval: Unenforced = None
    device_trust_mode: Unenforced = None
    record_session: Unenforced = None
    enhanced_recording: Unenforced = None
    lock: Annotated[str, BeforeValidator(_lock_mode)] | None = None
    cert_extensions: Later = None
    cert_format: Later = None
    client_idle_timeout_message: Later = None
    create_db_user: Later = None
    create_db_user_mode: Later = None
    create_desktop_user: Later = None
    create_host_user: Later = None
    create_host_user_mode: Later = None
    create_host_user_default_shell: Later = None
    desktop_clipboard: Later = None
    desktop_directory_sharing: Later = None
    idp: Later = None
    request_access: Later = None
    request_prompt: Later = None

    @field_validator("max_session_ttl", mode="after")
    @classmethod
    def _long_enough(cls, value: str | None) -> str | None:
        if value is not None and (durations.read(value) or 0.0) < LEAST_SESSION_SECONDS:
            raise ValueError("has to be 1m or more")
        return value


class RoleSpec(Spec):
    """spec of a role."""

    allow: ConditionsSpec = ConditionsSpec()
    deny: ConditionsSpec = ConditionsSpec()
    options: OptionsSpec = OptionsSpec()


Note = tuple[Path, str]


def narrowed(spec: RoleSpec) -> tuple[dict[str, Any], list[Note], list[Note]]:
    """What of *spec* is served: its mapping, with problems and warnings of what is not."""
    problems: list[Note] = []
    warnings: list[Note] = []
    tree: dict[str, Any] = {
        "allow": _conditions(spec.allow),
        "deny": _conditions(spec.deny),
        "options": {
            key: value
            for key in rolespec.OPTIONS
            if (value := getattr(spec.options, key)) is not None
        },
    }
    for side, conditions in (("allow", spec.allow), ("deny", spec.deny)):
        for index, rule in enumerate(conditions.rules):
            if rule.where is not None:
                meant = "the rule allows nothing" if side == "allow" else "the rule always denies"
                warnings.append(((side, "rules", index, "where"), f"is not served: {meant}"))
    tree["allow"]["rules"] = _rules(rule for rule in spec.allow.rules if rule.where is None)
    tree["deny"]["rules"] = _rules(iter(spec.deny.rules))
    at: Path = ("kubernetes_resources",)
    if not _is_everything(spec.allow.kubernetes_resources):
        tree["allow"]["kubernetes_labels"] = {}
        warnings.append(
            (("allow", *at), "is not served: kubernetes_labels of this role allow nothing")
        )
    if spec.deny.kubernetes_resources:
        problems.append((("deny", *at), "is not served, and would deny nothing: take it out"))
    tree = {
        part: {key: value for key, value in inner.items() if value not in ({}, [])}
        for part, inner in tree.items()
    }
    return {part: inner for part, inner in tree.items() if inner}, problems, warnings


def problems_of(written: Any) -> list[tuple[str, str]]:
    """What `core.rolespec` says of the values in a spec as it was *written*.

    Of keys and shapes the models above have told already; those are left out here.
    """
    sides = {
        side: {
            key: _served_rules(inner) if key == "rules" else inner
            for key, inner in conditions.items()
            if inner is not None and key in (*rolespec.SELECTORS, *rolespec.WORDS, "rules")
        }
        for side in ("allow", "deny")
        if isinstance(written, Mapping) and isinstance(conditions := written.get(side), Mapping)
    }
    metadata = {"name": "role"}
    resource = {"kind": "role", "version": VERSIONS[-1], "metadata": metadata, "spec": sides}
    try:
        rolespec.parse_role(resource)
    except BadResource as e:
        return [*e.problems]
    return []


def _served_rules(rules: Any) -> Any:
    if not isinstance(rules, list):
        return rules
    return [
        {key: rule[key] for key in ("resources", "verbs") if key in rule}
        if isinstance(rule, Mapping)
        else rule
        for rule in rules
    ]


def _conditions(conditions: ConditionsSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for what in rolespec.SELECTORS:
        selector: dict[str, tuple[str, ...]] = getattr(conditions, what)
        # One alternative is written as text alone, as people do.
        found[what] = {k: v[0] if len(v) == 1 else [*v] for k, v in selector.items()}
    for what in rolespec.WORDS:
        found[what] = [*getattr(conditions, what)]
    return found


def _rules(rules: Iterator[RuleSpec]) -> list[dict[str, Any]]:
    return [{"resources": [*rule.resources], "verbs": [*rule.verbs]} for rule in rules]


def _is_everything(value: Any) -> bool:
    """True for none, and for one entry of stars, which Teleport writes into every role."""
    if not value:
        return True
    return isinstance(value, list) and any(
        isinstance(entry, dict)
        and bool(entry)
        and all(inner in ("*", ["*"]) for inner in entry.values())
        for entry in value
    )
