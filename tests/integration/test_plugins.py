"""Plug-ins of a running daemon: dropped in, used both ways, changed, broken, removed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import tlsgate.protocols.postgres
from tests.support.certs import pki
from tests.support.child import program
from tests.support.harness import ROOT, Gate, GateCase, drain, receive, route, settings
from tests.support.ports import free_port, listening
from tests.support.servers import Postgres

EXAMPLE = ROOT / "etc" / "examples" / "plugin" / "whoami.py"
TRUST = {"client_ca_files": [str(pki().file("ca.pem"))]}


class PluginCase(GateCase):
    """Daemons with a folder of plug-ins."""

    def drop(self, gate: Gate, name: str, text: str) -> Path:
        """Put a file into the folder, which is the owner's alone."""
        folder = gate.data_dir / "plugins"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / name
        file.write_text(text)
        file.chmod(0o600)
        return file

    def text(self, gate: Gate, **proxy: Any) -> dict[str, Any]:
        """A configuration with such keys of proxy_service."""
        return settings(gate.data_dir, proxy={**TRUST, **proxy})


class WhoamiTests(PluginCase):
    """The example of docs/plugins.md."""

    def plugged(self) -> tuple[Gate, Path]:
        """A daemon into which the example has been dropped while it ran."""
        gate = self.gate(proxy=TRUST)
        with self.assertRaises(ssl.SSLError):
            gate.dial(alpn=["whoami"], cert="alice")
        file = self.drop(gate, "whoami.py", EXAMPLE.read_text())
        port = free_port()
        said = gate.reload(
            self.text(
                gate,
                listeners={"whoami": f"127.0.0.1:{port}"},
                protocols={"whoami": {"deny": ["bob"]}},
            )
        )
        self.assertEqual((said["opened"], said["warnings"]), (["whoami"], []))
        return gate, file

    def ask(self, connection: ssl.SSLSocket) -> bytes:
        """Everything that it answers to `who` and `quit`."""
        with connection:
            connection.sendall(b"who\nquit\n")
            return drain(connection)

    def test_used_both_ways(self) -> None:
        """After a reload its token and its own port serve, and refuse in its own words."""
        gate, _ = self.plugged()
        for how in ({"alpn": ["whoami"]}, {"listener": "whoami"}):
            self.assertEqual(
                self.ask(gate.dial(cert="alice", **how)),
                b"+ask who\n+alice\n",
            )
            with gate.dial(cert="bob", **how) as refused:
                self.assertTrue(drain(refused).startswith(b"-'bob' may not use route whoami"))
            with self.assertRaises(ssl.SSLError), gate.dial(**how) as nobody:
                nobody.recv(1)

    def test_removed(self) -> None:
        """A removed file is gone after a reload; who is connected stays so."""
        gate, file = self.plugged()
        connection = gate.dial(alpn=["whoami"], cert="alice")
        self.addCleanup(connection.close)
        self.assertEqual(receive(connection, 9), b"+ask who\n")
        port = gate.port("whoami")
        file.unlink()
        said = gate.reload(self.text(gate, refuse_seconds=0))
        self.assertEqual(said["closed"], ["whoami"])
        self.assertFalse(listening(port))
        with self.assertRaises(ssl.SSLError):
            gate.dial(alpn=["whoami"], cert="alice")
        connection.sendall(b"who\n")
        self.assertEqual(receive(connection, 7), b"+alice\n")

    def test_changed(self) -> None:
        """A changed file is named by the reload, and runs after an upgrade."""
        gate, file = self.plugged()
        self.drop(gate, "whoami.py", EXAMPLE.read_text().replace("+ask who", "+ask again"))
        [warning] = gate.reload()["warnings"]
        self.assertIn(str(file), warning)
        self.assertIn("tgctl upgrade", warning)
        self.assertEqual(self.ask(gate.dial(alpn=["whoami"], cert="alice")), b"+ask who\n+alice\n")
        gate.admin("POST", "/v1/upgrade")
        self.assertEqual(
            self.ask(gate.dial(alpn=["whoami"], cert="alice")), b"+ask again\n+alice\n"
        )

    def test_settings_are_checked(self) -> None:
        """A key that it does not know refuses the reload, and what runs stays."""
        gate, _ = self.plugged()
        said = gate.reload(self.text(gate, protocols={"whoami": {"dney": []}}), status=409)
        self.assertIn("dney is not a setting of whoami", json.dumps(said))
        self.assertEqual(self.ask(gate.dial(alpn=["whoami"], cert="alice")), b"+ask who\n+alice\n")


