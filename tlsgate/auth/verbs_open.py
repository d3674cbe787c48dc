"""What can be asked before a login: logging in, links, joining, what to trust."""

from __future__ import annotations

from typing import Any, Final

from tlsgate.auth import certify
from tlsgate.auth.bodies import InviteAccept, InviteBegin, Join, Login
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.resources import roles_of
from tlsgate.core.claims import Claims
from tlsgate.errors import BadResource, GateError, Locked


async def _login(call: Call) -> Any:
    body: Login = call.body
    certify.check_keys(body.tls_public_key, body.ssh_public_key)
    parts = call.parts
    person = await parts.users.check(body.user, body.password, body.otp, call.address)
    return await certify.for_user(
        call,
        person,
        await roles_of(parts.store, person.roles),
        tls_public_key=body.tls_public_key,
        ssh_public_key=body.ssh_public_key,
        ttl_seconds=body.ttl_seconds,
        pin_to=call.address,
    )


async def _invite_begin(call: Call) -> Any:
    body: InviteBegin = call.body
    begun = await call.parts.users.begin_invite(body.token)
    return {
        "user": begun.user,
        "kind": begun.kind,
        "otpauth": begun.otpauth,
        "secret": begun.secret,
        "expires": begun.expires,
    }


async def _invite_accept(call: Call) -> Any:
    body: InviteAccept = call.body
    accepted = await call.parts.users.accept_invite(body.token, body.password, body.otp)
    return {"user": accepted.user}


async def _join(call: Call) -> Any:
    body: Join = call.body
    parts = call.parts
    roles = tuple(dict.fromkeys((body.type, *body.also)))
    told = {"role": ", ".join(roles), "host_id": body.name, "method": "token"}
    try:
        if "gateway" in roles and len(roles) > 1:
            raise BadResource([("also", "a gateway has no other role")])
        der = certify.key_der(body.tls_public_key)
        claims = Claims(cluster=parts.cluster, kind="host", name=body.name, system_roles=roles)
        certify.check_name(call, claims)
        grant = await parts.tokens.use(body.token, der, *roles)
        if (lock := parts.locks.matches(claims)) is not None:  # removed: not by a new token
            raise Locked(body.name, lock.message)
        answer = await certify.for_host(
            call,
            claims,
            tls_public_key=body.tls_public_key,
            ssh_public_key=body.ssh_public_key,
            replaces=False,
            labels=grant.labels,
        )
    except GateError as e:
        call.emit("instance.join", told, success=False, error=e.reason)
        raise
    call.emit("instance.join", told, token=grant.id)
    return answer


async def _cas(call: Call) -> Any:
    authorities = call.parts.authorities
    return {
        "cluster": call.parts.cluster,
        "cas": authorities.cas(),
        "pins": list(authorities.pins()),
    }


async def _openapi(call: Call) -> Any:
    from tlsgate.auth.openapi import document

    return document()


VERBS: Final = (
    Verb(
        name="login",
        method="POST",
        path="/v1/login",
        who="anyone",
        summary="Log in with a password and a second factor; get certificates for fresh keys.",
        answer=_login,
        reply="UserCertificates",
        changes=True,
        body=Login,
    ),
    Verb(
        name="invites.begin",
        method="POST",
        path="/v1/invites/begin",
        who="anyone",
        summary="Open an invite or reset link: for whom it is, and the second factor to set up.",
        answer=_invite_begin,
        reply="InviteBegun",
        changes=True,
        body=InviteBegin,
    ),
    Verb(
        name="invites.accept",
        method="POST",
        path="/v1/invites/accept",
        who="anyone",
        summary="Use a link up: set the password and the second factor.",
        answer=_invite_accept,
        reply="UserNamed",
        changes=True,
        body=InviteAccept,
    ),
    Verb(
        name="join",
        method="POST",
        path="/v1/join",
        who="anyone",
        summary="Join the cluster as a host, by a token; get a certificate for fresh keys.",
        answer=_join,
        reply="HostCertificate",
        changes=True,
        body=Join,
    ),
    Verb(
        name="cas",
        method="GET",
        path="/v1/cas",
        who="anyone",
        summary="Get what to trust: certificates and keys of the authorities, and their pins.",
        answer=_cas,
        reply="Cas",
    ),
    Verb(
        name="openapi",
        method="GET",
        path="/v1/openapi",
        who="anyone",
        summary="Get this description.",
        answer=_openapi,
        reply="Anything",
    ),
)
