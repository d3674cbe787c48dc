"""Tests for `tlsgate.config.cluster`: the auth service's own port, and where a gateway joins."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_text
from tlsgate.config.settings import Join, Settings
from tlsgate.errors import BadSettings

PIN = "sha256:" + "ab" * 32
ALONE = "auth_service: {enabled: no}\nproxy_service: {web_listen_addr: 127.0.0.1:1}\n"


def warned(settings: Settings) -> list[str]:
    """The warnings without their places."""
    return [f"{one.path}: {one.message}" for one in settings.warnings]


class AuthPortTests(SynchronousTestCase):
    """Tests for `auth_listeners`."""

    def ports(self, text: str) -> list[tuple[str, str]]:
        """Name and endpoint of each listener."""
        return [(one.name, one.endpoint) for one in read_text(text).listeners]

    def problem(self, text: str) -> str:
        """The one thing that is wrong with *text*."""
        (problem,) = self.assertRaises(BadSettings, read_text, text).problems
        return f"{problem.path}: {problem.message}"

    def test_alone(self) -> None:
        """Without a gateway beside it the auth service has Teleport's port, or the file's."""
        off = "version: v2\nproxy_service: {enabled: no}\n"
        self.assertEqual(self.ports(off), [("auth", "tcp:3025:interface=0.0.0.0")])
        written = off + "auth_service: {listen_addr: 127.0.0.1}"
        self.assertEqual(self.ports(written), [("auth", "tcp:3025:interface=127.0.0.1")])

    def test_beside_a_gateway(self) -> None:
        """Beside a gateway it is reached through that, unless the file opens a port."""
        web = "version: v2\nproxy_service: {web_listen_addr: 127.0.0.1:1}\n"
        self.assertEqual(self.ports(web), [("web", "tcp:1:interface=127.0.0.1")])
        both = web + "auth_service: {listen_addr: 127.0.0.1:2}"
        self.assertEqual([name for name, _ in self.ports(both)], ["web", "auth"])
        off = web + "auth_service: {enabled: no, listen_addr: 127.0.0.1:2}"
        self.assertEqual([name for name, _ in self.ports(off)], ["web"])

    def test_proxy_protocol(self) -> None:
        """Its port reads PROXY headers of its own balancers, and none of the gateway's."""
        web = "version: v2\nproxy_service: {web_listen_addr: 127.0.0.1:1, proxy_protocol: "
        here = web + "{trusted: 10.0.0.1}}\nauth_service: {listen_addr: 127.0.0.1:2"
        own = ", proxy_protocol: {mode: on, trusted: [10.0.0.5]}}"
        for text, on, trusted in ((own, True, ["10.0.0.5/32"]), ("}", False, [])):
            rule = read_text(here + text).listeners[-1].proxy_protocol
            self.assertEqual((rule.on, [str(one) for one in rule.trusted]), (on, trusted))
        loose = read_text(
            web + "off}\nauth_service: {listen_addr: 127.0.0.1:2, proxy_protocol: on}"
        )
        self.assertTrue(loose.listeners[-1].proxy_protocol.on)
        self.assertIn("on without trusted", warned(loose)[0])
        nowhere = read_text(web + "off}\nauth_service: {proxy_protocol: off}")
        self.assertEqual(
            warned(nowhere),
            ["auth_service.proxy_protocol: is of the port of listen_addr, and there is none"],
        )

    def test_what_cannot_be_opened(self) -> None:
        """An address that is none, or in the way of another, is told at its place."""
        web = "version: v2\nproxy_service: {web_listen_addr: 127.0.0.1:1}\nauth_service: "
        self.assertEqual(
            self.problem(web + "{listen_addr: 127.0.0.1:1}"),
            "auth_service.listen_addr: '127.0.0.1:1' is in the way of the web listener",
        )
        self.assertIn("haproxy:", self.problem(web + "{listen_addr: 'haproxy:tcp:5'}"))
        self.assertIn("absolute", self.problem(web + "{listen_addr: 'unix:here'}"))