class BrokenTests(PluginCase):
    """Plug-ins that do not load."""

    def test_named_and_left_out(self) -> None:
        """A file that fails is named with its line, and everything else serves."""
        diag = free_port()
        gate = self.gate(proxy=TRUST, teleport={"diag_addr": f"127.0.0.1:{diag}"})
        broken = self.drop(gate, "broken.py", "import os\n\nos.nothing_of_the_kind()\n")
        open_to_all = self.drop(gate, "loose.py", EXAMPLE.read_text())
        open_to_all.chmod(0o666)
        warnings = gate.reload()["warnings"]
        self.assertEqual(len(warnings), 2)
        self.assertIn(f"plug-in {broken} is missing: line 3: AttributeError", warnings[0])
        self.assertIn("others may write", warnings[1])
        with gate.dial(alpn=["http/1.1"]) as connection:
            connection.sendall(b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            self.assertIn(b"200 OK", connection.recv(4096))
        ready = http.client.HTTPConnection("127.0.0.1", diag, timeout=10)
        ready.request("GET", "/readyz")
        said = json.loads(ready.getresponse().read())
        self.assertEqual(said["warnings"], warnings)

    def test_a_clash_is_refused(self) -> None:
        """One that claims another's token refuses the reload, and names both files."""
        gate = self.gate(proxy=TRUST)
        text = EXAMPLE.read_text().replace('(b"whoami",)', '(b"h2",)')
        file = self.drop(gate, "greedy.py", text)
        said = json.dumps(gate.reload(status=409))
        self.assertIn(str(file), said)
        self.assertIn("builtin.py", said)


class HonestTests(PluginCase):
    """PostgreSQL, copied under another name into the folder, has no private door."""

    def psql(self, gate: Gate, who: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Ask through the copy's own listener, by SSLRequest, with the certificate of *who*."""
        pair = pki().keypair(who)
        words = {
            "host": "localhost",
            "port": str(gate.port("pgcopy")),
            "sslmode": "verify-full",
            "sslrootcert": str(pki().file("ca.pem")),
            "sslcert": str(pair.cert_file),
            "sslkey": str(pair.key_file),
            "user": "alice",
            "dbname": "app",
            "connect_timeout": "15",
            **more,
        }
        dsn = " ".join(f"{key}={value}" for key, value in words.items())
        return subprocess.run(
            [program("psql", "postgresql-client"), dsn, "-Atqc", "select 6*7"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(gate.folder)},
        )

    def test_copy_serves(self) -> None:
        """The copy serves its listener, its token and its refusal, beside the original."""
        server = self.serve(Postgres())
        gate = self.gate(proxy=TRUST)
        source = Path(tlsgate.protocols.postgres.__file__).read_text()
        self.drop(
            gate,
            "pgcopy.py",
            source
            + "\n\npgcopy = Postgres('pgcopy', (b'pgcopy',), "
            + "ListenerSpec(key='listeners.pgcopy', port=6543))\n",
        )
        said = gate.reload(
            self.text(
                gate,
                listeners={"pgcopy": f"127.0.0.1:{free_port()}"},
                routes=[
                    route("port", protocol="pgcopy", listener="pgcopy", target=server.endpoint),
                    route("token", protocol="pgcopy", alpn=["pgcopy"], target=server.endpoint),
                ],
            )
        )
        self.assertEqual((said["opened"], said["warnings"]), (["pgcopy"], []))
        done = self.psql(gate, "alice")
        self.assertEqual((done.stdout, done.stderr), ("42\n", ""))
        done = self.psql(gate, "bob")
        self.assertIn("FATAL:  'bob' may not use route port", done.stderr)
        done = self.psql(gate, "alice", sslmode="disable")
        self.assertIn("FATAL:  ", done.stderr)
        with gate.dial(alpn=["pgcopy"], cert="alice") as connection:
            self.assertEqual(connection.selected_alpn_protocol(), "pgcopy")
            body = b"\0\3\0\0user\0alice\0database\0app\0\0"
            connection.sendall((4 + len(body)).to_bytes(4, "big") + body)
            self.assertEqual(receive(connection, 9), b"R\0\0\0\x08\0\0\0\0")  # AuthenticationOk

    def test_deleted(self) -> None:
        """A gate starts without PostgreSQL: nothing asks for it outside its own file."""
        folder = self.folder()
        copy = folder / "code"
        shutil.copytree(
            ROOT / "tlsgate", copy / "tlsgate", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copytree(ROOT / "twisted", copy / "twisted")
        (copy / "tlsgate" / "protocols" / "postgres.py").unlink()
        builtin = copy / "tlsgate" / "plugins" / "builtin.py"
        kept = [line for line in builtin.read_text().splitlines() if "ostgres" not in line]
        builtin.write_text("\n".join(kept) + "\n")
        done = subprocess.run(
            [program("env", "coreutils"), f"PYTHONPATH={copy}", *self.check(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            text=True,
            cwd=folder,
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def check(self, folder: Path) -> list[str]:
        """A command that checks a small configuration with the code on PYTHONPATH."""
        import sys

        file = folder / "tlsgate.yaml"
        file.write_text(json.dumps(settings(folder / "data")))
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "--nodaemon", "tlsgate", "--check", "--config", str(file)]
