"""Tests for `tlsgate.config.listeners`, through `read_text`."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import endpoints, schema
from tlsgate.config.read import read_text
from tlsgate.config.settings import Listener, ProxyProtocol
from tlsgate.errors import BadSettings

TRUSTED = tuple(map(ip_network, schema.TRUSTED))


def listeners(text: str, version: str = "v2") -> dict[str, Listener]:
    """The listeners of a proxy_service with these lines."""
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    read = read_text(f"version: {version}\nproxy_service:\n  enabled: yes\n{lines}")
    return {one.name: one for one in read.listeners}


def refusal(test: SynchronousTestCase, text: str, version: str = "v2") -> str:
    """What is said of them, without their places."""
    error = test.assertRaises(BadSettings, listeners, text, version)
    return "\n".join(f"{one.path}: {one.message}" for one in error.problems)


class DefaultTests(SynchronousTestCase):
    """Tests for what comes up by itself."""

    def test_versions(self) -> None:
        """v1 opens web, SSH and tunnel; v2 and v3 the web port alone."""
        opened = {
            version: [(one.name, one.endpoint) for one in listeners("", version).values()]
            for version in ("v1", "v2", "v3")
        }
        web = ("web", "tcp:3080:interface=0.0.0.0")
        v1 = [("ssh", "tcp:3023:interface=0.0.0.0"), ("tunnel", "tcp:3024:interface=0.0.0.0")]
        self.assertEqual(opened, {"v1": [web, *v1], "v2": [web], "v3": [web]})

    def test_own_key_opens_just_that_one(self) -> None:
        """In v2 a listener comes up when its key is there; a host alone gets its own port."""
        keys = {
            "listen_addr": ("ssh", "ssh", 3023),
            "tunnel_listen_addr": ("tunnel", "tunnel", 3024),
            "kube_listen_addr": ("kube", "kubernetes", 3026),
            "mysql_listen_addr": ("mysql", "mysql", 3036),
            "postgres_listen_addr": ("postgres", "postgres", 5432),
            "mongo_listen_addr": ("mongo", "mongodb", 27017),
        }
        for key, (name, protocol, port) in keys.items():
            found = listeners(f"{key}: 127.0.0.1")
            self.assertEqual(list(found), ["web", name])
            self.assertEqual(
                (found[name].protocol, found[name].endpoint, found[name].written),
                (protocol, f"tcp:{port}:interface=127.0.0.1", "127.0.0.1"),
            )

    def test_no_listener_without_the_service(self) -> None:
        """With proxy_service off the auth service's own port is all that is opened."""
        settings = read_text("proxy_service: {enabled: no}")
        found = [(one.name, one.protocol, one.endpoint) for one in settings.listeners]
        self.assertEqual(found, [("auth", "auth", "tcp:3025:interface=0.0.0.0")])
        self.assertFalse(settings.proxy_enabled)

    def test_web_and_tunnel_on_one_address(self) -> None:
        """Equal addresses, however they are written, make one listener."""
        for web, tunnel in ((":443", "443"), ("0.0.0.0:3024", "0.0.0.0"), ("unix:/a", "unix:/a")):
            found = listeners(f"web_listen_addr: '{web}'\ntunnel_listen_addr: '{tunnel}'")
            self.assertEqual(list(found), ["web"])
        # The system picks two ports for two zeros.
        self.assertEqual(
            list(listeners("web_listen_addr: 127.0.0.1:0\ntunnel_listen_addr: 127.0.0.1:0")),
            ["web", "tunnel"],
        )
        self.assertIn(
            "are one listener",
            refusal(
                self,
                "web_listen_addr: ':1'\ntunnel_listen_addr: ':1'\n"
                "listeners: {tunnel: {limits: {connections: 3}}}",
            ),
        )

    def test_a_default_in_the_way(self) -> None:
        """An address that collides with what v1 opens by itself is the one to blame."""
        self.assertEqual(
            refusal(self, "web_listen_addr: 0.0.0.0:3023", "v1"),
            "proxy_service.web_listen_addr: '0.0.0.0:3023' cannot be open beside '0.0.0.0:3023' "
            "of the ssh listener (v1 opens it by default)",
        )


