"""Which web certificates the gateway shows, told where the cluster's own vouches for it.

A web certificate that nobody's machine knows proves nothing by itself. A client that has the
cluster's host authority, from a login by pin, asks here which one is right, and keeps its
authority for programs that know nothing of clusters: `psql`, `curl`.

1. The token `tlsgate-webcert`: anybody may ask, and the gateway shows the cluster's certificate.
2. GET /webapi/certificates gives what every TLS client of the web port may see anyway.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocolFactory
from twisted.web import http
from twisted.web.server import Site

from tlsgate.core.routing import CertRule
from tlsgate.errors import GateError
from tlsgate.interfaces import IRouteContext, RelayTo
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.web import answers
from tlsgate.protocols.web.site import Branch, Constant
from tlsgate.protocols.web.visit import Visit


class WebCert(GateProtocol):
    """The chains of `https_keypairs`, or of the gateway's own certificate."""

    name = "webcert"
    alpn = (b"tlsgate-webcert",)
    client_cert = CertRule.NONE
    shows_cluster = True

    def refusal(self, error: GateError) -> bytes:
        """Say it as an HTTP answer, in constant words."""
        body = answers.error_body(answers.SENTENCES[503])
        return answers.whole(503, answers.JSON_TYPE, body)

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Give the factory of a site with one document, as the certificates are now."""
        if context.route.target is not None:  # an operator's route with this protocol
            return relay(self, context)
        told = [{"names": list(names), "chain": chain} for names, chain in context.web_chains]
        root, webapi = Branch(), Branch()
        root.putChild(b"webapi", webapi)
        body = answers.json_body({"certificates": told})
        webapi.putChild(b"certificates", Constant(answers.JSON_TYPE, body))
        return Visit(_Silent(root, reactor=context.clock, parsePOSTFormSubmission=False), context)


class _Silent(Site):
    """A site that writes no log: the gate logs each connection at its end."""

    def log(self, request: http.Request) -> None:
        """Write nothing."""
