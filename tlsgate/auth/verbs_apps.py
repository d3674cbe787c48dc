"""Web sessions at applications, as gateways ask for them; and what a launcher shows.

The certificate of a session is its user's, for one application, for a key that the gateway
has made and forgets: so an agent sees by itself whom it serves.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from tlsgate.auth import certify
from tlsgate.auth.agentbodies import NodesAsked
from tlsgate.auth.appbodies import (
    AppBegin,
    AppCertificate,
    AppLogout,
    AppRedeem,
    AppShown,
    AppToken,
)
from tlsgate.auth.appsessions import AppSession
from tlsgate.auth.apptokens import token_of
from tlsgate.auth.bodies import WebCheck
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.reaching import check_routes, holder_of, person_of, sight_of
from tlsgate.auth.resources import roles_of
from tlsgate.auth.verbs_agents import nodes_of
from tlsgate.auth.verbs_targets import apps_of, databases_of
from tlsgate.core.certroutes import APP
from tlsgate.core.claims import Claims
from tlsgate.core.roles import Person
from tlsgate.errors import BadToken, Forbidden, Locked

#: Of a session's certificate; the gateway asks for the next one before its end.
CERTIFICATE_SECONDS: Final = 3600.0


async def _begin(call: Call) -> Any:
    body: AppBegin = call.body
    sessions = call.parts.sessions
    person = await logged_in(call, body.cookie, body.bearer, body.address)
    await check_routes(call.parts, person, {APP: body.app})
    login = sessions.key_of(body.cookie)
    assert login is not None
    return {"code": await sessions.apps.begin(login, body.app, body.state), "app": body.app}


async def logged_in(call: Call, cookie: str, bearer: str | None, address: str) -> Person:
    """Whose login a browser has shown; with the bearer where there has to be one.

    Raises:
        BadToken: nobody's.
        Forbidden: the bearer is of another login.
        Locked: a lock is in force.
    """
    sessions = call.parts.sessions
    session = await sessions.find(cookie, None, address)
    if session is None:
        raise BadToken("session")
    if bearer is not None and await sessions.find(cookie, bearer, address) is None:
        raise Forbidden(session.user, "begin anything", "the bearer is not of this session")
    return await _person(call, session.user)


async def _person(call: Call, user: str) -> Person:
    """The user as known now.

    Raises:
        BadToken: there is no such user any more.
        Locked: a lock is in force.
    """
    person = await call.parts.users.get(user)
    if person is None:
        raise BadToken("session")
    if (lock := call.parts.locks.matches(person)) is not None:
        raise Locked(person.name, lock.message)
    return person


async def _redeem(call: Call) -> Any:
    body: AppRedeem = call.body
    apps = call.parts.sessions.apps
    session = await apps.redeem(body.code, body.app, body.state, body.address, body.certificate)
    try:
        await _person(call, session.user)
    except (BadToken, Locked):
        await apps.end(session.cookie)
        raise
    told = {"addr.remote": body.address}
    call.emit("app.session.login", told, name=session.user, app=session.app, sid=session.id)
    return {"cookie": session.cookie, **_said(session)}


async def _find(call: Call, body: AppShown) -> tuple[AppSession, Person]:
    """The session that a browser has shown, and whose it is.

    Raises:
        BadToken: there is none, or not for this application, certificate or address.
        Locked: a lock is in force.
    """
    apps = call.parts.sessions.apps
    session = await apps.find(body.cookie, body.app, body.address, body.certificate)
    if session is None:
        raise BadToken("session")
    return session, await _person(call, session.user)


def _said(session: AppSession) -> dict[str, Any]:
    return {"sid": session.id, "user": session.user, "expires": session.expires}


async def _check(call: Call) -> Any:
    session, _ = await _find(call, call.body)
    return _said(session)


async def _certificate(call: Call) -> Any:
    body: AppCertificate = call.body
    session, person = await _find(call, body)
    # What the roles allow is decided for each request, by the gateway and by the agent.
    issued = await certify.for_user(
        evolve(call, address=body.address),
        person,
        await roles_of(call.parts.store, person.roles),
        tls_public_key=body.public_key,
        ssh_public_key=None,
        ttl_seconds=CERTIFICATE_SECONDS,
        pin_to=body.address,
        base=Claims(
            cluster=call.parts.cluster, kind="user", name=person.name, routes={APP: session.app}
        ),
        not_after=session.ends,
    )
    return {
        **_said(session),
        "certificate": issued["certificate"],
        "expires": issued["not_after"],
    }


async def _token(call: Call) -> Any:
    body: AppToken = call.body
    parts = call.parts
    identity = holder_of(parts, body.certificate)
    shown = await person_of(parts, identity, body.address)
    offer = await check_routes(parts, shown, {APP: body.app}, identity.claims)
    assert offer is not None
    token, ends = token_of(
        parts.authorities.jwt(),
        shown,
        issuer=parts.cluster,
        audience=body.audience,
        app=body.app,
        claims=offer.facts.get("jwt_claims") or "roles-and-traits",
        now=parts.now(),
        ends=identity.not_after,
    )
    call.emit("app.token.create", name=shown.name, app=body.app, expires=ends)
    return {"token": token, "expires": ends}


async def _logout(call: Call) -> Any:
    body: AppLogout = call.body
    sessions = call.parts.sessions
    found = await sessions.apps.end(body.cookie)
    if found is None:
        return {"user": None, "ended": 0}
    user, login = found
    ended = 1 + await sessions.end_at(login)
    call.emit("app.session.logout", name=user, sessions=ended)
    return {"user": user, "ended": ended}


async def _targets(call: Call) -> Any:
    body: WebCheck = call.body
    person = await logged_in(call, body.cookie, body.bearer, body.address)
    sight = await sight_of(call.parts, person)
    everything = NodesAsked(search="", labels="")
    return {
        "user": person.name,
        "apps": await apps_of(call, sight, everything),
        "databases": await databases_of(call, sight, everything),
        "nodes": await nodes_of(call, person, everything),
    }


VERBS: Final = (
    Verb(
        name="web.app_session",
        method="POST",
        path="/v1/web/app-session",
        who="gateway",
        summary="Make a code by which a browser that is logged in begins at an application.",
        answer=_begin,
        reply="AppCode",
        changes=True,
        body=AppBegin,
    ),
    Verb(
        name="gateway.app_session",
        method="POST",
        path="/v1/gateway/app-session",
        who="gateway",
        summary="Use such a code up and begin the session at the application.",
        answer=_redeem,
        reply="AppBegun",
        changes=True,
        body=AppRedeem,
    ),
    Verb(
        name="gateway.app_check",
        method="POST",
        path="/v1/gateway/app-check",
        who="gateway",
        summary="Say whose a session at an application is, and count that as a use.",
        answer=_check,
        reply="AppSession",
        body=AppShown,
    ),
    Verb(
        name="gateway.app_certificate",
        method="POST",
        path="/v1/gateway/app-certificate",
        who="gateway",
        summary="Get a user's certificate for one application, for who has a session there.",
        answer=_certificate,
        reply="AppCertified",
        changes=True,
        body=AppCertificate,
    ),
    Verb(
        name="gateway.app_token",
        method="POST",
        path="/v1/gateway/app-token",
        who="gateway",
        summary="Get the token that tells an application who its user is.",
        answer=_token,
        reply="SignedToken",
        changes=True,
        body=AppToken,
    ),
    Verb(
        name="gateway.app_logout",
        method="POST",
        path="/v1/gateway/app-logout",
        who="gateway",
        summary="End a session at an application, its login, and what else was begun from that.",
        answer=_logout,
        reply="WebLoggedOut",
        changes=True,
        body=AppLogout,
    ),
    Verb(
        name="web.targets",
        method="POST",
        path="/v1/web/targets",
        who="gateway",
        summary="List what somebody who is logged in may reach: applications, databases, nodes.",
        answer=_targets,
        reply="WebTargets",
        body=WebCheck,
    ),
)