class OwnTests(SynchronousTestCase):
    """Tests for `proxy_service.listeners`."""

    def test_plugins(self) -> None:
        """A plug-in's listener has its name and protocol from its key."""
        found = listeners("listeners: {my-protocol: 'tcp:7000', other: {endpoint: '[::1]:7001'}}")
        self.assertEqual(
            [(one.name, one.protocol, one.endpoint) for one in found.values()][1:],
            [
                ("my-protocol", "my-protocol", "tcp:7000"),
                ("other", "other", r"tcp:7001:interface=\:\:1"),
            ],
        )

    def test_own_limits_over_the_process(self) -> None:
        """A listener's limits and timeouts change only what they name."""
        found = listeners(
            "limits: {unauthenticated: 7, connections: 99}\n"
            "timeouts: {idle_seconds: 60, close_seconds: 9}\n"
            "listeners:\n"
            "  web: {limits: {connections: 5}, timeouts: {idle_seconds: off}}\n"
            "  ssh: 127.0.0.1:3023\n"
        )
        web, ssh = found["web"], found["ssh"]
        self.assertEqual((web.limits.connections, web.limits.unauthenticated), (5, 7))
        self.assertEqual((web.timeouts.idle_seconds, web.timeouts.close_seconds), (None, 9.0))
        self.assertEqual((ssh.limits.connections, ssh.timeouts.idle_seconds), (99, 60.0))

    def test_standard_names_take_an_endpoint_once(self) -> None:
        """An address under both keys is refused, at the second one."""
        self.assertIn(
            "proxy_service.listeners.web: the web listener has an address already",
            refusal(self, "web_listen_addr: ':1'\nlisteners: {web: ':2'}"),
        )

    def test_a_closed_listener_cannot_be_set_up(self) -> None:
        """Limits for a listener that nothing opens are refused, with the way to open it."""
        self.assertEqual(
            refusal(self, "listeners: {mysql: {limits: {connections: 3}}}"),
            "proxy_service.listeners.mysql: this listener is not open; add endpoint, or "
            "mysql_listen_addr",
        )

    def test_workers_need_descriptors(self) -> None:
        """An endpoint that gives no descriptor is refused where workers would share it."""
        self.patch(endpoints, "endpoint_types", lambda side: frozenset({"onion"}))
        self.assertEqual(list(listeners("listeners: {own: 'onion:80:a=b'}")), ["web", "own"])
        self.assertIn(
            "gives no descriptor that 2 workers could share",
            refusal(self, "workers: 2\nlisteners: {own: 'onion:80:a=b'}"),
        )


class ProxyProtocolTests(SynchronousTestCase):
    """Tests for the PROXY rule of each listener."""

    def rules(self, text: str) -> dict[str, ProxyProtocol]:
        """Each listener's rule."""
        return {name: one.proxy_protocol for name, one in listeners(text).items()}

    def test_off_unless_asked_for(self) -> None:
        """Nothing said, or off, means that no header is read and nobody is trusted."""
        off = ProxyProtocol(on=False, trusted=())
        self.assertEqual(self.rules(""), {"web": off})
        self.assertEqual(self.rules("proxy_protocol: {mode: off, trusted: 10.0.0.1}"), {"web": off})

    def test_on_for_all_or_one(self) -> None:
        """The service's rule holds where a listener has none of its own."""
        own = ProxyProtocol(on=True, trusted=(ip_network("10.0.0.5/32"),))
        self.assertEqual(
            self.rules(
                "proxy_protocol: {mode: on, trusted: [10.0.0.5]}\nlisten_addr: ':1'\n"
                "tunnel_listen_addr: haproxy:tcp:2\nlisteners: {ssh: {proxy_protocol: off}}"
            ),
            {"web": own, "ssh": ProxyProtocol(on=False, trusted=()), "tunnel": own},
        )

    def test_haproxy_in_front_switches_one_on(self) -> None:
        """`haproxy:` wins over a general off, and not over the listener's own."""
        self.assertEqual(
            self.rules("proxy_protocol: off\nlisten_addr: 'haproxy::1'"),
            {
                "web": ProxyProtocol(on=False, trusted=()),
                "ssh": ProxyProtocol(on=True, trusted=TRUSTED),
            },
        )

    def test_trust_in_everyone_is_a_warning(self) -> None:
        """A range of all addresses, and `on` without any, are warnings with their place."""
        for text, path in {
            "proxy_protocol: {mode: on, trusted: ['::/0']}": "proxy_service.proxy_protocol.trusted",
            "proxy_protocol: on": "proxy_service.proxy_protocol",
            "web_listen_addr: haproxy:tcp:1": "proxy_service.web_listen_addr",
        }.items():
            warnings = read_text(f"version: v2\nproxy_service:\n  {text}").warnings
            self.assertEqual([warning.path for warning in warnings], [path])
