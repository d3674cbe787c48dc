"""A Jupyter server: an application with pages, an API and WebSockets, as people run it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import Server


class Jupyter(Server):
    """It trusts whoever reaches it: the login is the gateway's."""

    def command(self) -> Sequence[str | Path]:
        """Run it in its folder."""
        config = self.folder / "config"
        config.mkdir()
        settings = (
            f"port={self.port}",
            "ip=127.0.0.1",
            "port_retries=0",
            "open_browser=False",
            "allow_root=True",
            "allow_remote_access=True",
            f"root_dir={self.folder}",
        )
        return (
            *("/usr/bin/env", f"HOME={self.folder}", f"JUPYTER_CONFIG_DIR={config}"),
            *(f"JUPYTER_DATA_DIR={self.folder}", f"JUPYTER_RUNTIME_DIR={self.folder}"),
            *(sys.executable, "-m", "jupyter_server"),
            *(f"--ServerApp.{one}" for one in settings),
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
        )
