"""Tests for `tgsh.dialssh` without a gateway; tests/integration/test_proxy_ssh.py has one."""

from __future__ import annotations

import contextlib
import io
import sys

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh import dialssh, entry
from tlsgate.cli.tgsh.flat import place_of
from tlsgate.core.sshway import SEPARATE
from tlsgate.errors import BadAsk

LOGIN = "tgsh login --proxy=gate.test:443"


class ReadWordsTests(CommandCase):
    """Tests for `read_words`: what is done at once, and what is left to click."""

    def test_ours(self) -> None:
        """Options in any place, with a sign or a space."""
        for line in (
            "--home=H --proxy=P proxy ssh --cluster=C root@db1:22",
            "proxy ssh --home H --cluster C root@db1:22 --proxy P",
        ):
            asked = dialssh.read_words(line.split())
            assert asked is not None
            self.assertEqual(
                (asked.folder, asked.proxy, asked.cluster, asked.target),
                ("H", "P", "C", "root@db1:22"),
            )

    def test_others(self) -> None:
        """Everything else is click's, help and mistakes among it."""
        for line in (
            *("", "proxy", "proxy ssh", "proxy ssh a b", "ssh proxy", "proxy ssh --help x"),
            *("proxy ssh -i f x", "proxy ssh x --proxy", "--debug proxy ssh x", "ssh a proxy ssh"),
        ):
            self.assertIsNone(dialssh.read_words(line.split()), line)

    def test_entry(self) -> None:
        """The program takes the short way, and click's help for the rest."""
        for line, code in (("proxy ssh --help", 0), ("proxy ssh", 2)):
            self.patch(sys, "argv", ["tgsh", *line.split()])
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                ended = self.assertRaises(SystemExit, entry.main)
            self.assertEqual(ended.code, code)
            self.assertIn("[LOGIN@]HOST[:PORT]", out.getvalue())


class FailTests(CommandCase):
    """What is said before anybody is dialled."""

    def said(self, *words: str) -> tuple[int, str]:
        """Exit code and stderr."""
        asked = dialssh.read_words([f"--home={self.terminal.home}", "proxy", "ssh", *words])
        assert asked is not None
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            return dialssh.run(asked), err.getvalue()

    def test_expired(self) -> None:
        """The login of these tests ended long ago."""
        self.assertEqual(
            self.said("db1"),
            (
                1,
                f"tgsh: the certificate of alice has expired: run `{LOGIN}`\n",
            ),
        )

    def test_another_cluster(self) -> None:
        """Only the cluster of the login is known."""
        code, words = self.said("--cluster=leaf", "db1")
        self.assertEqual(code, 2)
        self.assertIn("is the gateway of example, not of leaf", words)

    def test_target(self) -> None:
        """A target that is none is refused; a login in it is sshd's business."""
        for written, want in (
            ("root@db1:2222", ("db1", 2222)),
            ("DB1", ("db1", 22)),
            ("[2001:db8::1]:22", ("2001:db8::1", 22)),
        ):
            self.assertEqual(dialssh._target(written), want)
        for written in ("", "db1:0", "db1:99999", "-x", "a b", "a@b@c d", "db1:22\r\nX: y"):
            self.assertRaises(BadAsk, dialssh._target, written)


class JumpTests(CommandCase):
    """The command line of ssh in separate mode."""

    def test_words(self) -> None:
        """Our key, the cluster's authority, no file of the user's, and the host after `--`."""
        home = str(self.terminal.home)
        place = place_of(home, None, None)
        words = dialssh.jump_words(place, (SEPARATE, "gate.test", 3023), "db1", 22)
        self.assertEqual(
            (words[:3], words[-4:]),
            (["ssh", "-F", "/dev/null"], ["-W", "db1:22", "--", "gate.test"]),
        )
        self.assertIn(f'UserKnownHostsFile="{home}/known_hosts"', words)
        self.assertIn(f'IdentityFile="{home}/keys/gate.test/alice"', words)
        self.assertNotIn("HostKeyAlias=example", words)
        words = dialssh.jump_words(place, (SEPARATE, "10.0.0.7", 3023), "2001:db8::1", 22)
        self.assertIn("HostKeyAlias=example", words)
        self.assertIn("[2001:db8::1]:22", words)

    def test_quoted(self) -> None:
        """Signs of ssh's own mean nothing in a path; what cannot be quoted is refused."""
        self.assertEqual(dialssh.quoted("/a b/100%"), '"/a b/100%%"')
        for path in ('/a"b', "/a\nb", "/a\\b", "/${HOME}"):
            self.assertRaises(BadAsk, dialssh.quoted, path)
