"""tgctl as operators run it: a process of its own, beside a running daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, Child, alive, until
from tests.support.echo import Echo
from tests.support.harness import ROOT, GateCase
from tests.support.ports import free_port

#: Whatever the machine's proxy is, these programs dial loopback.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("TLSGATE_")},
    "PYTHONPATH": str(ROOT),
    "no_proxy": "localhost,127.0.0.1",
}


def tgctl(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `tgctl *words*` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tlsgate.cli.tgctl.main", *map(str, words)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env=ENVIRONMENT,
    )


class TgctlTests(GateCase):
    """tgctl and a daemon."""

    def tgctl(self, *words: object, code: int = 0) -> str:
        done = tgctl(*words)
        self.assertEqual((words, done.returncode, done.stderr), (words, code, ""))
        return done.stdout

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.tgctl(*words, "--format", "json", code=code))

    def refused(self, *words: object) -> tuple[int, str]:
        done = tgctl(*words)
        self.assertEqual(done.stdout, "")
        return done.returncode, done.stderr

    def started(self, config: Path) -> Child:
        """A daemon on *config*, whatever its data directory is."""
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "-n", "tlsgate", "-c", str(config)]
        child = Child(command, self.folder() / "log", env=ENVIRONMENT)
        self.addCleanup(child.end)
        child.until(lambda: tgctl("status", "-c", config).returncode == 0, "tgctl status answers")
        return child

    def test_init_and_the_three_commands(self) -> None:
        """What `tgctl init` makes runs as it stands, and what it prints works verbatim.

        The directory's name is longer than a socket's may be.
        """
        data_dir = self.folder() / ("long-" * 30) / "data"
        made = self.json("init", data_dir, "--port", free_port())
        child = self.started(Path(made["config"]))
        for command, want in zip(
            made["try"], ("<html", "hello\n", "tls_routing_enabled"), strict=True
        ):
            done = subprocess.run(
                command,
                shell=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
                env=ENVIRONMENT,
            )
            self.assertEqual((command, done.returncode), (command, 0), done.stderr)
            self.assertIn(want, done.stdout)
        self.assertEqual(self.json("status", "--data-dir", data_dir)["pid"], child.pid)
        child.send(signal.SIGTERM)
        self.assertEqual(child.wait(), 0)
        code, said = self.refused("status", "--data-dir", data_dir)
        self.assertEqual(code, 2)
        self.assertIn("start it with: twistd tlsgate --config", said)

    def test_looks(self) -> None:
        """Listeners, connections and the explanation agree with what a client meets."""
        echo = self.serve_echo()
        gate = self.gate(
            routes=[{"name": "echo", "alpn": ["demo"], "target": echo}],
            proxy={"postgres_listen_addr": "127.0.0.1:0"},
        )
        where = ("--data-dir", gate.data_dir)
        with gate.dial(alpn=["demo"], cert="alice") as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(5), b"hello")
            (row,) = self.json("connections", *where)
            self.assertEqual(
                {name: row[name] for name in ("route", "identity", "sni", "alpn", "listener")},
                {
                    "route": "echo",
                    "identity": "alice",
                    "sni": "gw.test",
                    "alpn": "demo",
                    "listener": "web",
                },
            )
            self.assertIn("127.0.0.1:", row["peer"])
            self.assertEqual((row["to_target"], row["to_client"]), (5, 5))
            self.assertIn(" echo ", self.tgctl("connections", *where))
            self.assertEqual(self.json("connections", "--route", "other", *where), [])
            listeners = {row["name"]: row for row in self.json("listeners", *where)}
        self.assertEqual(set(listeners), {"web", "postgres"})
        self.assertEqual(listeners["web"]["address"], gate.address())
        self.assertEqual((listeners["web"]["active"], listeners["web"]["accepted"]), (1, 1))
        self.assertEqual(listeners["postgres"]["accepted"], 0)

    def test_explains_what_happens(self) -> None:
        """The running daemon and its file explain a connection alike, and as it then goes."""
        gate = self.gate(routes=[{"name": "echo", "alpn": ["demo"], "target": self.serve_echo()}])
        for cert, want in (("alice", 0), ("bob", 1), ("expired", 1), (None, 1)):
            words: list[object] = ["explain", "--sni", "gw.test", "--alpn", "demo"]
            words += [] if cert is None else ["--cert", pki().file(f"{cert}.pem")]
            running = self.json(*words, "--data-dir", gate.data_dir, code=want)
            offline = self.json(*words, "--config", gate.file, code=want)
            self.assertEqual(running, offline)
            try:
                with gate.dial(alpn=["demo"], cert=cert) as client:
                    client.sendall(b"x")
                    heard = client.recv(1)
            except OSError:
                heard = b""
            self.assertEqual((cert, heard), (cert, b"x" if want == 0 else b""))

    def test_reload(self) -> None:
        """A reload names what it opened; a bad file changes nothing and is told with places."""
        gate = self.gate()
        text = gate.file.read_text()
        where = ("--data-dir", gate.data_dir)
        gate.write(
            text.replace('"public_addr"', '"postgres_listen_addr": "127.0.0.1:0", "public_addr"')
        )
        done = self.json("reload", *where)
        self.assertEqual(
            (done["opened"], done["closed"], done["kept"]), (["postgres"], [], ["web"])
        )
        gate.write(text.replace('"public_addr"', '"public_adr"'))
        code, said = self.refused("reload", *where)
        self.assertEqual(code, 2)
        self.assertIn("public_adr", said)
        self.assertIn("; nothing was changed", said)
        self.assertEqual(len(self.json("listeners", *where)), 2)
        self.assertIn("refused", self.tgctl("status", *where))

    def test_upgrade(self) -> None:
        """An upgrade names the new process, and the next question reaches that one."""
        gate = self.gate()
        where = ("--data-dir", gate.data_dir)
        before = self.json("status", *where)["pid"]
        new = self.json("upgrade", *where)["pid"]
        self.assertNotEqual(new, before)
        self.assertEqual(self.json("status", *where)["pid"], new)
        until(lambda: not alive(before), "the old process ends", PATIENCE_SECONDS)
        self.assertEqual(self.json("status", *where)["pid"], new)

    def serve_echo(self) -> str:
        echo = Echo().start()
        self.addCleanup(echo.stop)
        return echo.endpoint
