"""Roles that every new cluster has, and that an operator may change.

They are written as an operator would write them, and read the same way.
"""

from __future__ import annotations

from typing import Any, Final

from tlsgate.auth.kinds import Resource, read_resource

#: Label and value by which a list tells them from others.
TYPE: Final = "teleport.internal/resource-type"
PRESET: Final = "preset"

_EVERY: Final = {"*": "*"}
_ALL_VERBS: Final = ["list", "create", "read", "update", "delete"]

#: Name to description and spec.
_ROLES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "access": (
        "Reach what there is, as whom the traits say",
        {
            "allow": {
                "logins": ["{{internal.logins}}"],
                "node_labels": _EVERY,
                "app_labels": _EVERY,
                "db_labels": _EVERY,
                "db_names": ["{{internal.db_names}}"],
                "db_users": ["{{internal.db_users}}"],
                "kubernetes_labels": _EVERY,
                "kubernetes_groups": ["{{internal.kubernetes_groups}}"],
                "kubernetes_users": ["{{internal.kubernetes_users}}"],
            },
            "options": {
                "max_session_ttl": "30h",
                "forward_agent": True,
                "port_forwarding": True,
            },
        },
    ),
    "editor": (
        "Change the cluster: users, roles, tokens, locks, settings",
        {
            "allow": {
                "rules": [
                    {
                        "resources": [
                            "user",
                            "role",
                            "token",
                            "lock",
                            "cluster_networking_config",
                            "cluster_auth_preference",
                        ],
                        "verbs": _ALL_VERBS,
                    },
                    {
                        "resources": ["cert_authority"],
                        "verbs": ["list", "readnosecrets", "rotate", "use"],
                    },
                    {"resources": ["node"], "verbs": ["list", "read", "delete"]},
                    {"resources": ["db", "app"], "verbs": ["list", "read"]},
                    {"resources": ["event", "session"], "verbs": ["list", "read"]},
                ],
            },
            "options": {"max_session_ttl": "30h"},
        },
    ),
    "auditor": (
        "Read what happened",
        {
            "allow": {
                "rules": [
                    {"resources": ["event", "session"], "verbs": ["list", "read"]},
                ],
            },
            "options": {"max_session_ttl": "30h"},
        },
    ),
}


def presets() -> list[Resource]:
    """The roles access, editor and auditor."""
    return [
        read_resource(
            {
                "kind": "role",
                "version": "v7",
                "metadata": {
                    "name": name,
                    "description": description,
                    "labels": {TYPE: PRESET},
                },
                "spec": spec,
            }
        )
        for name, (description, spec) in _ROLES.items()
    ]
