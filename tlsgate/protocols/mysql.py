"""MySQL and MariaDB: the server speaks first, so a refusal can go out at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.core.wire import mysql
from tlsgate.errors import GateError
from tlsgate.interfaces import ListenerSpec
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.words import told


class MySQL(GateProtocol):
    """MySQL behind static routes; access to databases by role is not built yet."""

    name = "mysql"
    alpn = (b"tlsgate-mysql",)
    listener = ListenerSpec(
        key="mysql_listen_addr", port=3036, public_key="mysql_public_addr", speaks_first=True
    )
    stands_alone = False
    advice = (
        "MySQL on a port of its own is not part of this release; "
        "use a static route of the TLS port, through a local TLS client"
    )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where MySQL clients dial."""
        return {
            "db": present(
                mysql_listen_addr=listen_addr(settings, open_listeners, "mysql"),
                mysql_public_addr=first(settings.public.mysql),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Put an ERR packet in the place of the greeting."""
        return mysql.err_packet(told(error))
