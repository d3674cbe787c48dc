"""What the service manager is told, and when there is none."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service import notify


class Door:
    """A datagram socket that keeps what is sent."""

    sent: list[tuple[bytes, str]]

    def __init__(self, *_: Any) -> None:
        self.blocking = True

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def setblocking(self, blocking: bool) -> None:
        """Remember it."""
        self.blocking = blocking

    def sendto(self, wire: bytes, address: str) -> None:
        """Keep it, unless nobody listens there."""
        assert not self.blocking
        if address == "/gone":
            raise ConnectionRefusedError
        self.sent.append((wire, address))


class NotifyTests(SynchronousTestCase):
    """Tests for `notify` and its friends."""

    def setUp(self) -> None:
        Door.sent = []
        self.patch(socket, "socket", Door)

    def test_one_datagram(self) -> None:
        """All assignments go in one datagram, also to an abstract address."""
        for written, address in (("/run/notify", "/run/notify"), ("@notify", "\0notify")):
            self.assertTrue(
                notify.notify("READY=1", "STATUS=x", environment={"NOTIFY_SOCKET": written})
            )
            self.assertEqual(Door.sent.pop(), (b"READY=1\nSTATUS=x", address))

    def test_nobody_there(self) -> None:
        """Without a manager, or one that is gone, nothing happens."""
        for written in ("", "relative", "/gone"):
            self.assertFalse(notify.notify("READY=1", environment={"NOTIFY_SOCKET": written}))
        self.assertFalse(notify.notify("READY=1", environment={}))
        self.assertEqual(Door.sent, [])

    def test_watchdog(self) -> None:
        """Half of what the unit allows; off when it is somebody else's or nonsense."""
        ours = str(os.getpid())
        for environment, seconds in (
            ({"WATCHDOG_USEC": "10000000"}, 5.0),
            ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": ours}, 5.0),
            ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
            ({"WATCHDOG_USEC": "x"}, None),
            ({}, None),
        ):
            self.assertEqual(notify.watchdog_seconds(environment), seconds)
