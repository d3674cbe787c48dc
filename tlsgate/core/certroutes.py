"""What a certificate is good for where it is good for one thing only (`Claims.routes`).

"db" names a database, "db_user" and "db_name" narrow it to one user and one database inside;
"app" names an application. "cluster" narrows nothing here. Whatever else a newer version may
say is a limit that this one does not know, so such a certificate reaches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tlsgate.core.rolevalues import Target, TargetKind

DB: Final = "db"
DB_USER: Final = "db_user"
DB_NAME: Final = "db_name"
APP: Final = "app"
CLUSTER: Final = "cluster"

_KINDS: Final[Mapping[str, TargetKind]] = {DB: "db", APP: "app"}


def is_narrow(routes: Mapping[str, str]) -> bool:
    """Whether a certificate with *routes* is good for less than everything."""
    return bool(routes.keys() - {CLUSTER})


def misfit(routes: Mapping[str, str], target: Target) -> str:
    """Why a certificate with *routes* is not for *target*; "" where it is.

    A user or a database that *target* does not name yet fits.
    """
    if not is_narrow(routes):
        return ""
    inside = {DB_USER: target.db_user, DB_NAME: target.db_name}
    if unknown := sorted(routes.keys() - {*_KINDS, *inside, CLUSTER}):
        return f"the certificate is limited by {unknown[0]!a}, which is not known here"
    named = [key for key in _KINDS if key in routes]
    if [_KINDS[key] for key in named] != [target.kind] or routes[named[0]] != target.name:
        return "the certificate is for one service only, and not for this one"
    for key, asked in inside.items():
        if key in routes and asked is not None and asked != routes[key]:
            return f"the certificate is for {key} {routes[key]!a} only"
    return ""
