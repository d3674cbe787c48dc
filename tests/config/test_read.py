"""Tests for `tlsgate.config.read` and `tlsgate.config.assemble`."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

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

    def test_two_faults_of_different_kinds(self) -> None:
        """A fault of the YAML does not hide one of the schema, or of a route."""
        text = (
            "a: 1\na: 2\nproxy_service:\n  routes: [{name: x, alpn: y, target: z}]\n"
            "auth_service: {enabled: no}"
        )
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
