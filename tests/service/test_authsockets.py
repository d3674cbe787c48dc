"""Tests for `tlsgate.service.authsockets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.endpoints import bind_of
from tlsgate.service.authsockets import API, TLS, inside, path_of
from tlsgate.testing import settings


class InsideTests(SynchronousTestCase):
    """Tests for `inside` and `path_of`."""

    def test_only_with_workers_and_an_auth_service(self) -> None:
        """One process needs no sockets inside; nor does a gateway alone."""
        for workers, auth, count in ((1, True, 0), (2, False, 0), (1, False, 0), (2, True, 2)):
            found = inside(settings(workers=workers, auth_enabled=auth))
            self.assertEqual(len(found), count, (workers, auth))

    def test_owner_only(self) -> None:
        """Both are below the data directory, and nobody else's, whatever its path is called."""
        folder = Path("/data: with=odd\\names")
        api, tls = inside(settings(workers=2, data_dir=folder))
        self.assertEqual([api.name, tls.name], [API, TLS])
        self.assertEqual([api.written, tls.written], [api.endpoint, tls.endpoint])
        for one, file in ((api, "auth.sock"), (tls, "auth-tls.sock")):
            self.assertEqual(path_of(folder, one.name), folder / file)
            bind = bind_of(one.endpoint)
            self.assertEqual((bind.kind, bind.name), ("unix", str(folder / file)))
            endpoint: Any = serverFromString(Clock(), one.endpoint)
            self.assertEqual((endpoint._address, endpoint._mode), (bind.name, 0o600))
