"""Names and codes of audit events.

Where Teleport has an event for a thing, ours has its name and its code, so that rules of a
log reader hold for both; its list is in the "audit event types" reference at
https://goteleport.com/docs/reference/monitoring/audit/. Codes that begin with TG are ours.
The last letter says how it went: I fine, W refused or failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Event to the code of one that went well.
EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # logins and users
        "user.login": "T1000I",
        "user.create": "T1002I",
        "user.delete": "T1003I",
        "user.update": "T1004I",
        "user.password_change": "T1005I",
        "mfa.add": "T1006I",
        "mfa.delete": "T1007I",
        "reset_password_token.create": "T6000I",
        # certificates and joining
        "cert.create": "TC000I",
        "instance.join": "TJ002I",
        # roles, locks, tokens, clusters
        "role.created": "T9000I",
        "role.deleted": "T9001I",
        "role.updated": "T9002I",
        "lock.created": "TLK00I",
        "lock.deleted": "TLK01I",
        "join_token.create": "TJT00I",
        "join_token.delete": "TGT01I",
        "trusted_cluster.create": "T7000I",
        "trusted_cluster.delete": "T7001I",
        "trusted_cluster_token.create": "T7002I",
        # agents
        "node.delete": "TGH00I",
        # sessions
        "session.start": "T2000I",
        "session.end": "T2004I",
        "session.connect": "T2010I",
        "session.rejected": "T1006W",
        "app.session.start": "T2007I",
        "app.session.end": "T2011I",
        "app.session.request": "T2009I",
        "db.session.start": "TDB00I",
        "db.session.end": "TDB01I",
        "db.session.query": "TDB02I",
        "db.session.rejected": "TDB00W",
        "db.session.cancel": "TGQ00I",
        "kube.request": "T3009I",
        # what a node's own sshd does
        "sshd.accept": "TGS00I",
        # what a gateway does
        "listener.open": "TGL00I",
        "listener.close": "TGL01I",
        "route.connect": "TGR00I",
        "route.deny": "TGR01W",
        "route.end": "TGR02I",
        "connection.end": "TGC00I",
        "connection.refused": "TGC01W",
        "config.reload": "TGG00I",
        "admin.reload": "TGG01I",
        "admin.upgrade": "TGG02I",
        # what a cluster's state goes through
        "networking.update": "TGN00I",
        "migration.step": "TGM00I",
        "migration.end": "TGM01I",
        "migration.agents": "TGM02I",
        "auth_preference.update": "TGN01I",
        "authority.create": "TGA00I",
        "authority.rotate": "TGA01I",
        "backup.create": "TGB00I",
        "session.web.start": "TGW00I",
        "session.web.end": "TGW01I",
        "app.session.login": "TGW02I",
        "app.session.logout": "TGW03I",
        "app.session.rejected": "TGW04W",
        "app.token.create": "TGW05I",
        "api.denied": "TGD00W",
        "audit.lost": "TGZ00W",
        "audit.expire": "TGZ01I",
    }
)


def code_of(event: str, success: bool = True) -> str | None:
    """Give the code of *event*; one that failed ends in W. None: nobody has given it one."""
    code = EVENTS.get(event)
    if code is not None and not success:
        return f"{code[:-1]}W"
    return code
