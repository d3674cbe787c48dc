"""Tests for `tls.select`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.tls.select import Confirm, NoCommonProtocol, confirm


def connection(app_data: object) -> Any:
    """As much of a connection as the callback sees."""
    return SimpleNamespace(get_app_data=lambda: app_data)


class ConfirmTests(SynchronousTestCase):
    """Tests for `confirm`."""

    def test_the_token_and_no_other(self) -> None:
        """The chosen token is given whatever else is offered before it."""
        for offered in ([b"a"], [b"b", b"a"], [b"a", b"b"]):
            self.assertEqual(confirm(connection(Confirm(b"a")), offered), b"a")

    def test_any_object_with_a_token_will_do(self) -> None:
        """The app data needs nothing but `token`."""
        self.assertEqual(confirm(connection(SimpleNamespace(token=b"a")), [b"a"]), b"a")

    def test_none_confirms_none(self) -> None:
        """Without a token the handshake goes on without ALPN."""
        self.assertIs(confirm(connection(Confirm(None)), [b"a"]), SSL.NO_OVERLAPPING_PROTOCOLS)

    def test_everything_else_is_refused(self) -> None:
        """A token that is not offered, and app data of another kind, end the handshake."""
        for app_data in (Confirm(b"a"), None, object()):
            error = self.assertRaises(NoCommonProtocol, confirm, connection(app_data), [b"b"])
            self.assertIsInstance(error, SSL.Error)
