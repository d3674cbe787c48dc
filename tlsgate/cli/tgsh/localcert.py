"""The certificate that a local proxy shows: looked after while it runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tlsgate.cli.tgsh import narrow as narrows
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.narrow import OVER_SECONDS, SOON_SECONDS, Narrow


class Keeper:
    """A certificate with certain routes that is good now; asked in threads.

    It is renewed some minutes before its end, where the login lasts longer; a login of
    somebody at another terminal counts from the next look on.

    Args:
        call: whose login it is.
        kind: "db" or "app".
        routes: what it is to be for.
    """

    def __init__(self, call: Call, kind: str, routes: Mapping[str, str]) -> None:
        self.call = call
        self._kind = kind
        self._routes = dict(routes)
        self._lock = threading.Lock()
        self._kept: Narrow | None = None
        self._tried = 0.0

    @property
    def login(self) -> str:
        """The command that begins a new login."""
        return self.call.login_line()

    def current(self) -> Narrow:
        """The certificate, a new one where that is due.

        Raises:
            NotLoggedIn: the login has ended, and the certificate with it.
            GateError: the cluster refuses; or it is not reached, and the old one is over.
        """
        with self._lock:
            kept, now = self._kept, self.call.now()
            left = 0.0 if kept is None else kept.not_after - now
            # A login that does not last longer is not looked at before every connection.
            if kept is not None and left > (SOON_SECONDS if now - self._tried > 20 else 0):
                return kept
            self._tried = now
            try:
                self._kept = narrows.fresh(self.call, self._kind, self._routes)
            except Exception:
                if kept is None or left <= OVER_SECONDS:
                    raise
            assert self._kept is not None
            return self._kept

    def renew(self) -> None:
        """Take a new one the next time: the gateway did not like this one."""
        with self._lock:
            self._kept = None
