"""Tests for `tlsgate.protocols.web.answers` and for what the web protocol refuses with."""

from __future__ import annotations

import json
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.errors import ERRORS
from tests.protocols.web.clients import answers as read
from tests.protocols.web.clients import get, visit
from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.protocols.web import answers
from tlsgate.protocols.web.protocol import Web
from tlsgate.protocols.web.style import STYLE


class AnswerTests(SynchronousTestCase):
    """Constant answers."""

    def test_whole(self) -> None:
        """An answer before any request is complete, and the last one."""
        for code in answers.SENTENCES:
            [answer] = read(answers.whole(code, answers.JSON_TYPE, b"{}"))
            self.assertEqual((answer.code, answer.body), (code, b"{}"))
            self.assertEqual(answer.headers[b"connection"], b"close")

    def test_misdirected(self) -> None:
        """421 has its words, though Twisted does not know them."""
        self.assertIn(b"421 Misdirected Request\r\n", answers.whole(421, b"text/plain", b""))

    def test_api_paths(self) -> None:
        """Programs ask below /webapi and /v1."""
        for path, api in (
            (b"/webapi/ping", True),
            (b"/webapi", True),
            (b"/v1/status", True),
            (b"/", False),
            (b"/webapix", False),
        ):
            self.assertEqual(answers.is_api(path), api, path)

    def test_json_is_ascii(self) -> None:
        """Whatever is in a document, it goes out as ASCII."""
        self.assertEqual(json.loads(answers.json_body("\u00e9")), "\u00e9")
        self.assertTrue(answers.json_body("\u00e9\u2028").isascii())

    def test_not_cached(self) -> None:
        """An answer of the API or an error is stored nowhere."""
        talk = visit()
        for path in ("/webapi/ping", "/webapi/find", "/nothing", "/webapi/nothing"):
            self.assertEqual(get(talk, path).headers[b"cache-control"], b"no-store", path)


class RefusalTests(SynchronousTestCase):
    """What the web protocol says when it refuses."""

    def test_codes(self) -> None:
        """It refuses in HTTP, with constant words and a status that fits."""
        codes = [read(Web().refusal(error))[0].code for error in ERRORS]
        self.assertEqual(codes, [403, 403, 503, 400, 400, 503, 408, 503, 502, 504, 500, 500])

    def test_http_in_the_clear(self) -> None:
        """Plain HTTP on the TLS port is told to come with TLS, and not redirected."""
        opening = sniff(b"GET / HTTP/1.1\r\n", Web().openings)
        assert isinstance(opening, Opening)
        [answer] = read(opening.answer)
        self.assertEqual((opening.then, answer.code), (Then.REFUSE, 400))
        self.assertIn(b"https://", answer.body)
        self.assertNotIn(b"location", answer.headers)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" or "#rgb" (WCAG 2.2)."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class StyleTests(SynchronousTestCase):
    """The palettes."""

    def test_contrast(self) -> None:
        """Every text can be read on every ground that it stands on, in light and dark."""
        palettes = [
            dict(re.findall(r"--(\w+):(#\w+)", block))
            for block in re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)
        ]
        self.assertEqual([len(palette) for palette in palettes], [12, 12])
        for palette in palettes:
            for text, ground in (
                ("ink", "ground"),
                ("ink", "card"),
                ("ink", "code"),
                ("soft", "ground"),
                ("soft", "card"),
                ("soft", "code"),
                ("accent", "ground"),
                ("accent", "wash"),
                ("warn", "warnwash"),
                ("blue", "bluewash"),
            ):
                one, other = sorted(luminance(palette[name]) for name in (text, ground))
                contrast = (other + 0.05) / (one + 0.05)
                self.assertTrue(contrast >= 4.5, f"{text} on {ground}: {contrast:.2f}")
