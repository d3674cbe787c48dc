"""R18: what the daemon does while the audit trail cannot be written."""

from __future__ import annotations

import json
import signal
import ssl
from pathlib import Path

from tests.integration.test_signals import EchoCase
from tests.support.child import until
from tests.support.harness import Gate, receive


class FullDiskTests(EchoCase):
    """The trail is a device that is always full."""

    def full(self, audit: str) -> tuple[Gate, Path]:
        """A daemon whose trail can be written, and then no more."""
        gate = self.echo_gate(teleport={"audit": audit})
        trail = gate.data_dir / "log" / "events.log"
        self.talk(gate).close()
        until(lambda: "route.end" in trail.read_text(), "the trail is written")
        trail.rename(trail.with_suffix(".kept"))
        trail.symlink_to("/dev/full")
        gate.send(signal.SIGHUP)
        gate.event(
            message="reloaded " + str(gate.file) + ": opened none, closed none, replaced none"
        )
        return gate, trail

    def echoes(self, gate: Gate) -> bool:
        """Whether somebody new gets through."""
        try:
            with gate.dial(alpn=["echo"], cert="alice") as connection:
                connection.sendall(b"x")
                return receive(connection, 1) == b"x"
        except (ssl.SSLError, OSError):
            return False

    def test_r18_strict(self) -> None:
        """Nobody new reaches a target, what is open goes on, and all is well once it is written."""
        gate, trail = self.full("strict")
        held = self.talk(gate) if self.echoes(gate) else None
        until(lambda: not self.echoes(gate), "nobody gets in")
        if held is not None:
            self.say(held)
        self.assertTrue(gate.events(cause="audit_failed"))
        trail.unlink()
        gate.send(signal.SIGHUP)
        until(lambda: self.echoes(gate), "they get in again", 5)
        self.assertTrue(all(map(json.loads, trail.read_text().splitlines())))

    def test_r18_best_effort(self) -> None:
        """Everybody gets in, and the trail goes on when it can be written."""
        gate, trail = self.full("best_effort")
        for _ in range(20):
            self.assertTrue(self.echoes(gate))
        trail.unlink()
        gate.send(signal.SIGHUP)
        self.assertTrue(self.echoes(gate))
        until(lambda: "route.end" in trail.read_text(), "the trail is written again", 5)
