"""Tests for `tlsgate.protocols.web.ping`, against documents written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.clients import get, visit
from tlsgate import __version__, registry
from tlsgate.config.settings import Settings
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.web import ping
from tlsgate.protocols.web.protocol import Web
from tlsgate.protocols.web.site import listeners_of
from tlsgate.testing import FakeCluster, FakeContext, connect, listener, settings

VECTORS = Path(__file__).parents[2] / "vectors" / "ping"
CASES = sorted(path.stem for path in VECTORS.glob("*.yaml"))
PROTOCOLS = registry.load(None).protocols

#: `auth` of every find document.
NO_AUTH = {"type": "", "private_key_policy": "", "has_motd": False}


def read(case: str) -> tuple[Settings, dict[str, Any]]:
    """The settings of a case, and the ping document that they lead to."""
    text = (VECTORS / f"{case}.yaml").read_text()
    return settings(text), json.loads((VECTORS / f"{case}.json").read_text())


def answer(value: Settings, path: str) -> tuple[int, dict[str, Any]]:
    """Status and document of a gate with the settings *value* at *path*."""
    found = get(connect(Web(), FakeContext(settings=value, protocols=PROTOCOLS)), path)
    assert found.headers[b"content-type"] == b"application/json"
    return found.code, json.loads(found.body)


class Changing(FakeCluster):
    """A cluster whose second factor somebody changes."""

    second_factor: str | None = None


class ClusterTests(SynchronousTestCase):
    """What a cluster says wins over the file of a gateway."""

    def test_second_factor(self) -> None:
        """Clients are told what logins ask for now, and the mode that is set."""
        cluster, web = Changing(), Web()
        context = FakeContext(settings=read(CASES[0])[0], protocols=PROTOCOLS, cluster=cluster)

        def told() -> tuple[str, bool]:
            said = json.loads(get(connect(web, context), "/webapi/ping").body)
            return said["auth"]["second_factor"], said["proxy"]["tls_routing_enabled"]

        before = told()
        cluster.second_factor = "off"
        self.assertEqual((told(), before[1]), (("off", True), True))
        cluster.second_factor, cluster.mode = "otp", "separate"
        self.assertEqual(told(), ("otp", False))


class DocumentTests(SynchronousTestCase):
    """The documents of whole configurations, field for field."""

    def test_every_version_and_mode(self) -> None:
        """There is a case for each version with each mode."""
        modes = {(value.version, value.mode) for value, _ in map(read, CASES)}
        versions = ("v1", "v2", "v3")
        self.assertEqual(modes, {(v, m) for v in versions for m in ("separate", "multiplex")})

    def test_ping(self) -> None:
        """/webapi/ping is the document that stands beside the configuration."""
        for case in CASES:
            value, wanted = read(case)
            self.assertEqual(answer(value, "/webapi/ping"), (200, wanted), case)

    def test_find(self) -> None:
        """/webapi/find is the same with an empty auth."""
        for case in CASES:
            value, wanted = read(case)
            self.assertEqual(
                answer(value, "/webapi/find"), (200, {**wanted, "auth": NO_AUTH}), case
            )

    def test_versions(self) -> None:
        """A client may be one major release behind, and not more."""
        self.assertEqual(ping.oldest_client("1.4.2"), "1.0.0")
        self.assertEqual(ping.oldest_client("17.0.1"), "16.0.0")
        _, document = answer(settings(), "/webapi/find")
        self.assertEqual(document["server_version"], __version__)


class ConnectorTests(SynchronousTestCase):
    """/webapi/ping/<connector>."""

    def test_local(self) -> None:
        """The local connector is always there, whatever the default is."""
        value, wanted = read("v1-every-address")
        code, document = answer(value, "/webapi/ping/local")
        self.assertEqual(code, 200)
        self.assertEqual(
            document["auth"],
            {
                "type": "local",
                "second_factor": "on",
                "preferred_local_mfa": "webauthn",
                "allow_passwordless": True,
                "local": {"name": ""},
                "webauthn": {"rp_id": "root.example.com"},
                "private_key_policy": "none",
                "has_motd": False,
            },
        )
        self.assertEqual({**document, "auth": wanted["auth"]}, wanted)

    def test_named(self) -> None:
        """A connector that the configuration names has its own type."""
        value, wanted = read("v1-every-address")
        self.assertEqual(answer(value, "/webapi/ping/company"), (200, wanted))

    def test_passwordless(self) -> None:
        """Passwordless login is a connector where security keys are set up."""
        value, _ = read("v1-every-address")
        code, document = answer(value, "/webapi/ping/passwordless")
        self.assertEqual((code, document["auth"]["local"]), (200, {"name": "passwordless"}))
        self.assertEqual(answer(settings(), "/webapi/ping/passwordless")[0], 400)

    def test_unknown(self) -> None:
        """Another name is answered 400, with those that there are and without itself."""
        value, _ = read("v1-every-address")
        for name in ("nobody", "%3Cscript%3E", "%FF"):
            code, document = answer(value, f"/webapi/ping/{name}")
            message = "there is no such connector; valid names are local, passwordless, company"
            self.assertEqual((code, document), (400, {"error": {"message": message}}))

    def test_deeper(self) -> None:
        """Below a connector there is nothing."""
        self.assertEqual(answer(settings(), "/webapi/ping/local/x")[0], 404)
        self.assertEqual(answer(settings(), "/webapi/find/x")[0], 404)


class ListenerTests(SynchronousTestCase):
    """Which addresses are told where the endpoint leaves them open."""

    def test_port_of_the_systems_choice(self) -> None:
        """Where the web port is 0 or a socket of systemd's, the arrival tells it."""
        for endpoint, wanted in (
            ("tcp:0:interface=127.0.0.1", "127.0.0.1:4433"),
            ("systemd:domain=INET:index=0", "0.0.0.0:4433"),
        ):
            value = settings(listeners=(listener("web", endpoint),))
            here = IPv4Address("TCP", "127.0.0.1", 4433)
            self.assertEqual(listeners_of(value, here), {"web": wanted})

    def test_version_6(self) -> None:
        """An IPv6 address stands in brackets."""
        value = settings(listeners=(listener("web", r"tcp:0:interface=\:\:1"),))
        here = IPv6Address("TCP", "::1", 4433)
        self.assertEqual(listeners_of(value, here), {"web": "[::1]:4433"})

    def test_unknown(self) -> None:
        """What nobody can know is left out."""
        value = settings(
            listeners=(listener("web", "unix:/run/x.sock"), listener("ssh", "tcp:0", "ssh"))
        )
        self.assertEqual(listeners_of(value, UNIXAddress("/run/x.sock")), {})


