"""What operators do: users, tokens, locks, authorities, the trail, the cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tlsgate.auth import certify, networking, resources
from tlsgate.auth.bodies import (
    Backup,
    Explain,
    NewLock,
    NewToken,
    NewUser,
    OneType,
    Reset,
    Rotate,
    Sign,
    Trail,
)
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.invites import Invite
from tlsgate.auth.kinds import as_json
from tlsgate.auth.locks import as_resource
from tlsgate.auth.reaching import known_targets
from tlsgate.auth.resources import roles_of
from tlsgate.core.roles import Target, TargetKind, audits_queries, decide_target
from tlsgate.errors import BadAsk, Locked, NoSuch, NotServed

#: Host and port that stand in for the gateway's where nobody has configured any.
_SCHEMES: Final[Mapping[str, TargetKind]] = {
    "ssh": "node",
    "node": "node",
    "db": "db",
    "app": "app",
    "kube": "kube",
}
_TARGET = re.compile(r"([a-z]+)://(?:([^@/\s]{1,64})@)?([A-Za-z0-9_.-]{1,128})(?:/([^/\s]{1,64}))?")


def _link(call: Call, invite: Invite) -> dict[str, Any]:
    addresses = call.parts.public_addresses()
    url = None
    if addresses:
        address = addresses[0].removesuffix(":443")
        url = f"https://{address}/web/{invite.kind}/{invite.token}"
    return {
        "user": invite.user,
        "invite": {
            "kind": invite.kind,
            "token": invite.token,
            "url": url,
            "expires": invite.expires,
        },
        "pins": list(call.parts.authorities.pins()),
        "proxy": addresses[0] if addresses else None,
    }


async def _add_user(call: Call) -> Any:
    body: NewUser = call.body
    call.rights.require("user", "create")
    invite = await call.parts.users.add(
        body.name, body.roles, body.traits, ttl_seconds=body.ttl_seconds
    )
    call.emit("user.create", name=body.name, roles=list(body.roles), expires=invite.expires)
    return _link(call, invite)


async def _reset_user(call: Call) -> Any:
    body: Reset = call.body
    call.rights.require("user", "update")
    name = call.names["name"]
    invite = await call.parts.users.reset(name, ttl_seconds=body.ttl_seconds)
    call.emit("reset_password_token.create", name=name, expires=invite.expires)
    return _link(call, invite)


async def _add_token(call: Call) -> Any:
    body: NewToken = call.body
    call.rights.require("token", "create")
    token = await call.parts.tokens.add(
        body.types, ttl_seconds=body.ttl_seconds, uses=body.uses, labels=body.labels
    )
    call.emit("join_token.create", name=token.id, roles=list(token.types), expires=token.expires)
    addresses = call.parts.public_addresses()
    return {
        "id": token.id,
        "secret": token.secret,
        "types": list(token.types),
        "expires": token.expires,
        "uses": token.uses,
        "pins": list(call.parts.authorities.pins()),
        "proxy": addresses[0] if addresses else None,
    }


async def _add_lock(call: Call) -> Any:
    body: NewLock = call.body
    call.rights.require("lock", "create")
    lock = await call.parts.locks.add(
        body.target.model_dump(exclude_none=True),
        ttl_seconds=body.ttl_seconds,
        message=body.message,
        created_by=str(call.principal),
    )
    call.emit(
        "lock.created",
        name=lock.name,
        target=", ".join(f"{kind} {value}" for kind, value in lock.target.items()),
        expires=lock.expires,
    )
    item = await call.parts.store.get(resources.key_of("lock", lock.name))
    return as_resource(lock) if item is None else resources.shown(item)


async def _authorities(call: Call) -> Any:
    call.rights.require("cert_authority", "readnosecrets", "read", "list")
    found = call.parts.authorities.public()
    if call.query.type:
        if call.query.type not in found:
            raise NoSuch("authority", call.query.type[:64])
        found = {call.query.type: found[call.query.type]}
    return {"cluster": call.parts.cluster, "authorities": found}


async def _rotate(call: Call) -> Any:
    body: Rotate = call.body
    call.rights.require("cert_authority", "rotate")
    kind = call.names["type"]
    public = await call.parts.authorities.rotate(kind, body.phase, body.grace_seconds)
    call.emit("authority.rotate", type=kind, phase=public["phase"])
    return public


async def _sign(call: Call) -> Any:
    body: Sign = call.body
    call.rights.require("cert_authority", "use")
    parts = call.parts
    person = await parts.users.get(body.user)
    if person is None:
        raise NoSuch("user", body.user)
    lock = parts.locks.matches(person)
    if lock is not None:
        raise Locked(person.name, lock.message)
    return await certify.for_user(
        call,
        person,
        await roles_of(parts.store, person.roles),
        tls_public_key=body.tls_public_key,
        ssh_public_key=body.ssh_public_key,
        ttl_seconds=body.ttl_seconds,
        pin_to=None,
    )


async def _audit(call: Call) -> Any:
    call.rights.require("event", "list", "read")
    if call.parts.trail is None:
        raise NotServed("audit", "the audit trail is not kept in files here")
    page = call.query
    events, following = await call.parts.trail.read(
        since=page.since, until=page.until, event=page.event, limit=page.limit, after=page.after
    )
    return {"events": list(events), "next": following}


async def _cluster(call: Call) -> Any:
    parts = call.parts
    setting = await networking.current(parts.store, networking.NETWORKING)
    users = None
    if call.rights.decide("user", "list").allowed:
        users = await resources.count_of(parts.store, resources.PREFIXES["user"])
    return {
        "cluster_name": parts.cluster,
        "version": parts.version,
        "authorities": {
            kind: {
                "phase": public["phase"],
                "since": public["since"],
                "fingerprint": public["fingerprint"],
            }
            for kind, public in parts.authorities.public().items()
        },
        "pins": list(parts.authorities.pins()),
        "networking": as_json(setting),
        "public_addresses": list(parts.public_addresses()),
        "users": users,
    }


async def _explain(call: Call) -> Any:
    body: Explain = call.body
    person = call.rights.person
    if person is None or person.name != body.user:  # of oneself anybody may ask
        call.rights.require("user", "readnosecrets", "read")
        call.rights.require("role", "readnosecrets", "read")
    target = _target(body.target, body.labels)
    parts = call.parts
    found = await parts.users.get(body.user)
    if found is None:
        raise NoSuch("user", body.user)
    roles = await roles_of(parts.store, found.roles)
    names = [role.name for role in roles]
    lock = parts.locks.matches(found, login=target.login)
    if lock is not None:
        return {"allowed": False, "why": str(lock), "roles": names, "audit_queries": False}
    there = [target] if body.labels else await known_targets(parts, target)
    # Whoever may not see them all hears the same of what is not there and what is not theirs.
    if not there and call.rights.decide("user", "readnosecrets").allowed:
        what, verb = {"db": ("database", "db"), "app": ("application", "apps")}[target.kind]
        why = (
            f"no agent offers the {what} {target.name}: `tgctl {verb} ls` lists those that are; "
            "--labels tries labels of one to come"
        )
        return {"allowed": False, "why": why, "roles": names, "audit_queries": False}
    decisions = [(decide_target(roles, found, one), one) for one in there or [target]]
    decision, target = next((one for one in decisions if one[0].allowed), decisions[0])
    audited = decision.allowed and audits_queries(roles, found, target)
    return {
        "allowed": decision.allowed,
        "why": decision.why,
        "roles": names,
        "audit_queries": audited,
    }


def _target(text: str, labels: Mapping[str, str]) -> Target:
    """Read "ssh://root@db1", "db://reader@orders/public", "app://wiki", "kube://prod".

    Raises:
        BadAsk: it is none of these.
    """
    found = _TARGET.fullmatch(text)
    kind = None if found is None else _SCHEMES.get(found[1])
    if found is None or kind is None:
        raise BadAsk(
            "a target is ssh://login@name, db://user@name/database, app://name, kube://name"
        )
    who, name, inside = found[2], found[3], found[4]
    return Target(
        kind=kind,
        name=name,
        labels=dict(labels),
        login=who if kind == "node" else None,
        db_user=who if kind == "db" else None,
        db_name=inside if kind == "db" else None,
        kube_user=who if kind == "kube" else None,
    )


async def _backup(call: Call) -> Any:
    body: Backup = call.body
    if call.parts.backup is None:
        raise NotServed("backup", "this store has no copy to give")
    if not body.file.startswith("/"):
        raise BadAsk("the file has to be an absolute path")
    revision, size = await call.parts.backup(body.file)
    call.emit("backup.create", file=body.file, bytes=size)
    return {"file": body.file, "revision": revision, "bytes": size}


VERBS: Final = (
    Verb(
        name="users.create",
        method="POST",
        path="/v1/users",
        who="user",
        summary="Make a user and the link by which to choose a password.",
        answer=_add_user,
        reply="Invitation",
        changes=True,
        body=NewUser,
    ),
    Verb(
        name="users.reset",
        method="POST",
        path="/v1/users/{name}/reset",
        who="user",
        summary="Make a link by which a user chooses a new password and second factor.",
        answer=_reset_user,
        reply="Invitation",
        changes=True,
        body=Reset,
    ),
    Verb(
        name="tokens.create",
        method="POST",
        path="/v1/tokens",
        who="user",
        summary="Make a token for hosts to join with; its secret is shown this once.",
        answer=_add_token,
        reply="Token",
        changes=True,
        body=NewToken,
    ),
    Verb(
        name="locks.create",
        method="POST",
        path="/v1/locks",
        who="user",
        summary="Shut somebody or something out; what is open ends within a second.",
        answer=_add_lock,
        reply="Resource",
        changes=True,
        body=NewLock,
    ),
    Verb(
        name="authorities.get",
        method="GET",
        path="/v1/authorities",
        who="user",
        summary="Get the authorities' certificates, keys and phases; never a private key.",
        answer=_authorities,
        reply="Authorities",
        query=OneType,
    ),
    Verb(
        name="authorities.rotate",
        method="POST",
        path="/v1/authorities/{type}/rotate",
        who="user",
        summary="Take an authority's rotation to its next phase.",
        answer=_rotate,
        reply="Authority",
        changes=True,
        body=Rotate,
    ),
    Verb(
        name="sign",
        method="POST",
        path="/v1/sign",
        who="user",
        summary="Issue certificates for a user's script, for keys that the script has made.",
        answer=_sign,
        reply="UserCertificates",
        changes=True,
        body=Sign,
    ),
    Verb(
        name="audit.list",
        method="GET",
        path="/v1/audit",
        who="user",
        summary="Read the audit trail, oldest first, a page at a time.",
        answer=_audit,
        reply="Events",
        query=Trail,
    ),
    Verb(
        name="cluster.get",
        method="GET",
        path="/v1/cluster",
        who="known",
        summary="Say what the cluster is: its name, version, authorities, pins, networking.",
        answer=_cluster,
        reply="Cluster",
    ),
    Verb(
        name="explain",
        method="POST",
        path="/v1/explain",
        who="user",
        summary="Decide for a user and a target as a gateway would, and say by which rule.",
        answer=_explain,
        reply="Explained",
        body=Explain,
    ),
    Verb(
        name="backup",
        method="POST",
        path="/v1/backup",
        who="local",
        summary="Copy the store to a file of the auth host.",
        answer=_backup,
        reply="BackedUp",
        changes=True,
        body=Backup,
    ),
)
