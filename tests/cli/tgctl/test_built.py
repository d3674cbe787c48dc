"""Tests for `cli.tgctl.built`: a gate without a daemon."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tlsgate.cli.tgctl.built import built, settings_of
from tlsgate.errors import BadSettings

CONFIG = """\
version: v2
teleport: {data_dir: data}
proxy_service:
  web_listen_addr: "127.0.0.1:0"
"""


class BuiltTests(SynchronousTestCase):
    """Tests for `settings_of` and `built`."""

    def file(self, more: str = "") -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = folder / "gate.yaml"
        file.write_text(CONFIG + more)
        return file

    def test_leaves_nothing(self) -> None:
        """A gate without certificates shows one of its own, which is kept nowhere."""
        file = self.file()
        with built(settings_of(file, None)) as made:
            shown = made.gate.certificates.pick(None).pairs[0].files.cert_file
            self.assertTrue(shown.exists())
        self.assertFalse(shown.exists())
        self.assertEqual([path.name for path in file.parent.iterdir()], ["gate.yaml"])

    def test_its_own_certificates(self) -> None:
        """A gate with certificates shows those."""
        pair = pki().keypair("server")
        more = f"  https_keypairs: [{{cert_file: {pair.cert_file}, key_file: {pair.key_file}}}]\n"
        with built(settings_of(self.file(more), None)) as made:
            shown = made.gate.certificates.pick("gw.test").pairs[0]
            self.assertEqual(shown.files.cert_file, pair.cert_file)

    def test_data_dir(self) -> None:
        """The option takes the place of what the file says, with its plug-ins."""
        settings = settings_of(self.file(), Path("/elsewhere"))
        self.assertEqual(settings.data_dir, Path("/elsewhere"))
        self.assertEqual(settings.plugins_dir, Path("/elsewhere/plugins"))

    def test_problems(self) -> None:
        """What the daemon would not take is not taken here."""
        self.assertRaises(BadSettings, settings_of, self.file("  workers: 0\n"), None)
