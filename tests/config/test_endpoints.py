"""Tests for `tlsgate.config.endpoints`."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.endpoints import (
    Bind,
    Parts,
    Target,
    bind_of,
    can_be_inherited,
    client_endpoint,
    public_address,
    server_endpoint,
    split,
    target_of,
)

SERVERS = {
    "0.0.0.0:3080": ("tcp:3080:interface=0.0.0.0", Bind("tcp", "", 3080)),
    "127.0.0.1": ("tcp:443:interface=127.0.0.1", Bind("tcp", "127.0.0.1", 443)),
    "localhost:1": ("tcp:1:interface=127.0.0.1", Bind("tcp", "127.0.0.1", 1)),
    "gate.internal:1": ("tcp:1:interface=gate.internal", Bind("tcp", "gate.internal", 1)),
    ":3080": (r"tcp:3080:interface=\:\:", Bind("tcp", "::", 3080)),
    "3080": (r"tcp:3080:interface=\:\:", Bind("tcp", "::", 3080)),
    "[::1]:3080": (r"tcp:3080:interface=\:\:1", Bind("tcp", "::1", 3080)),
    "[::1]": (r"tcp:443:interface=\:\:1", Bind("tcp", "::1", 443)),
    "::1": (r"tcp:443:interface=\:\:1", Bind("tcp", "::1", 443)),
    "tcp://0.0.0.0:3080": ("tcp:3080:interface=0.0.0.0", Bind("tcp", "", 3080)),
    "127.0.0.1:0": ("tcp:0:interface=127.0.0.1", Bind("tcp", "127.0.0.1", 0)),
    "tcp:443": ("tcp:443", Bind("tcp", "", 443)),
    "tcp:port=443:backlog=9": ("tcp:port=443:backlog=9", Bind("tcp", "", 443)),
    r"tcp:443:interface=\:\:": (r"tcp:443:interface=\:\:", Bind("tcp", "::", 443)),
    "tcp6:443": ("tcp6:443", Bind("tcp", "::", 443)),
    "unix:/run/a.sock:mode=660": ("unix:/run/a.sock:mode=660", Bind("unix", name="/run/a.sock")),
    "systemd:domain=INET:index=0": (
        "systemd:domain=INET:index=0",
        Bind("systemd", name="index 0"),
    ),
    "systemd:domain=UNIX:name=web": (
        "systemd:domain=UNIX:name=web",
        Bind("systemd", name="name web"),
    ),
}

BAD_SERVERS = {
    "": "no address in ''",
    " 1": "no address in ' 1'",
    "127.0.0.1:": "no port after the colon",
    "127.0.0.1:65536": "port '65536' has to be a number from 0 to 65535",
    "99999999": "port '99999999'",
    "300.0.0.1:80": "an IP address is not a name",
    "a b:80": "labels have",
    "[::g]:80": "'::g' is no IPv6 address",
    "1:2:3": "'1' is no endpoint type",
    "tcp:": "port '' has to be a number",
    "tcp:http": "port 'http'",
    "tcp:80:interface=1.2.3": "interface '1.2.3' is no IP address",
    "tcp:80:backlog=x": "backlog 'x'",
    "tcp:80:port=81": "says port twice",
    "tcp:interface=127.0.0.1": "tcp: without a port",
    "tcp:80:a=1:a=2": "says a= twice",
    "tcp:80\\": "ends in a backslash",
    "unix:": "unix: without a path",
    "unix:mode=660": "unix: without a path",
    "unix:/a:mode=rw": "has to be octal",
    "unix:/a:lockfile=yes": "lockfile has to be 0 or 1",
    "systemd:domain=TCP:index=0": "needs domain=",
    "systemd:domain=INET": "one of both",
    "systemd:domain=INET:index=0:name=a": "one of both",
    "ssl:443": "ssl: would end TLS",
    "tls:443:a": "tls: would end TLS",
    "stdio:x": "stdio: cannot be a listener",
    "haproxy:haproxy:haproxy:tcp:x": "port 'x'",
    "nonsense:a=b": "'nonsense' is no endpoint type",
}

TARGETS = {
    "tcp:127.0.0.1:9003": Target("tcp", "127.0.0.1", 9003),
    "tcp:host=db.internal:port=5432": Target("tcp", "db.internal", 5432),
    "tcp:db:5432:timeout=3": Target("tcp", "db", 5432, options={"timeout": "3"}),
    r"tcp:\:\:1:80": Target("tcp", "::1", 80),
    "unix:/run/a.sock": Target("unix", path="/run/a.sock"),
    "unix:path=/run/a.sock:timeout=2": Target("unix", path="/run/a.sock", options={"timeout": "2"}),
    "tls:db.example.com:5432:trustRoots=/a.pem": Target(
        "tls", "db.example.com", 5432, options={"trustRoots": "/a.pem"}
    ),
    r"tls:db:1:endpoint=tcp\:10.0.0.5\:2": Target(
        "tls", "db", 1, options={"endpoint": "tcp:10.0.0.5:2"}
    ),
}

BAD_TARGETS = {
    "": "is no endpoint type",
    "db": "'db' has no port",
    ":80": "is no endpoint type",
    "tcp:db": "needs a host and a port",
    "tcp:db:0": "port 0 cannot be dialled",
    "tcp:db:1:2": "'2' is one part too many",
    "tcp:d b:1": "host 'd b'",
    "tcp:db:1:trustRoots=a": "trustRoots= is unknown",
    "tls:db:1:certificate=a": "certificate= is unknown",
    r"tls:db:1:endpoint=tls\:a\:1": "tls: inside tls:",
    r"tls:db:1:endpoint=foo\:a\:b": "'foo' is no endpoint type",
    "unix:": "unix: without a path",
    "ssl:db:1": "write tls:",
    "exec:/bin/sh": "'exec' is no endpoint type",
}


class ServerTests(SynchronousTestCase):
    """Tests for `server_endpoint` and `bind_of`."""

    def test_addresses(self) -> None:
        """Each way to write a listener gives its endpoint string, and what it occupies."""
        made = {
            value: (endpoint, bind_of(endpoint))
            for value in SERVERS
            for endpoint, _ in [server_endpoint(value, 443)]
        }
        self.assertEqual(made, SERVERS)

    def test_haproxy_in_front(self) -> None:
        """`haproxy:` is stripped from either way of writing, and told."""
        self.assertEqual(server_endpoint("haproxy:tcp:443", 1), ("tcp:443", True))
        self.assertEqual(
            server_endpoint("haproxy:127.0.0.1", 1), ("tcp:1:interface=127.0.0.1", True)
        )
        self.assertEqual(server_endpoint("tcp:443", 1), ("tcp:443", False))

    def test_refusals(self) -> None:
        """Each impossible address is refused with a reason."""
        for value, why in BAD_SERVERS.items():
            error = self.assertRaises(ValueError, server_endpoint, value, 443)
            self.assertIn(why, str(error), value)
        self.assertIn("no port", str(self.assertRaises(ValueError, server_endpoint, "::1", None)))

    def test_twisted_agrees(self) -> None:
        """Twisted opens each of ours on the interface and port that we think it does."""
        for endpoint, bind in SERVERS.values():
            if bind.kind != "tcp" or not endpoint.startswith("tcp:"):
                continue
            reactor = MemoryReactorClock()
            serverFromString(cast(Any, reactor), endpoint).listen(cast(Any, None))
            port, _, _, interface = reactor.tcpServers[0]
            self.assertEqual(
                (port, "" if interface == "0.0.0.0" else interface), (bind.port, bind.host)
            )

    def test_overlaps(self) -> None:
        """Two addresses collide when a socket of both cannot be open at once."""
        table = {
            ("0.0.0.0:1", "127.0.0.1:1"): True,
            ("0.0.0.0:1", "0.0.0.0:1"): True,
            ("tcp:1", "0.0.0.0:1"): True,
            (":1", "127.0.0.1:1"): True,
            (":1", "[::1]:1"): True,
            (":1", "0.0.0.0:1"): True,
            ("0.0.0.0:1", "[::1]:1"): False,
            ("127.0.0.1:1", "127.0.0.2:1"): False,
            ("127.0.0.1:1", "127.0.0.1:2"): False,
            ("127.0.0.1:0", "127.0.0.1:0"): False,
            ("unix:/a", "unix:/a:mode=600"): True,
            ("unix:/a", "unix:/b"): False,
            ("unix:/a", "0.0.0.0:1"): False,
            ("systemd:domain=INET:index=0", "systemd:domain=INET6:index=0"): True,
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"): False,
            ("localhost:1", "127.0.0.1:1"): True,
        }
        for (one, other), want in table.items():
            binds = [bind_of(server_endpoint(value, 9)[0]) for value in (one, other)]
            self.assertEqual(binds[0].overlaps(binds[1]), want, (one, other))
            self.assertEqual(binds[1].overlaps(binds[0]), want, (other, one))

    def test_inheritance(self) -> None:
        """Endpoints of the system give a descriptor for workers; others do not."""
        self.assertTrue(can_be_inherited("tcp:1"))
        self.assertTrue(can_be_inherited("unix:/a"))
        self.assertFalse(can_be_inherited("onion:1"))


class TargetTests(SynchronousTestCase):
    """Tests for `client_endpoint` and `target_of`."""

    def test_endpoint_strings(self) -> None:
        """A client endpoint string stays as it is, and is taken apart."""
        self.assertEqual({value: target_of(client_endpoint(value)) for value in TARGETS}, TARGETS)
        self.assertEqual([client_endpoint(value) for value in TARGETS], list(TARGETS))

    def test_host_and_port(self) -> None:
        """`host:port` becomes a tcp endpoint."""
        self.assertEqual(client_endpoint("db.internal:5432"), "tcp:db.internal:5432")
        self.assertEqual(client_endpoint("[::1]:80"), r"tcp:\:\:1:80")
        self.assertEqual(client_endpoint("localhost:80"), "tcp:localhost:80")

    def test_refusals(self) -> None:
        """Each impossible target is refused with a reason."""
        for value, why in BAD_TARGETS.items():
            error = self.assertRaises(ValueError, client_endpoint, value)
            self.assertIn(why, str(error), value)

    def test_twisted_agrees(self) -> None:
        """Twisted parses what we let through."""
        for value, target in TARGETS.items():
            if target.kind != "tls":
                clientFromString(cast(Any, MemoryReactorClock()), value)


class PublicTests(SynchronousTestCase):
    """Tests for `public_address`."""

    def test_hosts_and_ports(self) -> None:
        """A host, with or without a port or a scheme, is taken apart."""
        table: dict[str, tuple[str, int | None]] = {
            "gate.example.com": ("gate.example.com", None),
            "GATE.example.com.:443": ("gate.example.com", 443),
            "192.0.2.7:443": ("192.0.2.7", 443),
            "[2001:db8::7]:443": ("2001:db8::7", 443),
            "2001:db8::7": ("2001:db8::7", None),
            "https://gate.example.com": ("gate.example.com", None),
        }
        self.assertEqual({value: public_address(value) for value in table}, table)

    def test_refusals(self) -> None:
        """A path, a bare port, port 0 or an impossible host is refused."""
        for value in ("https://a.example/x", "443", ":443", "a:0", "a b", "a:b", "*.a.example"):
            self.assertRaises(ValueError, public_address, value)


class SplitTests(SynchronousTestCase):
    """Tests for `split`."""

    @given(
        st.lists(st.text(st.characters(blacklist_characters="=")), min_size=1, max_size=4),
        st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(), max_size=3),
    )
    def test_undoes_quoting(self, args: list[str], named: dict[str, str]) -> None:
        """What was put together comes apart as it was."""
        parts = Parts("tcp", tuple(args), named)
        self.assertEqual(split(str(parts)), parts)

    @given(st.text(max_size=60))
    def test_any_text_is_taken_or_refused(self, text: str) -> None:
        """Nothing but ValueError leaves the parsers."""
        for parse in (client_endpoint, public_address, lambda value: server_endpoint(value, 1)):
            with contextlib.suppress(ValueError):
                parse(text)
