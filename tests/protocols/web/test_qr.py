"""Tests for `tlsgate.protocols.web.qr`."""

from __future__ import annotations

import re
import sys

import segno
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.web.qr import picture

TEXT = "otpauth://totp/gate.example.com:alice?secret=JBSWY3DPEHPK3PXP&issuer=gate.example.com"


class PictureTests(SynchronousTestCase):
    """Tests for `picture`."""

    def test_every_module(self) -> None:
        """What is dark in the drawing is what is dark in the code, inside its quiet zone."""
        drawn = picture(TEXT, "a code")
        assert drawn is not None
        dark = set()
        for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1", drawn):
            dark |= {(int(x) + step, int(y)) for step in range(int(width))}
        rows = segno.make(TEXT, error="m", micro=False).matrix
        wanted = {
            (x + 4, y + 4) for y, row in enumerate(rows) for x, module in enumerate(row) if module
        }
        self.assertEqual(dark, wanted)
        side = len(rows) + 8
        self.assertIn(f'viewBox="0 0 {side} {side}"', drawn)
        self.assertIn('role="img" aria-label="a code"', drawn)

    def test_without_the_package(self) -> None:
        """Where segno is not installed there is no picture, and no error."""
        self.addCleanup(sys.modules.__setitem__, "segno", segno)
        sys.modules["segno"] = None  # type: ignore[assignment]
        self.assertIsNone(picture(TEXT, "a code"))