class JoinTests(SynchronousTestCase):
    """Tests for `joined`."""

    def test_a_gateway_elsewhere(self) -> None:
        """Servers get Teleport's port, and a token that is a file makes no warning."""
        read = read_text(
            "version: v2\nteleport: {auth_servers: [auth.example.com, '10.0.0.1:1'],"
            f" auth_token: /etc/token, ca_pin: '{PIN.upper().replace('SHA', 'sha')}'}}\n" + ALONE
        )
        self.assertEqual(
            read.join,
            Join(
                servers=("auth.example.com:3025", "10.0.0.1:1"),
                cluster=None,
                token="/etc/token",
                pins=(PIN,),
                unsafe_no_pin=False,
            ),
        )
        self.assertEqual(warned(read), [])
        self.assertTrue(read.in_cluster)

    def test_v3_and_join_params(self) -> None:
        """v3 has one server, and the token may stand in join_params."""
        read = read_text(
            "version: v3\nteleport: {auth_server: a.example:9, unsafe_no_ca_pin: yes,"
            " join_params: {method: token, token_name: secret}}\n" + ALONE
        )
        assert read.join is not None
        self.assertEqual((read.join.servers, read.join.token), (("a.example:9",), "secret"))
        self.assertTrue(read.join.unsafe_no_pin)
        (warning,) = warned(read)
        self.assertIn("teleport.join_params.token_name: the token stands in this file", warning)
        self.assertNotIn("secret", repr(read.join))

    def test_a_token_without_a_pin(self) -> None:
        """Who is about to join has to know whom; a member needs neither."""
        for more, due in (
            ("auth_token: /etc/token", True),
            ("auth_token: /etc/token, unsafe_no_ca_pin: yes", False),
            (f"auth_token: /etc/token, ca_pin: '{PIN}'", False),
            ("nodename: gw2", False),
        ):
            text = f"version: v3\nteleport: {{auth_server: a.example:9, {more}}}\n" + ALONE
            found = [one for one in read_text(text).warnings if "ca_pin is missing" in one.message]
            self.assertEqual([one.path for one in found], ["teleport.auth_token"] * due, more)

    def test_where_it_counts_for_nothing(self) -> None:
        """Each key that does nothing here says why."""
        keys = f"version: v2\nteleport: {{auth_servers: [a], ca_pin: '{PIN}'}}\n"
        with_auth = read_text(keys + "proxy_service: {web_listen_addr: 127.0.0.1:1}")
        self.assertIsNone(with_auth.join)
        self.assertEqual(
            warned(with_auth),
            [
                f"teleport.{name}: has no effect: this process has its own auth service, and "
                "joins none"
                for name in ("auth_servers", "ca_pin")
            ],
        )
        alone = read_text("version: v2\nteleport: {auth_token: /x}\n" + ALONE)
        self.assertIn("joins no cluster", warned(alone)[0])
        self.assertFalse(alone.in_cluster)

    def test_what_is_refused(self) -> None:
        """A pin that is none, another method, and two tokens."""
        start = "version: v2\nteleport: {auth_servers: [a], "
        for keys, want in (
            ("ca_pin: 'sha256:12'", "teleport.ca_pin: has to be sha256:"),
            ("join_params: {method: iam}", "teleport.join_params.method: iam is not served"),
            (
                "auth_token: /a, join_params: {token_name: /b}",
                "teleport.join_params.token_name: auth_token is there too",
            ),
        ):
            error = self.assertRaises(BadSettings, read_text, start + keys + "}\n" + ALONE)
            self.assertIn(want, str(error))

    def test_a_role_for_a_route(self) -> None:
        """A gateway that joins has roles for its routes, as one with an auth service."""
        route = (
            "auth_service: {enabled: no}\nproxy_service:\n  web_listen_addr: 127.0.0.1:1\n"
            "  routes: [{name: r, alpn: [x], target: 'tcp:127.0.0.1:9', require_role: [access]}]\n"
        )
        read = read_text("version: v2\nteleport: {auth_servers: [a]}\n" + route)
        self.assertEqual(read.routes[0].require_role, ("access",))
