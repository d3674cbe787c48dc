"""Tests for `tlsgate.config.files`, through `read_file`."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_file
from tlsgate.errors import BadSettings


class NamedFileTests(SynchronousTestCase):
    """Tests for files that the configuration names."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "f.yaml"

    def refusal(self) -> str:
        """What is said of the file, without its folder's name."""
        error = self.assertRaises(BadSettings, read_file, self.file)
        return str(error).replace(f"{self.folder}/", "")

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

    def test_names_that_no_file_can_have(self) -> None:
        """A NUL in a name, or one that is too long, is a problem of the file, not of ours."""
        self.file.write_text('proxy_service: {client_ca_files: "a\\0b"}')
        self.assertTrue(self.refusal().endswith("'a\\x00b' does not exist"))
        self.file.write_text(f"proxy_service: {{client_ca_files: {'a' * 300}}}")
        self.assertIn("cannot be looked at: File name too long", self.refusal())

    def test_each_file_is_looked_at_once(self) -> None:
        """A thousand routes with one CA cost one look, and all of them are told its fault."""
        looked: list[Path] = []

        def is_file(path: Path) -> bool:
            looked.append(path)
            return False

        self.patch(Path, "is_file", is_file)
        route = "{name: r%d, alpn: a%d, target: 'a:1', allow: [{cn: x}], client_ca_files: gone.pem}"
        routes = ", ".join(route % (n, n) for n in range(3))
        self.file.write_text(f"proxy_service: {{routes: [{routes}]}}")
        self.assertEqual(self.refusal().count("does not exist"), 3)
        self.assertEqual(len(looked), 1)
