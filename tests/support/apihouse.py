"""The API over a plain socket, for schemathesis: `python -m tests.support.apihouse`.

Prints one JSON line, `{"port": …}`, and serves until it is ended. The header
`x-as` says who asks: a preset's name, "local", "gateway" or "nobody". No daemon has such a
header: who asks is a matter of certificates there.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor as _global
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from tests.auth.cluster import ADDRESS, Cluster
from tlsgate.auth.principal import Principal, nobody
from tlsgate.auth.web import ApiResource, ApiSite

_TURN_SECONDS = 0.02
_reactor: Any = _global


async def _backup(file: str) -> tuple[int, int]:
    return 1, len(file)


def main() -> None:
    """Serve."""
    case = SynchronousTestCase()
    cluster = Cluster(case, backup=_backup)
    who = {
        "access": cluster.user("alice", "access"),
        "editor": cluster.user("edgar", "editor"),
        "auditor": cluster.user("aud", "auditor"),
        "local": cluster.local,
        "gateway": cluster.gateway,
        "nobody": nobody(ADDRESS),
    }

    def principal_of(request: Request) -> Principal:
        return who[request.getHeader("x-as") or "nobody"]

    site = ApiSite(ApiResource(cluster.api, principal_of, _reactor), _reactor)
    port = _reactor.listenTCP(0, site, interface="127.0.0.1")
    # The cluster's time stands still, so that certificates stay good; its turns do not.
    LoopingCall(cluster.clock.advance, 0).start(_TURN_SECONDS)
    sys.stdout.write(json.dumps({"port": port.getHost().port}) + "\n")
    sys.stdout.flush()
    _reactor.run()
    case.doCleanups()


if __name__ == "__main__":
    main()
