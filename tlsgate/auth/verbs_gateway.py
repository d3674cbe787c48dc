"""What gateways and agents ask: certificates for names, the cluster's state, web sessions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from tlsgate.auth import certify
from tlsgate.auth.bodies import GatewayCertificate, Since, WebCheck, WebLogin, WebLogout
from tlsgate.auth.calls import Call, Reply, Verb
from tlsgate.auth.principal import AUTH, GATEWAY
from tlsgate.auth.resources import roles_of
from tlsgate.auth.tokens import TYPES
from tlsgate.core.roles import effective
from tlsgate.errors import BadToken, Forbidden, Locked

_END = "-----END CERTIFICATE-----\n"


async def _certificates(call: Call) -> Any:
    body: GatewayCertificate = call.body
    parts, principal = call.parts, call.principal
    issued = parts.issuer.gateway_certificate(
        body.names,
        body.tls_public_key,
        gateway=principal.name if principal.kind == "host" else "gateway",
        system_roles=tuple(one for one in (GATEWAY, AUTH) if one in principal.system_roles)
        or (GATEWAY,),
        public=_may_show(call),
        ssh_public_key=body.ssh_public_key,
        ssh_names=await _jump_names(call),
    )
    if parts.gateways is not None and AUTH not in principal.system_roles:
        await parts.gateways.tell(principal.name, body.public, issued.not_after)
    call.emit(
        "cert.create",
        {"identity.names": list(issued.names)},
        cert_type="gateway",
        expires=issued.not_after,
    )
    leaf, _, _ = issued.tls_pem.partition(_END)
    return {
        "certificate": leaf + _END,
        "chain": issued.tls_pem,
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "ssh_certificate": issued.ssh,
    }


async def _jump_names(call: Call) -> Sequence[str]:
    """What clients of SSH may call a gateway: its public hosts, its cluster, and no node's name.

    Who dials an address that is no public host asks for the cluster (`HostKeyAlias`). A gateway
    between a client and a node must not be able to show the node's certificate.
    """
    parts, body = call.parts, call.body
    if body.ssh_public_key is None:
        return ()
    public = certify.hosts_of(parts.public_addresses())
    if parts.gateways is not None and not parts.gateways.fixed:
        told = dict.fromkeys((*public, *certify.hosts_of(body.public)))
        zones = {parts.cluster, *told}
        public = tuple([host for host in told if not await _is_a_nodes(call, host, zones)])
    if not await _is_a_nodes(call, parts.cluster, public):
        public = tuple(dict.fromkeys((*public, parts.cluster)))
    own = f"{call.principal.name}.{GATEWAY}.{parts.cluster}"
    return (*public, own) if call.principal.kind == "host" else public


async def _is_a_nodes(call: Call, host: str, zones: Collection[str]) -> bool:
    name, _, zone = host.lower().partition(".")
    node = await call.parts.store.get(certify.host_key("node", name))
    return node is not None and zone in zones


def _may_show(call: Call) -> Sequence[str] | None:
    """Under which names those have to be that a gateway shows.

    Where the auth service's own file says no public address, its gateways say theirs: they
    are believed, but for what is another host's.

    Raises:
        BadName: it is another host's.
    """
    parts, body = call.parts, call.body
    zone = f"{AUTH}.{parts.cluster}"
    public = (zone, *certify.hosts_of(parts.public_addresses()))
    if AUTH in call.principal.system_roles:
        return public
    own = f"{call.principal.name}.{GATEWAY}.{parts.cluster}".lower()
    if parts.gateways is None or parts.gateways.fixed:
        return (own, *public[1:])
    known = {own}
    if parts.cluster in certify.hosts_of(body.public):
        # Databases below its address have their names where agents' hosts have theirs, too: an
        # agent's certificate is good for clients only, so nobody dials a host by such a name.
        known.add(f"*.db.{parts.cluster}")
    others = [name for name in body.names if name.lower() not in known]
    for role in (AUTH, *TYPES):
        certify.check_zone(f"{role}.{parts.cluster}", others)
    return None


async def _watch(call: Call) -> Any:
    # The shell, or who calls in this process, goes on with `Api.watch`.
    return Reply(status=200, body=None)


async def _web_login(call: Call) -> Any:
    body: WebLogin = call.body
    parts = call.parts
    person = await parts.users.check(body.user, body.password, body.otp, body.address)
    options = effective(await roles_of(parts.store, person.roles))
    session = await parts.sessions.make(person.name, body.address, pinned=options.pin_source_ip)
    call.emit("session.web.start", name=person.name, sid=session.id)
    return {
        "cookie": session.cookie,
        "bearer": session.bearer,
        "user": person.name,
        "expires": session.expires,
    }


async def _web_check(call: Call) -> Any:
    body: WebCheck = call.body
    parts = call.parts
    session = await parts.sessions.find(body.cookie, None, body.address)
    person = None if session is None else await parts.users.get(session.user)
    if session is None or person is None:
        raise BadToken("session")
    if body.bearer is not None:
        proved = await parts.sessions.find(body.cookie, body.bearer, body.address)
        if proved is None:
            raise Forbidden(person.name, "change anything", "the bearer is not of this session")
    lock = parts.locks.matches(person)
    if lock is not None:
        raise Locked(person.name, lock.message)
    return {
        "user": person.name,
        "roles": list(person.roles),
        "traits": {key: list(values) for key, values in person.traits.items()},
        "proved": body.bearer is not None,
        "sid": session.id,
        "expires": session.expires,
    }


async def _web_logout(call: Call) -> Any:
    body: WebLogout = call.body
    user = await call.parts.sessions.end(body.cookie)
    if user is not None:
        call.emit("session.web.end", name=user, sessions=1)
    return {"user": user, "ended": 0 if user is None else 1}


VERBS: Final = (
    Verb(
        name="gateway.certificates",
        method="POST",
        path="/v1/gateway/certificates",
        who="gateway",
        summary="Get a certificate for names under the cluster's public addresses.",
        answer=_certificates,
        reply="GatewayCertificates",
        changes=True,
        body=GatewayCertificate,
    ),
    Verb(
        name="watch",
        method="GET",
        path="/v1/watch",
        who="host",
        summary="Hear of authorities, roles, locks, users, networking as they change: JSON lines.",
        answer=_watch,
        reply="WatchLine",
        query=Since,
        stream=True,
    ),
    Verb(
        name="web.login",
        method="POST",
        path="/v1/web/login",
        who="gateway",
        summary="Begin a web session for somebody who logs in at a gateway's page.",
        answer=_web_login,
        reply="WebSession",
        changes=True,
        body=WebLogin,
    ),
    Verb(
        name="web.check",
        method="POST",
        path="/v1/web/check",
        who="gateway",
        summary="Say whose a web session is; with the bearer, that its own page asks.",
        answer=_web_check,
        reply="WebUser",
        body=WebCheck,
    ),
    Verb(
        name="web.logout",
        method="POST",
        path="/v1/web/logout",
        who="gateway",
        summary="End a web session.",
        answer=_web_logout,
        reply="WebLoggedOut",
        changes=True,
        body=WebLogout,
    ),
)
