"""What a reload reads, what it may not change, which files are watched."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.settings import KeyPair, Settings
from tlsgate.core.routing import Route
from tlsgate.errors import BadSettings, Place, Problem, ReloadRefused
from tlsgate.service import reload
from tlsgate.service.reload import FileWatch, Source, in_short, unchangeable, watched_files

TEXT = """\
version: v2
teleport: {{data_dir: {folder}/data}}
proxy_service:
  web_listen_addr: 127.0.0.1:0
  public_addr: [gw.test:443]
{more}
"""


class ReloadCase(SynchronousTestCase):
    """A folder with a configuration."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "tlsgate.yaml"
        self.source = Source(self.file)

    def write(self, more: str = "") -> None:
        """Write the file."""
        self.file.write_text(TEXT.format(folder=self.folder, more=more))

    def settings(self, more: str = "") -> Settings:
        """Write the file and read it."""
        self.write(more)
        return self.source.load()[1]


class SourceTests(ReloadCase):
    """Tests for `Source`."""

    def test_text_and_meaning(self) -> None:
        """The text is what was read, and parses to the same settings again."""
        self.write()
        text, settings = self.source.load()
        self.assertEqual(text, self.file.read_text())
        self.assertEqual(self.source.parse(text), settings)
        self.assertEqual(settings.data_dir, self.folder / "data")

    def test_the_command_line_wins(self) -> None:
        """`--data-dir` takes the place of the file's, at each reload."""
        self.write()
        source = Source(self.file, self.folder / "other")
        self.assertEqual(source.load()[1].data_dir, self.folder / "other")

    def test_unreadable(self) -> None:
        """A missing file, or one that is no text, is a problem with a place."""
        error = self.assertRaises(BadSettings, self.source.load)
        self.assertEqual(error.problems[0].place.file, str(self.file))
        self.file.write_bytes(b"version: v2\n\xff")
        error = self.assertRaises(BadSettings, self.source.load)
        self.assertEqual(error.problems[0].place.line, 2)


class InstalledTests(ReloadCase):
    """An auth service needs packages that a bare gateway lacks."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(reload, "AUTH_PACKAGES", ("argon2", "no_such_package"))

    def test_by_default(self) -> None:
        """Nobody asked for it: it is off, and a warning says so."""
        settings = self.settings()
        self.assertFalse(settings.auth_enabled)
        self.assertIn("pip install 'tlsgate[auth]'", str(settings.warnings[-1]))

    def test_written(self) -> None:
        """Somebody asked for it: there is no start, and the error says what to install."""
        self.write("auth_service: {cluster_name: x}")
        error = self.assertRaises(BadSettings, self.source.load)
        self.assertEqual(error.problems[0].path, "auth_service")

    def test_off(self) -> None:
        """Switched off, it needs nothing."""
        self.assertEqual(self.settings("auth_service: {enabled: no}").warnings, ())


class UnchangeableTests(ReloadCase):
    """Tests for `unchangeable`."""

    def test_named(self) -> None:
        """Each key that a reload cannot change is named as the file has it."""
        old = self.settings()
        new = evolve(old, data_dir=Path("/x"), cluster_name="y", workers=7, auth_enabled=False)
        said = unchangeable(old, new)
        self.assertEqual(
            [sentence.split()[0] for sentence in said],
            [
                "teleport.data_dir",
                "auth_service.cluster_name",
                "proxy_service.workers",
                "auth_service.enabled",
            ],
        )
        self.assertEqual(unchangeable(old, evolve(old, strict_sni=True)), [])


class InShortTests(SynchronousTestCase):
    """What the log says of a reload that was refused."""

    def test_several(self) -> None:
        """Of several problems the first is told whole, and the rest counted."""
        problems = [Problem(Place("gate.yaml", line, 3), "a", "no") for line in (7, 8, 9)]
        for count, said in (
            (1, "gate.yaml:7:3 a: no"),
            (3, "gate.yaml:7:3 a: no (and 2 more; see tgctl check)"),
        ):
            self.assertEqual(in_short(BadSettings(problems[:count])), said)

    def test_one(self) -> None:
        """Any other refusal is told as it is."""
        error = ReloadRefused(["the daemon is stopping"])
        self.assertEqual(in_short(error), str(error))


class FileWatchTests(ReloadCase):
    """Tests for `FileWatch`."""

    def setUp(self) -> None:
        super().setUp()
        names = ("cert", "key", "ca", "route")
        self.files = {name: self.folder / f"{name}.pem" for name in names}
        for path in self.files.values():
            path.write_text("one")
        pair = KeyPair(cert_file=self.files["cert"], key_file=self.files["key"])
        route = Route(name="r", protocol="raw", client_ca_files=(str(self.files["route"]),))
        self.watched = evolve(
            self.settings(),
            keypairs=(pair,),
            client_ca_files=(str(self.files["ca"]),),
            routes=(route,),
        )

    def test_what_is_watched(self) -> None:
        """Certificates, keys, and authorities of routes and protocols."""
        self.assertEqual(
            set(watched_files(self.watched)), {str(path) for path in self.files.values()}
        )

    def test_notices_once(self) -> None:
        """A change of content, a rename over it, and a file that goes or comes count, once."""
        watch = FileWatch(self.watched)
        self.assertFalse(watch.changed())
        path = self.files["cert"]

        def by_rename() -> None:
            (self.folder / "new").write_text("two")
            (self.folder / "new").rename(path)

        def by_touch() -> None:
            os.utime(path, ns=(1, 1))

        for change in (by_rename, by_touch, path.unlink, lambda: path.write_text("three")):
            change()
            self.assertTrue(watch.changed(), change)
            self.assertFalse(watch.changed(), change)
