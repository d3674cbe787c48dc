"""What everybody may ask about and for oneself."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from tlsgate.auth import certify
from tlsgate.auth.bodies import Body, Certify, NewPassword
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.reaching import check_routes
from tlsgate.core.certroutes import CLUSTER
from tlsgate.core.roles import allowed_logins
from tlsgate.errors import BadAsk, Forbidden


async def _me(call: Call) -> Any:
    principal, rights = call.principal, call.rights
    person = rights.person
    return {
        "name": str(principal) if person is None else person.name,
        "kind": principal.kind,
        "cluster": call.parts.cluster,
        "roles": [] if person is None else list(person.roles),
        "system_roles": list(principal.system_roles),
        "traits": {}
        if person is None
        else {key: list(values) for key, values in person.traits.items()},
        "logins": [] if person is None else list(allowed_logins(rights.roles, person)),
        "not_after": principal.not_after,
    }


async def _password(call: Call) -> Any:
    body: NewPassword = call.body
    name = _user(call)
    await call.parts.users.change_password(name, body.old, body.new, body.otp, call.address)
    return {"user": name}


async def _mfa(call: Call) -> Any:
    devices = await call.parts.users.devices(_user(call))
    return {
        "devices": [
            {"name": one.name, "type": one.type, "added": one.added, "last_used": one.last_used}
            for one in devices
        ]
    }


async def _certificates(call: Call) -> Any:
    body: Certify = call.body
    principal, rights = call.principal, call.rights
    claims = principal.claims
    if claims is None:
        raise BadAsk("only who has a certificate gets the next one for it")
    if claims.kind == "host":
        if body.routes:
            raise BadAsk("a host's certificate has no routes")
        return await certify.for_host(
            call,
            evolve(claims, generation=claims.generation + 1),
            tls_public_key=body.tls_public_key,
            ssh_public_key=body.ssh_public_key,
            replaces=True,
        )
    person = rights.person
    assert person is not None
    # Routes narrow what the certificate is good for; what was narrow stays so (S55).
    routes = {**body.routes, **claims.routes}
    if routes.get(CLUSTER, claims.cluster) != claims.cluster:
        raise BadAsk("routes name another cluster")
    await check_routes(call.parts, person, routes)
    return await certify.for_user(
        call,
        person,
        rights.roles,
        tls_public_key=body.tls_public_key,
        ssh_public_key=body.ssh_public_key,
        ttl_seconds=body.ttl_seconds,
        pin_to=principal.address,
        base=evolve(claims, routes=routes),
        not_after=principal.not_after,
    )


async def _logout(call: Call) -> Any:
    name = _user(call)
    ended = await call.parts.sessions.end_all(name)
    call.emit("session.web.end", sessions=ended)
    return {"user": name, "ended": ended}


def _user(call: Call) -> str:
    """The user who asks.

    Raises:
        Forbidden: it is the admin socket, which is no user.
    """
    if call.rights.person is None:
        raise Forbidden(str(call.principal), "ask that", "only users have a password")
    return call.rights.person.name


VERBS: Final = (
    Verb(
        name="me.get",
        method="GET",
        path="/v1/me",
        who="known",
        summary="Say who I am, by the certificate or the socket that I use.",
        answer=_me,
        reply="Me",
    ),
    Verb(
        name="me.password",
        method="POST",
        path="/v1/me/password",
        who="user",
        summary="Change my password.",
        answer=_password,
        reply="UserNamed",
        changes=True,
        body=NewPassword,
    ),
    Verb(
        name="me.mfa",
        method="GET",
        path="/v1/me/mfa",
        who="user",
        summary="List my second factors.",
        answer=_mfa,
        reply="Devices",
    ),
    Verb(
        name="me.certificates",
        method="POST",
        path="/v1/me/certificates",
        who="known",
        summary="Get certificates for fresh keys; a user's end no later than the one shown.",
        answer=_certificates,
        reply="Certificates",
        changes=True,
        body=Certify,
    ),
    Verb(
        name="me.logout",
        method="POST",
        path="/v1/me/logout",
        who="user",
        summary="End all my web sessions.",
        answer=_logout,
        reply="LoggedOut",
        changes=True,
        body=Body,
    ),
)
