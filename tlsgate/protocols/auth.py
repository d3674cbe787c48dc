"""The auth service's doors: its API for those who have a certificate, and for the first time.

`tlsgate-auth` and the name `auth.<public>` ask for a certificate of the cluster; through
`tlsgate-join` somebody logs in or joins who has none yet, and sees the host authority in the
gateway's chain, so that a pin can be held against it. Both show the cluster's certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core.ledger import program_of
from tlsgate.core.routing import CertRule
from tlsgate.errors import Denied, GateError, NotServed
from tlsgate.interfaces import IRouteContext, RelayTo
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.web import answers

_ELSEWHERE = "the auth service of this cluster runs elsewhere; ask it there"


class _Door(GateProtocol):
    """What both doors have in common."""

    shows_cluster = True
    at_auth = True

    def refusal(self, error: GateError) -> bytes:
        """Say it as an HTTP answer, in constant words."""
        code = 403 if isinstance(error, Denied) else 503
        return answers.whole(code, answers.JSON_TYPE, answers.error_body(answers.SENTENCES[code]))


class Auth(_Door):
    """The API, for users and hosts with a certificate of the cluster."""

    name = "auth"
    alpn = (b"tlsgate-auth",)
    client_cert = CertRule.REQUIRED
    holders = ("user", "host")
    name_alpn = (b"http/1.1",)

    def server_names(self, public: Sequence[str]) -> Sequence[str]:
        """Claim `auth.` under each public name."""
        return tuple(f"auth.{name}" for name in public)

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Give the API's site, for who the certificate says.

        Raises:
            Denied: the certificate is of nobody in this cluster.
            NotServed: the auth service is not in this process.
        """
        if context.route.target is not None:  # the auth service is in another process
            return relay(self, context)
        from tlsgate.auth.principal import AS_HEADER, of_certificate, on_behalf

        cluster, identity = context.cluster, context.identity
        if cluster is None or identity is None or not cluster.is_ours(identity):
            who = "anyone" if identity is None else identity.name
            raise Denied(self.name, who, "the certificate is not of this cluster")
        principal = of_certificate(identity, host_of(context))
        return _site(context, lambda asked: on_behalf(principal, asked.getHeader(AS_HEADER)))


class Join(_Door):
    """What can be asked without a certificate: logging in, joining, invites."""

    name = "join"
    alpn = (b"tlsgate-join",)
    client_cert = CertRule.NONE

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Give the API's site, for somebody unknown.

        Raises:
            NotServed: the auth service is not in this process.
        """
        if context.route.target is not None:
            return relay(self, context)
        from tlsgate.auth.principal import nobody

        principal = nobody(host_of(context))
        return _site(context, lambda _: principal)


def _site(context: IRouteContext, principal_of: Any) -> IProtocolFactory:
    from tlsgate.auth.web import ApiResource, ApiSite

    cluster = context.cluster
    if cluster is None or cluster.api is None:
        raise NotServed("auth", _ELSEWHERE)

    def who(asked: Any) -> Any:
        context.came_by(program_of(asked.getHeader("user-agent") or ""))
        return principal_of(asked)

    resource = ApiResource(cluster.api, who, context.clock)
    return ApiSite(resource, context.clock)


def host_of(context: IRouteContext) -> str | None:
    """The client's address without its port; None where it has none."""
    return getattr(context.peer, "host", None)
