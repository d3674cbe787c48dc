"""SSH, end to end: the gateway carries it and looks at its first line only.

A static route with `protocol: ssh` is reached by its ALPN token, inside TLS, or, where it
is open to anyone, by the client's own "SSH-" on a shared port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.core.wire import ssh
from tlsgate.errors import GateError
from tlsgate.interfaces import ListenerSpec, Opening, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.words import told


class Ssh(GateProtocol):
    """SSH behind static routes; the jump host of the separate port is not built yet."""

    name = "ssh"
    alpn = (b"tlsgate-ssh",)
    listener = ListenerSpec(
        key="listen_addr",
        port=3023,
        versions=frozenset({"v1"}),
        public_key="ssh_public_addr",
        speaks_first=True,
    )
    stands_alone = False
    advice = (
        "the SSH jump host is not part of this release; "
        "connect through the TLS port: ssh -o ProxyCommand='openssl s_client -quiet "
        "-alpn TOKEN -cert CERT -key KEY -connect GATEWAY:443' HOST"
    )
    openings = (Opening(name="ssh-banner", protocol="ssh", match=ssh.is_banner, then=Then.TAKE),)

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where SSH clients dial."""
        return {
            "ssh": present(
                listen_addr=listen_addr(settings, open_listeners, "ssh"),
                ssh_public_addr=first(settings.public.ssh),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Disconnect with a reason, which ssh prints."""
        return ssh.disconnect(told(error))
