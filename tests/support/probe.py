"""A drop-in protocol of tests: it asks an agent for whatever one line of JSON names.

It has no rules of its own: what is refused is refused by the agent, as by an agent whose gateway
was taken (S41). `shown` is a certificate in place of the client's own. The answer is a line that
begins with + or -, then come the target's bytes.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from tlsgate.core.offers import Asked
from tlsgate.errors import GateError
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.words import told


class _Asker(Protocol):
    """One client."""

    context: IRouteContext
    _read = b""

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        line, end, rest = (self._read + data).partition(b"\n")
        self._read += data
        context = self.context
        if not end or context.tunnels is None or context.identity is None:
            return
        keys: dict[str, Any] = json.loads(line)
        claims = context.identity.claims
        shown = base64.b64decode(keys.pop("shown", ""))
        asked = Asked(
            **{
                "user": "" if claims is None else claims.name,
                "certificate": shown or context.certificate(),
                "client": "127.0.0.1:1",
                "trace": context.trace,
                **keys,
            }
        )
        context.relay(context.tunnels.reach(asked), _answer, rest, target=f"probe/{asked.name}")


def _answer(error: GateError | None) -> bytes:
    return b"+\n" if error is None else f"-{told(error)}\n".encode()


class Probe(GateProtocol):
    """By the token `probe`."""

    name = "probe"
    alpn = (b"probe",)

    def refusal(self, error: GateError) -> bytes:
        """Say it as the answers do."""
        return _answer(error)

    def build(self, context: IRouteContext) -> Factory:
        """Serve one client."""

        class Asker(_Asker):
            """Of this connection."""

        Asker.context = context
        return Factory.forProtocol(Asker)


probe = Probe()
