"""Tests for `tlsgate.config.read` and `tlsgate.config.assemble`."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import socket
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import assemble
from tlsgate.config.read import read_file, read_text
from tlsgate.config.settings import LogSettings, Timeouts
from tlsgate.errors import BadSettings

EXAMPLE = Path(__file__).parents[2] / "etc" / "tlsgate.yaml"


class ReadTests(SynchronousTestCase):
    """Tests for `read_text`."""

    def refusal(self, text: str) -> str:
        """What is said of *text*."""
        return str(self.assertRaises(BadSettings, read_text, text, "f"))

    def test_a_tiny_file(self) -> None:
        """Everything that is not said has a default."""
        read = read_text("version: v2\nproxy_service: {}\n", "/etc/tlsgate/f.yaml")
        self.assertEqual(
            (read.version, read.mode, read.workers, read.strict_sni, read.diag, read.warnings),
            ("v2", "multiplex", 1, False, None, ()),
        )
        self.assertEqual(read.data_dir, Path("/var/lib/tlsgate"))
        self.assertEqual(read.plugins_dir, Path("/var/lib/tlsgate/plugins"))
        self.assertEqual((read.node_name, read.cluster_name), (socket.gethostname(),) * 2)
        self.assertEqual(read.log, LogSettings(output="stderr", severity="info", format="text"))
        self.assertEqual(
            read.timeouts,
            Timeouts(
                prelude_seconds=5.0,
                opening_seconds=10.0,
                dial_seconds=10.0,
                idle_seconds=3600.0,
                write_stall_seconds=30.0,
                close_seconds=60.0,
                lifetime_seconds=None,
                drain_seconds=300.0,
            ),
        )
        self.assertEqual((read.keypairs, read.client_ca_files, read.routes), ((), (), ()))

    def test_modes(self) -> None:
        """The mode follows the version unless it is said; separate without a port is refused."""
        ports = "listen_addr: ':3023'"
        table = {
            ("v1", "", ""): "separate",
            ("v1", "multiplex", ""): "multiplex",
            ("v2", "", ""): "multiplex",
            ("v3", "", ports): "multiplex",
            ("v2", "separate", ports): "separate",
            ("v3", "Separate", ports): "separate",
            ("v2", "separate", ""): None,
            ("v3", "separate", "tunnel_listen_addr: 0.0.0.0:3080"): None,
        }
        found: dict[tuple[str, str, str], str | None] = {}
        for version, mode, ports in table:
            key = f"proxy_listener_mode: {mode}" if mode else ""
            text = f"version: {version}\nauth_service: {{{key}}}\nproxy_service: {{{ports}}}\n"
            try:
                found[version, mode, ports] = read_text(text).mode
            except BadSettings as error:
                self.assertEqual(
                    [one.path for one in error.problems], ["auth_service.proxy_listener_mode"]
                )
                found[version, mode, ports] = None
        self.assertEqual(found, table)

    def test_separate_without_the_gateway(self) -> None:
        """A file for auth alone cannot know which ports its gateways open."""
        text = (
            "version: v2\nproxy_service: {enabled: no}\nauth_service: {proxy_listener_mode: "
            "separate}"
        )
        self.assertEqual(read_text(text).mode, "separate")

    def test_our_name_for_the_block(self) -> None:
        """`tlsgate:` is teleport's block, and messages call it as the file does."""
        self.assertEqual(read_text("tlsgate: {nodename: a}").node_name, "a")
        self.assertEqual(
            self.refusal("tlsgate: {node: a}"),
            "f:1:11 tlsgate.node: is not a setting; did you mean nodename?",
        )
        self.assertEqual(
            self.refusal("teleport: {}\ntlsgate: {}"),
            "f:2:1 tlsgate: is another name of teleport; write one of both",
        )

    def test_files_are_beside_the_file(self) -> None:
        """Relative names are meant from the file's folder; absolute ones stand."""
        read = read_text(
            "teleport: {data_dir: d, log: {output: l.log}}\nproxy_service: {plugins_dir: ../p}",
            "/etc/gate/f.yaml",
        )
        self.assertEqual(read.data_dir, Path("/etc/gate/d"))
        self.assertEqual(read.plugins_dir, Path("/etc/p"))
        self.assertEqual(read.log.output, "/etc/gate/l.log")

    def test_the_command_line_wins(self) -> None:
        """A data directory from the command line takes the file's place, and its folders'."""
        read = read_text("teleport: {data_dir: d}", "/etc/f.yaml", data_dir="/tmp/other")
        self.assertEqual(
            (read.data_dir, read.plugins_dir), (Path("/tmp/other"), Path("/tmp/other/plugins"))
        )

    def test_log_outputs(self) -> None:
        """Teleport's other spellings of the standard streams and levels are read."""
        table = {
            ("2", "warning"): ("stderr", "warn"),
            ("out", "ERR"): ("stdout", "error"),
            ("error", "trace"): ("stderr", "debug"),
        }
        for (output, severity), want in table.items():
            log = read_text(f"teleport: {{log: {{output: {output}, severity: {severity}}}}}").log
            self.assertEqual((log.output, log.severity), want)

    def test_public_ports(self) -> None:
        """Without a port the web address means the web listener's, or 443 behind a socket."""
        table = {"':8443'": "a.b:8443", "unix:/a": "a.b:443", "127.0.0.1:0": "a.b:443"}
        found = {
            address: read_text(
                f"version: v2\nproxy_service: {{web_listen_addr: {address}, public_addr: a.b}}"
            ).public.web[0]
            for address in table
        }
        self.assertEqual(found, table)

    def test_authentication_is_told_as_written(self) -> None:
        """What the ping document tells is what the file says, in JSON types."""
        read = read_text("auth_service: {authentication: {type: Local, local_auth: off}}")
        self.assertEqual(read.authentication, {"type": "local", "local_auth": False})

    def test_limits(self) -> None:
        """Connections follow the open files; either key may say other, ours wins."""
        self.patch(assemble, "default_connections", lambda: 500)
        table = {
            "": 500,
            "teleport: {connection_limits: {max_connections: 300}}": 300,
            "proxy_service: {limits: {connections: 200}}": 200,
            "teleport: {connection_limits: {max_connections: 300}}\n"
            "proxy_service: {limits: {connections: 200}}": 200,
        }
        found = {text: read_text(f"version: v1\n{text}").limits.connections for text in table}
        self.assertEqual(found, table)
        (warning,) = read_text("proxy_service: {limits: {connections: 501}}", "f").warnings
        self.assertEqual(
            str(warning),
            "f:1:26 proxy_service.limits.connections: 501 connections need 1258 open files; "
            "this process may have enough for 500",
        )

    def test_open_files(self) -> None:
        """Half of what is left of the open files, at least 16 and at most 15000."""
        table = {1024: 384, 100: 16, 1_000_000: 15000, resource.RLIM_INFINITY: 15000}
        for soft, want in table.items():
            self.patch(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
            self.assertEqual(assemble.default_connections(), want)

    def test_two_faults_of_different_kinds(self) -> None:
        """A fault of the YAML does not hide one of the schema, or of a route."""
        text = "a: 1\na: 2\nproxy_service:\n  routes: [{name: x, alpn: y, target: z}]"
        self.assertEqual(
            [line.split(": ")[0] for line in self.refusal(text).split("\n")],
            [
                "f:1:1 a",
                "f:2:1 a",
                "f:4:12 proxy_service.routes[0].allow",
                "f:4:12 proxy_service.routes[0].client_cert",
                "f:4:39 proxy_service.routes[0].target",
            ],
        )


class FileTests(SynchronousTestCase):
    """Tests for `read_file`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "f.yaml"

    def refusal(self) -> str:
        """What is said of the file, without its folder's name."""
        error = self.assertRaises(BadSettings, read_file, self.file)
        return str(error).replace(f"{self.folder}/", "")

    def test_no_file(self) -> None:
        """A file that is not there, or is a folder, is one problem."""
        self.assertEqual(self.refusal(), "f.yaml:1:1: cannot be read: No such file or directory")
        self.file.mkdir()
        self.assertEqual(self.refusal(), "f.yaml:1:1: cannot be read: Is a directory")

    def test_not_text(self) -> None:
        """Bytes that are no UTF-8 are told with their place."""
        self.file.write_bytes(b"version: v2\nx: \xff\n")
        self.assertEqual(self.refusal(), "f.yaml:2:4: is not UTF-8 text")

    def test_byte_order_mark(self) -> None:
        """An editor's byte order mark is not part of the text."""
        self.file.write_bytes(b"\xef\xbb\xbfversion: v2\n")
        self.assertEqual(read_file(self.file).version, "v2")

    def test_too_big(self) -> None:
        """No more than the limit is read, whatever the file's size."""
        with open(self.file, "wb") as file:
            file.truncate(1 << 40)
        self.assertEqual(self.refusal(), "f.yaml:1:1: larger than 1048576 bytes; nothing was read")

    def test_s09_files_that_are_not_there(self) -> None:
        """A CA or key file that is missing, a folder or unreadable stops the start."""
        (self.folder / "dir").mkdir()
        self.file.write_text(
            "version: v2\nproxy_service:\n  client_ca_files: [gone.pem, dir]\n"
            "  https_keypairs: [{key_file: gone.key, cert_file: /gone/cert.pem}]\n"
        )
        at = "f.yaml:{} proxy_service.{}: {!r} {}".format
        gone = "does not exist (looked for {})".format
        self.assertEqual(
            self.refusal().split("\n"),
            [
                at("3:21", "client_ca_files[0]", "gone.pem", gone("gone.pem")),
                at("3:31", "client_ca_files[1]", "dir", "is not a file (looked for dir)"),
                at("4:31", "https_keypairs[0].key_file", "gone.key", gone("gone.key")),
                at("4:52", "https_keypairs[0].cert_file", "/gone/cert.pem", "does not exist"),
            ],
        )

    def test_unreadable_files(self) -> None:
        """A file that this user may not read is told as that."""
        self.patch(os, "access", lambda path, mode: False)
        (self.folder / "ca.pem").touch()
        self.file.write_text("proxy_service: {client_ca_files: ca.pem}")
        self.assertIn("cannot be read by this user", self.refusal())


class RobustnessTests(SynchronousTestCase):
    """Tests that whatever is read, only BadSettings comes out."""

    @settings(max_examples=150, deadline=None)
    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Any text is settings, or refused."""
        with contextlib.suppress(BadSettings):
            read_text(text)

    def test_any_damage(self) -> None:
        """The example with lines cut, doubled or re-indented is settings, or refused."""
        lines = EXAMPLE.read_text().replace("    #", "    ").split("\n")
        for seed in range(60):
            dice = random.Random(seed)
            damaged = list(lines)
            for _ in range(dice.randint(1, 6)):
                at = dice.randrange(len(damaged))
                match dice.randrange(5):
                    case 0:
                        del damaged[at]
                    case 1:
                        damaged.insert(at, damaged[dice.randrange(len(damaged))])
                    case 2:
                        damaged[at] = "  " + damaged[at]
                    case 3:
                        damaged[at] = damaged[at].replace(":", ": []", 1)
                    case _:
                        damaged[at] = damaged[at][: dice.randrange(20)]
            with contextlib.suppress(BadSettings):
                read_text("\n".join(damaged), str(EXAMPLE))
