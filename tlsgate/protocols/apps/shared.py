"""What all connections to applications have in common: sessions, kept connections, tokens."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from tlsgate.core import appnames
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError
from tlsgate.interfaces import ICluster, ITunnels
from tlsgate.protocols.apps.pool import Pool, fingerprint
from tlsgate.protocols.apps.session import Acting, Reply, Sessions, Shown

#: How long what a name means is not looked up again.
_FOUND_SECONDS: Final = 0.25
_FOUND: Final = 1024
#: A token is asked for anew when so much of its life is left.
_TOKEN_MARGIN: Final = 30.0
#: And not at all for a while where there is none.
_NO_TOKEN_SECONDS: Final = 10.0
_TOKENS: Final = 4096


@frozen
class _Token:
    value: bytes
    until: float


class Shared:
    """One of a process, for one cluster.

    Args:
        console: "host[:port]" where browsers log in.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        cluster: ICluster,
        clock: IReactorTime,
        console: tuple[str, ...],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.console = console
        self.cluster = cluster
        self.pool = Pool(clock)
        self._clock = clock
        self._now = now
        self._sessions = Sessions(cluster, clock, now, console)
        self._found: dict[str, tuple[float, Offer | None]] = {}
        self._tokens: dict[tuple[bytes, str, str | None], _Token] = {}

    def stop(self) -> None:
        """End everything that waits."""
        self.pool.stop()
        self._sessions.stop()

    async def admit(self, shown: Shown) -> Acting | Reply | None:
        """See `session.Sessions.admit`."""
        return await self._sessions.admit(shown)

    def find(self, tunnels: ITunnels, host: str, public: Sequence[str]) -> Offer | None:
        """The application that *host* means, as agents offer it now or a moment ago."""
        now = self._clock.seconds()
        known = self._found.get(host)
        if known is not None and 0 <= now - known[0] < _FOUND_SECONDS:
            return known[1]
        offers = [one for one in tunnels.offers("app") if one.facts.get("protocol") != "tcp"]
        offer = appnames.find(offers, host, public)
        if len(self._found) >= _FOUND:
            self._found.clear()
        self._found[host] = (now, offer)
        return offer

    async def token(
        self, certificate: bytes, offer: Offer, host: str, address: str | None
    ) -> bytes:
        """A signed token about the holder of *certificate* for one application; b"": none.

        Without one the application is asked all the same: it has the plain fields, and who
        relies on the token refuses by itself.
        """
        key = (fingerprint(certificate), offer.name, address)
        known, now = self._tokens.get(key), self._now()
        if known is not None and now < known.until:
            return known.value
        keys: Any = getattr(self.cluster, "jwks", None)
        if not keys or not keys.get("keys"):
            return b""
        body = {
            "certificate": base64.b64encode(certificate).decode("ascii"),
            "app": offer.name,
            "audience": f"https://{host}",
            "address": address,
        }
        try:
            status, said = await self.cluster.door.ask("POST", "/v1/gateway/app-token", body)
        except GateError:
            status, said = 503, {}
        found = _Token(b"", now + _NO_TOKEN_SECONDS)
        if status == 200 and isinstance(said, dict):
            until = said.get("expires", 0)
            until = float(until) if isinstance(until, int | float) else 0.0
            value = str(said.get("token", "")).encode("ascii", "replace")
            found = _Token(value, max(until - _TOKEN_MARGIN, now + 1.0))
        if len(self._tokens) >= _TOKENS:
            self._tokens.clear()
        self._tokens[key] = found
        return found.value
