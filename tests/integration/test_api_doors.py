"""schemathesis at the API's own door: `auth.<public>`, with a client certificate of each preset."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support.child import Child, sized
from tests.support.cluster import ClusterCase, Holder
from tests.support.harness import ROOT, Gate
from tlsgate.auth.openapi import document

#: See `test_api_schema`.
_UNASKED = "positive_data_acceptance"
_SECONDS = 240.0

#: No name service knows the test's names.
_HOOKS = """
import socket

_plain = socket.getaddrinfo


def _resolve(host, *arguments, **more):
    return _plain("127.0.0.1" if host == "auth.gw.test" else host, *arguments, **more)


socket.getaddrinfo = _resolve
"""


class DoorTests(ClusterCase):
    """The real daemon, and certificates that it issued."""

    def ask_all(self, gate: Gate, who: Holder, folder: Path) -> None:
        """Let schemathesis ask as *who*; every answer has to be as described, and no 500."""
        asking = Child(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json"),
                *("--url", f"https://auth.gw.test:{gate.port()}"),
                *("--tls-verify", who.cas, "--request-cert", who.cert),
                *("--request-cert-key", who.key),
                *("--exclude-operation-id", "watch"),  # it has no end
                *("--phases", "fuzzing", "--max-examples", str(sized(2, 100))),
                *("--checks", "all", "--exclude-checks", _UNASKED),
                *("--warnings", "off", "--no-color", "--continue-on-failure"),
            ],
            folder / f"{who.name}.log",
            env={"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": f"{folder}:{ROOT}"},
            cwd=folder,
        )
        self.addCleanup(asking.end)
        code = asking.wait(_SECONDS)
        self.assertEqual(code, 0, f"as {who.name}\n{asking.text()[-6000:]}")
        self.assertRegex(asking.text(), r"[1-9]\d* generated")

    def test_each_preset(self) -> None:
        """Who may reach, read, or change: nobody gets an answer that is not described."""
        gate = self.cluster()
        folder = self.folder()
        (folder / "openapi.json").write_text(json.dumps(document()))
        (folder / "hooks.py").write_text(_HOOKS)
        for role in ("access", "auditor", "editor"):
            self.add_user(gate, f"an-{role}", [role])
            self.ask_all(gate, self.sign(gate, f"an-{role}"), folder)
        self.assertTrue(gate.admin("GET", "/v1/status")["ready"])