class DropInTests(SynchronousTestCase):
    """What drop-ins say, and do wrong, in the document."""

    def test_own_section(self) -> None:
        """A drop-in's section stands beside the others, and changes none of them."""

        class Lines(GateProtocol):
            name = "lines"

            def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> dict[str, Any]:
                return {"lines": {"listen_addr": "x:1"}, "ssh": {"public_addr": "evil:1"}}

        value, wanted = read("v2-multiplex")
        protocols = {**PROTOCOLS, "lines": Lines()}
        talk = visit(context=FakeContext(settings=value, protocols=protocols))
        document = json.loads(get(talk, "/webapi/ping").body)
        wanted["proxy"]["lines"] = {"listen_addr": "x:1"}
        self.assertEqual(document, wanted)

    def test_fault(self) -> None:
        """One that fails costs its own fields only, and is logged."""

        class Broken(GateProtocol):
            name = "broken"

            def __init__(self, said: object) -> None:
                self.said = said

            def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Any:
                if isinstance(self.said, Exception):
                    raise self.said
                return self.said

        value, wanted = read("v2-multiplex")
        for said in (KeyError("x"), None, {"x": b"bytes"}, 7):
            protocols = {"broken": Broken(said), **PROTOCOLS}
            talk = visit(context=FakeContext(settings=value, protocols=protocols))
            self.assertEqual(json.loads(get(talk, "/webapi/ping").body), wanted)
            self.assertEqual(len(self.flushLoggedErrors()), 1, said)
