"""What an auth service says to a gateway, and a door that a test speaks through."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from tlsgate.errors import GateError
from tlsgate.interfaces import IAuthDoor, IWatch

NAME = "root.example"


def pem(content: bytes) -> str:
    """What stands in the place of a certificate: only its bytes count."""
    return f"-----BEGIN X-----\n{base64.b64encode(content).decode()}\n-----END X-----\n"


def authority(*certificates: str) -> dict[str, Any]:
    """The public part of an authority that trusts these (PEM)."""
    return {"keys": [{"id": "1", "certificate": one} for one in certificates]}


def role(name: str, **allow: Any) -> dict[str, Any]:
    """A role."""
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": {"allow": allow}}


def lock(name: str, **target: str) -> dict[str, Any]:
    """A lock."""
    return {"kind": "lock", "metadata": {"name": name}, "spec": {"target": target}}


def networking(mode: object = 1) -> dict[str, Any]:
    """The mode, as somebody has written it."""
    labels = {"teleport.dev/origin": "dynamic"}
    return {"metadata": {"labels": labels}, "spec": {"proxy_listener_mode": mode}}


def snapshot(**more: Any) -> dict[str, Any]:
    """The first line of a watch."""
    return {
        "kind": "snapshot",
        "revision": 7,
        "cluster": NAME,
        "authorities": {"user": authority(pem(b"user")), "host": authority(pem(b"host"))},
        "roles": [role("access")],
        "locks": [],
        "networking": networking(),
        **more,
    }


def event(kind: str, name: str, resource: Any, revision: int = 8) -> dict[str, Any]:
    """A later line."""
    return {
        "kind": "event",
        "revision": revision,
        "resource_kind": kind,
        "name": name,
        "resource": resource,
    }


ALIVE = {"kind": "alive", "revision": 7}


@implementer(IWatch)
class FakeWatch:
    """A watch whose lines a test says."""

    def __init__(self, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self.say = heard
        self.stopped = False

    def stop(self) -> None:
        """See `IWatch.stop`."""
        self.stopped = True


@implementer(IAuthDoor)
class FakeDoor:
    """An auth service in the hands of a test."""

    api: Any = "the API"

    def __init__(self) -> None:
        self.watches: list[FakeWatch] = []
        self.asked: list[tuple[Any, ...]] = []
        #: What the next questions are answered with.
        self.answers: list[tuple[int, Any] | GateError] = []
        #: Answers where `answers` has none.
        self.reply: Callable[[str, Any], tuple[int, Any]] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        """See `IAuthDoor.ask`."""
        self.asked.append((method, path, body, address, as_anyone))
        if not self.answers:
            assert self.reply is not None, "nothing to answer"
            return self.reply(path, body)
        answer = self.answers.pop(0)
        if isinstance(answer, GateError):
            raise answer
        return answer

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> FakeWatch:
        """See `IAuthDoor.watch`."""
        self.watches.append(FakeWatch(heard))
        return self.watches[-1]

    @property
    def live(self) -> FakeWatch:
        """The only watch that was not stopped."""
        (one,) = [watch for watch in self.watches if not watch.stopped]
        return one
