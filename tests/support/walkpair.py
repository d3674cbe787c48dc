"""Two gateways of one cluster, as the walk has one: the second in its own place, by its own file.

The first has the auth service beside it; the second has joined it by a token. The agent holds
tunnels with both.
"""

from __future__ import annotations

from attrs import evolve

from tests.support.child import until
from tests.support.harness import Gate
from tests.support.ports import free_port
from tests.support.walk import Walk
from tests.support.walkdials import Dialler
from tests.support.walkguide import Change, Guide, Ports, free_ports, page
from tests.support.walkhouse import SETTLE_SECONDS
from tests.support.walkregulars import Regulars
from tests.support.walkways import Means, fetch

#: What comes to the second gateway every few seconds.
FAR_CLIENTS = {"ssh -J", "psql", "psql 17", "curl"}


class Pair(Walk):
    """The cluster, and what is done with its second gateway.

    Attributes:
        far: the second gateway, with its ports, its guide, and what its clients come with.
    """

    far: Gate
    far_ports: Ports
    far_guide: Guide
    far_means: Means

    def start(self) -> None:
        """Start everything."""
        self.auth_port = free_port()
        self.auth_more = (*type(self).auth_more, f"listen_addr: 127.0.0.1:{self.auth_port}")
        super().start()
        folder = self.folder()
        self.far_ports = free_ports()
        self.far_guide = page(folder, self.far_ports)
        self.far_means = evolve(self.means, port=self.far_ports[0])
        made = self.hub.admin("POST", "/v1/tokens", {"types": ["gateway"], "uses": 1})
        token = folder / "token"
        token.write_text(f"{made['secret']}\n")
        token.chmod(0o600)
        pin = self.hub.admin("GET", "/v1/cas")["pins"][0]
        text = self.first_file(
            self.far_guide,
            ("enabled: no", f"settle_seconds: {SETTLE_SECONDS}"),
            (
                f"auth_servers: [127.0.0.1:{self.auth_port}]",
                f"auth_token: {token}",
                f'ca_pin: "{pin}"',
            ),
        )
        text = text.replace("nodename: gate1", "nodename: gate2")
        text = text.replace("  cluster_name: gw.test\n", "")
        self.far = Gate(folder, text)
        self.addCleanup(self._no_bugs, self.far)
        self.addCleanup(self.far.stop)
        self.far.until_ready()

    def upgrade(self) -> None:
        """Hand both gateways over to the installed release."""
        self.follow("Step 1: upgrade")
        self.far.admin("POST", "/v1/upgrade")
        for gate in (self.hub, self.far):
            gate.until_ready()
        self.until_both_at("tunnel")

    def change_far(self, heading: str) -> None:
        """Change the second gateway's file as a section of the guide says, and have it read."""
        for piece in self.far_guide.sections()[heading]:
            if isinstance(piece, Change):
                self.far.reload(piece.apply(self.far.file.read_text()))

    def regulars_at_far(self, dialler: Dialler) -> Regulars:
        """Alice's programs that go to the second gateway."""
        return Regulars(
            lambda words: self.do(self.alice, *words),
            self.regulars_at(self.far_ports),
            lambda: dialler.document,
        )

    def until_both_at(self, listener: str) -> None:
        """Wait until the agent has a tunnel over a listener of each gateway."""
        self.until_agent_at(listener)
        self.until_agent_at(listener, gate=self.far)

    def until_routed(self, *, routed: bool, seconds: float) -> None:
        """Wait until clients of both are told of the one port, or of separate ones."""
        for means in (self.means, self.far_means):
            until(
                lambda: fetch(means)["proxy"]["tls_routing_enabled"] == routed,  # noqa: B023
                "clients hear of the mode",
                seconds,
            )
