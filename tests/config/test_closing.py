"""Tests for `tlsgate.config.closing`: which listeners refuse once a file names them no more."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.closing import closing, closing_of, fields, still
from tlsgate.config.endpoints import bind_of
from tlsgate.config.read import read_text
from tlsgate.config.settings import Closing, Settings


def _settings(*lines: str, version: str = "v2") -> Settings:
    text = "".join(f"  {line}\n" for line in ("web_listen_addr: 127.0.0.1:1", *lines))
    return read_text(f"version: {version}\nproxy_service:\n{text}")


SSH = "listen_addr: 127.0.0.1:2"
KUBE = "kube_listen_addr: 127.0.0.1:3"


class ClosingTests(SynchronousTestCase):
    """Tests for `closing`."""

    def setUp(self) -> None:
        """Two separate ports, and a file without them."""
        self.both = _settings(SSH, KUBE)
        self.none = _settings()

    def names(self, found: tuple[Closing, ...]) -> list[str]:
        """Which they are."""
        return [one.name for one in found]

    def test_taken_away(self) -> None:
        """A listener that the file names no more refuses for a day; the web port never does."""
        found = closing(self.both.listeners, (), self.none, 1000.0)
        self.assertEqual(self.names(found), ["ssh", "kube"])
        self.assertEqual({(one.since, one.until) for one in found}, {(1000.0, 87400.0)})
        off = read_text("version: v2\nproxy_service: {enabled: no}\n")
        self.assertEqual(self.names(closing(self.none.listeners, (), off, 1000.0)), [])

    def test_still(self) -> None:
        """What refused goes on as long as it was to, whatever else a reload does."""
        known = closing(self.both.listeners, (), self.none, 1000.0)
        self.assertEqual(closing(self.none.listeners, known, self.none, 2000.0), known)
        self.assertEqual(closing(self.none.listeners, known, self.none, 87400.0), ())

    def test_the_clock_is_set_back(self) -> None:
        """What refuses begins anew then, and does not wait until the clock is there again."""
        known = closing(self.both.listeners, (), self.none, 1e9)
        self.assertEqual(still(known, 1e9 + 86399), known)
        self.assertEqual(still(known, 1e9 + 86400), ())
        for again in (still(known, 1000.0), closing((), known, self.none, 1000.0)):
            self.assertEqual(self.names(again), ["ssh", "kube"])
            self.assertEqual({(one.since, one.until) for one in again}, {(1000.0, 87400.0)})

    def test_back_again(self) -> None:
        """A listener that comes back refuses nobody; at another port, its old one is shut."""
        known = closing(self.both.listeners, (), self.none, 1000.0)
        only = _settings(SSH)
        self.assertEqual(self.names(closing(self.none.listeners, known, only, 2000.0)), ["kube"])
        moved = _settings("listen_addr: 127.0.0.1:9")
        self.assertEqual(self.names(closing(self.none.listeners, known, moved, 2000.0)), ["kube"])

    def test_moved(self) -> None:
        """One that goes to another address refuses at the old one, as many times as it goes."""
        now = self.both
        found: tuple[Closing, ...] = ()
        for port in (21, 22):
            then = _settings(f"listen_addr: 127.0.0.1:{port}", KUBE)
            found = closing(now.listeners, found, then, 1000.0 + port)
            now = then
        self.assertEqual(
            [(one.name, one.moved, bind_of(one.listener.endpoint).port) for one in found],
            [("ssh-moved", "ssh", 2), ("ssh-moved-2", "ssh", 21)],
        )
        self.assertEqual(closing_of(json.loads(json.dumps(fields(found)))), found)
        # Back at the first address, that one is open; the last one refuses in its place.
        back = closing(now.listeners, found, self.both, 1100.0)
        self.assertEqual(
            [(one.name, bind_of(one.listener.endpoint).port) for one in back],
            [("ssh-moved-2", 21), ("ssh-moved", 22)],
        )
        # Its own end is another matter.
        gone = closing(self.both.listeners, back, self.none, 1200.0)
        self.assertEqual(self.names(gone), ["ssh-moved-2", "ssh-moved", "ssh", "kube"])

    def test_moved_too_often(self) -> None:
        """There is an end to the addresses that refuse; port 0 and the web port never do."""
        now = _settings("listen_addr: 127.0.0.1:100")
        found: tuple[Closing, ...] = ()
        for port in range(101, 120):
            then = _settings(f"listen_addr: 127.0.0.1:{port}")
            found = closing(now.listeners, found, then, 1000.0)
            now = then
        self.assertEqual(len(found), 8)
        any_port = _settings("listen_addr: 127.0.0.1:0")
        self.assertEqual(closing(any_port.listeners, (), now, 1000.0), ())
        web = read_text("version: v2\nproxy_service: {web_listen_addr: '127.0.0.1:9'}\n")
        self.assertEqual(closing(self.none.listeners, (), web, 1000.0), ())

    def test_somebody_needs_the_port(self) -> None:
        """An address that another listener asks for is its own."""
        known = closing(self.both.listeners, (), self.none, 1000.0)
        mysql = _settings("mysql_listen_addr: 127.0.0.1:3")
        self.assertEqual(self.names(closing(self.none.listeners, known, mysql, 2000.0)), ["ssh"])
        diag = read_text(
            "version: v2\nteleport: {diag_addr: '127.0.0.1:2'}\n"
            "proxy_service: {web_listen_addr: '127.0.0.1:1'}\n"
        )
        self.assertEqual(self.names(closing(self.both.listeners, (), diag, 2000.0)), ["kube"])

    def test_not_at_all(self) -> None:
        """`refuse_seconds: 0` shuts at once, also what refuses already."""
        at_once = _settings("refuse_seconds: 0")
        known = closing(self.both.listeners, (), self.none, 1000.0)
        self.assertEqual(closing(self.both.listeners, (), at_once, 1000.0), ())
        self.assertEqual(closing(self.none.listeners, known, at_once, 1001.0), ())

    def test_to_another_process(self) -> None:
        """JSON and back, PROXY rules, limits and waits included."""
        rules = "proxy_protocol: {mode: on, trusted: [10.0.0.0/8, 'fc00::/7']}"
        both = _settings(SSH, KUBE, rules)
        found = closing(both.listeners, (), self.none, 1000.0)
        self.assertEqual(closing_of(json.loads(json.dumps(fields(found)))), found)
