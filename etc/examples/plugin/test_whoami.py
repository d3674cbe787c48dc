"""Tests of whoami on the doubles of `tlsgate.testing`: no gate, no socket, no TLS."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import Denied, TooMany
from tlsgate.testing import FakeContext, connect, holder, load

whoami = load(Path(__file__).with_name("whoami.py"))["whoami"]


class WhoamiTests(SynchronousTestCase):
    """What a client of whoami reads."""

    def context(self, name: str, deny: tuple[str, ...] = ()) -> FakeContext:
        """The context of a client that holds a certificate for *name*."""
        return FakeContext(identity=holder(name), own_settings=whoami.settings({"deny": deny}))

    def test_who(self) -> None:
        """A client learns its name, however the network cuts its question."""
        for pieces in (1, 2, 3, 100):
            talk = connect(whoami, self.context("alice"))
            talk.send(b"who\nquit\n", pieces=pieces)
            self.assertEqual(talk.received, b"+ask who\n+alice\n")
            self.assertTrue(talk.closed)

    def test_nonsense(self) -> None:
        """Anything else is answered with what there is."""
        talk = connect(whoami, self.context("alice"))
        talk.send(b"why\n")
        self.assertEqual(talk.received, b"+ask who\n-who or quit\n")

    def test_denied(self) -> None:
        """Whom the settings name is refused before anything is served."""
        self.assertRaises(Denied, connect, whoami, self.context("mallory", deny=("mallory",)))

    def test_refusal(self) -> None:
        """A refusal is a line of the protocol's own."""
        self.assertEqual(
            whoami.refusal(TooMany("connections", 3)), b"-limit connections (3) reached\n"
        )

    def test_settings(self) -> None:
        """A key that does not exist is refused with a sentence."""
        error = self.assertRaises(ValueError, whoami.settings, {"dney": []})
        self.assertEqual(str(error), "dney is not a setting of whoami; it takes deny")
