"""Reloads of the real daemon: listeners come, stay, move and go; all of it or nothing."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

from tests.integration.test_signals import EchoCase
from tests.support.certs import pki
from tests.support.child import until
from tests.support.harness import Gate, receive, route, settings
from tests.support.ports import free_port, listening


class ReloadCase(EchoCase):
    """Daemons whose file is written anew."""

    def text(self, gate: Gate, **keys: Any) -> dict[str, Any]:
        """A file like that of `echo_gate`, with other keys of proxy_service."""
        routes = [route("echo", alpn=["echo"], target=self.echo.endpoint)]
        return settings(gate.data_dir, routes=routes, **keys)


class ListenerTests(ReloadCase):
    """Listeners at a reload."""

    def test_opened_and_closed(self) -> None:
        """A new key opens a port, its end closes it; the others keep theirs, and their clients."""
        gate = self.echo_gate()
        web, connection = gate.port(), self.talk(gate)
        legacy = free_port()
        said = gate.reload(self.text(gate, proxy={"postgres_listen_addr": f"127.0.0.1:{legacy}"}))
        self.assertEqual((said["opened"], said["kept"]), (["postgres"], ["web"]))
        self.assertTrue(listening(web) and listening(legacy))
        said = gate.reload(self.text(gate, proxy={"refuse_seconds": 0}))
        self.assertEqual((said["closed"], said["kept"]), (["postgres"], ["web"]))
        self.assertFalse(listening(legacy))
        self.say(connection)
        self.talk(gate)

    def test_moved(self) -> None:
        """Another address replaces a listener; who came over the old one stays connected."""
        gate = self.echo_gate()
        old, connection, new = gate.port(), self.talk(gate), free_port()
        said = gate.reload(self.text(gate, proxy={"web_listen_addr": f"127.0.0.1:{new}"}))
        self.assertEqual(said["replaced"], ["web"])
        self.assertEqual(gate.port(), new)
        self.assertFalse(listening(old))
        self.say(connection)
        self.talk(gate)

    def test_address_changes_hands(self) -> None:
        """When two listeners swap their addresses, both sockets go on without a gap."""
        one, two = free_port(), free_port()
        first = {"web_listen_addr": f"127.0.0.1:{one}", "mysql_listen_addr": f"127.0.0.1:{two}"}
        second = {"web_listen_addr": f"127.0.0.1:{two}", "mysql_listen_addr": f"127.0.0.1:{one}"}
        gate = self.echo_gate(proxy=first)
        inode = _inode(one), _inode(two)
        said = gate.reload(self.text(gate, proxy=second))
        self.assertEqual(said["replaced"], ["web", "mysql"])
        self.assertEqual((_inode(one), _inode(two)), inode)
        self.assertEqual(gate.port(), two)
        self.talk(gate)

    def test_overlap_is_refused(self) -> None:
        """0.0.0.0:P against an open 127.0.0.1:P cannot be done without a gap, and says so."""
        port = free_port()
        gate = self.echo_gate(proxy={"web_listen_addr": f"127.0.0.1:{port}"})
        connection = self.talk(gate)
        said = gate.reload(
            self.text(gate, proxy={"web_listen_addr": f"0.0.0.0:{port}"}), status=409
        )
        self.assertIn("overlaps", said["error"]["message"])
        self.assertIn(f"127.0.0.1:{port}", said["error"]["message"])
        self.say(connection)
        self.talk(gate)

    def test_all_or_nothing(self) -> None:
        """One port that is taken undoes the whole reload."""
        gate = self.echo_gate()
        free = free_port()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            said = gate.reload(
                self.text(
                    gate,
                    proxy={
                        "postgres_listen_addr": f"127.0.0.1:{free}",
                        "mysql_listen_addr": f"127.0.0.1:{taken.getsockname()[1]}",
                    },
                ),
                status=409,
            )
        self.assertIn("mysql", said["error"]["message"])
        self.assertFalse(listening(free))
        self.assertEqual([one["name"] for one in gate.admin("GET", "/v1/listeners")], ["web"])
        self.talk(gate)

    def test_unix_socket(self) -> None:
        """A UNIX socket comes with its mode and goes with its name."""
        gate = self.echo_gate()
        path = self.folder() / "web.sock"
        where = {"mongo_listen_addr": f"unix:{path}:mode=660"}
        gate.reload(self.text(gate, proxy=where))
        self.assertEqual(path.stat().st_mode & 0o777, 0o660)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        gate.reload(self.text(gate, proxy={"refuse_seconds": 0}))
        self.assertFalse(path.exists())


class RefusalTests(ReloadCase):
    """Files that are not taken."""

    def test_broken_file(self) -> None:
        """Every problem comes back with its place, and what runs goes on."""
        gate = self.echo_gate()
        connection = self.talk(gate)
        broken = self.text(gate)
        broken["proxy_service"]["nonsense"] = 1
        said = gate.reload(broken, status=409)
        self.assertEqual(
            [problem["path"] for problem in said["error"]["problems"]], ["proxy_service.nonsense"]
        )
        self.say(connection)
        self.talk(gate)
        self.assertFalse(gate.admin("GET", "/v1/status")["last_reload"]["ok"])

    def test_keys_that_cannot_change(self) -> None:
        """`data_dir`, `cluster_name` and `workers` are named when they differ."""
        gate = self.echo_gate()
        for keys, name in (
            ({"teleport": {"data_dir": str(gate.folder / "other")}}, "data_dir"),
            ({"auth": {"cluster_name": "elsewhere"}}, "cluster_name"),
            ({"proxy": {"workers": 2}}, "workers"),
        ):
            said = gate.reload(self.text(gate, **keys), status=409)
            self.assertIn(name, said["error"]["message"])
        self.talk(gate)

    def test_missing_certificate(self) -> None:
        """A certificate that cannot be read is found before anything changes."""
        gate = self.echo_gate()
        text = self.text(gate)
        text["proxy_service"]["https_keypairs"][0]["cert_file"] = "/nowhere.pem"
        said = gate.reload(text, status=409)
        self.assertIn("/nowhere.pem", said["error"]["message"])
        self.talk(gate)


class CertificateTests(ReloadCase):
    """Certificate files that change while the daemon runs."""

    def test_changed_files_are_taken_up(self) -> None:
        """A renewed certificate is shown without a reload; a broken one never."""
        folder = self.folder()
        pair = {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")}
        self._put(folder, "server")
        gate = self.echo_gate(
            proxy={"https_keypairs": [pair], "https_keypairs_reload_interval": "1s"},
            may_log=("certificate files",),
        )
        first = self._serial(gate)
        self._put(folder, "server_rsa")
        until(lambda: self._serial(gate) != first, "the new certificate")
        second = self._serial(gate)
        (folder / "cert.pem").write_text("nonsense")
        gate.child.until(lambda: "not all can be used" in gate.text(), "it says why not")
        self.assertEqual(self._serial(gate), second)
        self._put(folder, "server")
        until(lambda: self._serial(gate) == first, "the first one again")

    def _put(self, folder: Path, name: str) -> None:
        pair = pki().keypair(name)
        for source, target in ((pair.cert_file, "cert.pem"), (pair.key_file, "key.pem")):
            shutil.copy(source, folder / "new")
            os.rename(folder / "new", folder / target)

    def _serial(self, gate: Gate) -> str:
        with gate.dial() as connection:
            found = connection.getpeercert()
        assert found is not None
        return str(found["serialNumber"])


class ManyTests(ReloadCase):
    """Reloads while clients come."""

    def test_no_connection_is_lost(self) -> None:
        """20 reloads, each second one of a broken file, and every dial meanwhile succeeds."""
        gate = self.echo_gate()
        live = [self.talk(gate) for _ in range(20)]
        good, extra = self.text(gate), free_port()
        broken = {**good, "version": "v9"}
        more = self.text(gate, proxy={"postgres_listen_addr": f"127.0.0.1:{extra}"})
        for turn in range(20):
            if turn % 2:
                gate.reload(broken, status=409)
            else:
                gate.reload(more if turn % 4 else good)
            for connection in live:
                connection.sendall(b"x")
            with gate.dial(alpn=["echo"], cert="alice") as connection:
                self.say(connection)
            for connection in live:
                self.assertEqual(receive(connection, 1), b"x")
        self.assertFalse(gate.events(event="connection.refused"))


def _inode(port: int) -> str:
    """The kernel's number of the socket that listens on *port*."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
            return words[9]
    raise AssertionError(f"nobody listens on {port}")
