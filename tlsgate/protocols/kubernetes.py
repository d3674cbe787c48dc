"""Kubernetes: HTTPS whose errors are Status objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core.routing import CertRule
from tlsgate.errors import (
    Denied,
    Draining,
    Fault,
    GateError,
    ListenerClosed,
    NoCertificate,
    NotServed,
    TooMany,
)
from tlsgate.interfaces import IRouteContext, ListenerSpec, RelayTo
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.lastword import LastWord
from tlsgate.protocols.web import answers
from tlsgate.protocols.words import told


class Kubernetes(GateProtocol):
    """The place of the Kubernetes proxy, which is not built yet.

    Nothing but the refusal is behind the own listener, so it asks for no certificate, and
    there is no token or name yet that would lead here without a static route.
    """

    name = "kubernetes"
    client_cert = CertRule.NONE
    listener = ListenerSpec(
        key="kube_listen_addr",
        port=3026,
        public_key="kube_public_addr",
        alpn=(b"http/1.1",),
    )
    advice = (
        "Kubernetes access is not part of this release; "
        "pass the API server through by a static route with its server name"
    )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where kubectl dials; after v1 it is on by server name, listener or not."""
        section: dict[str, Any] = present(
            public_addr=first(settings.public.kube),
            listen_addr=listen_addr(settings, open_listeners, "kube"),
        )
        if settings.version != "v1" or "kube" in open_listeners:
            section = {"enabled": True, **section}
        return {"kube": section}

    def refusal(self, error: GateError) -> bytes:
        """Make an HTTP answer with a Status object; kubectl prints its message.

        See https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
        """
        code, reason = _STATUS.get(type(error), (503, "ServiceUnavailable"))
        if error.fault in (Fault.GATE, Fault.OPERATOR):
            code, reason = 500, "InternalError"
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": told(error),
            "reason": reason,
            "code": code,
        }
        body = json.dumps(status).encode()
        return answers.whole(code, answers.JSON_TYPE, body)

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Relay to the route's target, or answer the first request with a refusal."""
        try:
            return relay(self, context)
        except NotServed as error:
            answer = self.refusal(error)

            def reply(head: bytes) -> bytes | None:
                return answer if b"\r\n\r\n" in head else None

            seconds = context.settings.waits(context.listener).opening_seconds
            return LastWord(reply, context.clock, seconds)


_STATUS: dict[type[GateError], tuple[int, str]] = {
    NoCertificate: (401, "Unauthorized"),
    Denied: (403, "Forbidden"),
    ListenerClosed: (426, "Gone"),
    TooMany: (429, "TooManyRequests"),
    Draining: (503, "ServiceUnavailable"),
}
