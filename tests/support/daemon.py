"""A daemon that only answers, for tests of the admin socket and of tgctl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tlsgate.interfaces import IDaemon

STATUS: dict[str, Any] = {
    "version": "1.0.0",
    "pid": 42,
    "file": "/etc/tlsgate.yaml",
    "data_dir": "/var/lib/tlsgate",
    "mode": "multiplex",
    "workers": 1,
    "started": 0.0,
    "ready": True,
    "connections": 2,
    "warnings": [],
}
LISTENERS: list[dict[str, Any]] = [
    {
        "name": "web",
        "protocol": None,
        "endpoint": "tcp:3080",
        "address": "[::]:3080",
        "proxy_protocol": True,
        "accepted": 17,
        "active": 2,
        "refused": 1,
    },
    {
        "name": "ssh",
        "protocol": "ssh",
        "endpoint": "tcp:3023",
        "address": None,
        "proxy_protocol": False,
        "accepted": 0,
        "active": 0,
        "refused": 0,
    },
]
CONNECTIONS: list[dict[str, Any]] = [
    {
        "listener": "web",
        "peer": "192.0.2.7:50000",
        "route": None,
        "identity": None,
        "sni": None,
        "alpn": None,
        "to_target": 0,
        "to_client": 0,
        "seconds": 0.25,
    },
    {
        "listener": "web",
        "peer": "192.0.2.8:50001",
        "route": "echo",
        "identity": "alice",
        "sni": "gw.test",
        "alpn": "demo-echo",
        "to_target": 2048,
        "to_client": 3 << 30,
        "seconds": 3725.0,
    },
]
RELOADED: dict[str, Any] = {
    "opened": ["postgres"],
    "closed": ["ssh", "tunnel"],
    "replaced": [],
    "kept": ["web"],
    "warnings": ["tlsgate.yaml:3:1 is not served"],
}
UPGRADED: dict[str, Any] = {"pid": 43, "version": "1.0.1"}


@implementer(IDaemon)
@define
class AnsweringDaemon:
    """Gives fixed answers, or raises `error`; keeps what it was asked.

    With `slow` each answer waits until the test fires its entry of `waiting`.
    """

    error: Exception | None = None
    slow: bool = False
    asked: list[object] = field(factory=list)
    waiting: list[Deferred[None]] = field(factory=list)

    async def _answer(self, value: Any, *asked: object) -> Any:
        self.asked.append(asked)
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.error is not None:
            raise self.error
        return value

    async def status(self) -> dict[str, Any]:
        return await self._answer(STATUS, "status")  # type: ignore[no-any-return]

    async def listeners(self) -> list[dict[str, Any]]:
        return await self._answer(LISTENERS, "listeners")  # type: ignore[no-any-return]

    async def connections(self) -> list[dict[str, Any]]:
        return await self._answer(CONNECTIONS, "connections")  # type: ignore[no-any-return]

    async def reload(self, force: bool = False) -> dict[str, Any]:
        return await self._answer(RELOADED, "reload", *(("force",) if force else ()))  # type: ignore[no-any-return]

    async def upgrade(self) -> dict[str, Any]:
        return await self._answer(UPGRADED, "upgrade")  # type: ignore[no-any-return]

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        return await self._answer({}, "explain", listener, sni, tuple(alpn), cert_pem)  # type: ignore[no-any-return]
