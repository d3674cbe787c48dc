"""Tests for `tlsgate.protocols.web.chart`."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.web import chart

NOON = 1_800_014_400.0


class DrawTests(SynchronousTestCase):
    """Tests for `draw`."""

    def test_lines(self) -> None:
        """One line a listener, inside the picture, with a scale and a legend."""
        page = chart.draw({"ssh": [0, 30, 10], "web": [1, 2, 40]}, NOON)
        svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
        lines = {one.get("data-listener"): one.get("points") for one in svg.iter("polyline")}
        self.assertEqual(list(lines), ["ssh", "web"])
        points = [tuple(map(float, pair.split(","))) for pair in str(lines["web"]).split()]
        self.assertEqual(len(points), 3)
        self.assertEqual(points[-1], (708.0, 12.0))  # 40 is the top of the scale
        words = [one.text for one in svg.iter("text")]
        self.assertEqual(words[:5], ["0", "10", "20", "30", "40"])
        self.assertEqual(words[5:], ["11:58", "11:59", "12:00 UTC"])
        self.assertIn("ssh 10, web 40", str(svg.get("aria-label")))
        HTMLParser().feed(page)
        self.assertIn("ssh <b>10</b>", page)

    def test_scale(self) -> None:
        """The scale fits what is drawn, and divides well."""
        for most, top in ((0, "4"), (4, "4"), (5, "8"), (9, "20"), (41, "80"), (81, "200")):
            page = chart.draw({"ssh": [0, most]}, NOON)
            self.assertIn(f'text-anchor="end">{top}</text>', page)

    def test_nothing(self) -> None:
        """Without two minutes of anything there is no picture."""
        self.assertEqual(chart.draw({}, NOON), "")
        self.assertEqual(chart.draw({"ssh": [1]}, NOON), "")

    def test_many(self) -> None:
        """So many lines, and no name is HTML."""
        page = chart.draw({f"<{number}>": [1, 2] for number in range(9)}, NOON)
        self.assertEqual(page.count("<polyline"), chart.LINES)
        self.assertNotIn("<0>", page)
