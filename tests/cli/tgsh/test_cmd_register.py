"""Tests for `tgsh register`."""

from __future__ import annotations

import segno

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.api import JOIN, WEB
from tlsgate.cli.tgsh.cmd_register import qr, read_link
from tlsgate.errors import BadAsk

TOKEN = "Zm9vYmFyYmF6cXV4MTIzNDU2"
BEGUN = {
    "user": "alice",
    "kind": "invite",
    "otpauth": "otpauth://totp/example:alice?secret=JBSWY3DPEHPK3PXP&issuer=example",
    "secret": "JBSWY3DPEHPK3PXP",
    "expires": NOW + 3600,
}


class RegisterTests(CommandCase):
    """Tests for `tgsh register`."""

    def setUp(self) -> None:
        super().setUp()
        self.cluster.answers["POST /v1/invites/begin"] = BEGUN
        self.cluster.answers["POST /v1/invites/accept"] = {"user": "alice"}

    def test_invite(self) -> None:
        """A password twice, the secret as a picture and as text, a code; then how to log in."""
        self.terminal.types = ["new one", "new one", "111222"]
        result = self.terminal.run("register", f"https://gate.test/web/invite/{TOKEN}")
        self.assertEqual(
            (result.exit_code, result.stdout),
            (0, "done; log in with: tgsh login --proxy=gate.test:443 --user=alice\n"),
        )
        self.assertIn("secret: JBSWY3DPEHPK3PXP\n", result.stderr)
        self.assertIn("\u2588", result.stderr)
        self.assertNotIn(TOKEN, result.stderr + result.stdout)
        self.assertEqual(
            self.cluster.asked[1:],
            [
                (WEB, "POST /v1/invites/begin", {"token": TOKEN}),
                (
                    *(WEB, "POST /v1/invites/accept"),
                    {"token": TOKEN, "password": "new one", "otp": "111222"},
                ),
            ],
        )

    def test_by_pin(self) -> None:
        """With a pin it goes over the joining door; the link may come from stdin."""
        pin = "sha256:" + "0" * 64
        self.cluster.answers["POST /v1/invites/begin"] = {**BEGUN, "otpauth": None, "secret": None}
        self.terminal.types = ["new one", "new one"]
        result = self.terminal.run(
            *("register", "-", f"--ca-pin={pin}"),
            stdin=f"https://gate.test:3080/web/reset/{TOKEN}\n",
        )
        self.assertEqual(result.exit_code, 0)
        self.assertTrue(result.stdout.endswith(f" --ca-pin={pin}\n"))
        self.assertEqual({door for door, ask, _ in self.cluster.asked if "/v1/" in ask}, {JOIN})
        self.assertIsNone(self.cluster.asked[-1][2]["otp"])

    def test_links(self) -> None:
        """Host, port and token; what is no link is refused without being quoted."""
        self.assertEqual(read_link(f"https://g/web/invite/{TOKEN}/"), ("g:443", TOKEN))
        self.assertEqual(read_link(f"https://[::1]:1/web/reset/{TOKEN}"), ("[::1]:1", TOKEN))
        for bad in (
            f"http://g/web/invite/{TOKEN}",
            f"https://u@g/web/invite/{TOKEN}",
            f"https://g/web/login/{TOKEN}",
            "https://g/web/invite/short",
            f"https:///web/invite/{TOKEN}",
            f"https://g:x/web/invite/{TOKEN}",
            f"https://[g/web/invite/{TOKEN}",
        ):
            error = self.assertRaises(BadAsk, read_link, bad)
            self.assertNotIn(TOKEN, str(error))

    def test_picture(self) -> None:
        """The QR code is the text's, two rows of modules a line, with a border."""
        rows = [list(row) for row in segno.make("x", error="m", micro=False).matrix_iter(border=2)]
        lines = qr("x").splitlines()
        self.assertEqual(len(lines), (len(rows) + 1) // 2)
        drawn = []
        for line in lines:
            cells = line.removeprefix("\x1b[30;47m").removesuffix("\x1b[0m")
            drawn += [
                [int(c in "\u2580\u2588") for c in cells],
                [int(c in "\u2584\u2588") for c in cells],
            ]
        self.assertEqual(drawn[: len(rows)], rows)
