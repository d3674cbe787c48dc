"""Tests for `tlsgate.protocols.web.migration`: the page for operators."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import Browser, FakeAuth, error
from tests.protocols.web.test_invite import PUBLIC, words
from tlsgate.protocols.web.migration import FORBIDDEN

PATH = "/v1/web/migration"


def step(number: int, state: str, **more: Any) -> dict[str, Any]:
    """A step as the API gives it."""
    known = {"title": f"Step {number}", "evidence": ["2 of 3 agents"], "names": [], "todo": "Wait."}
    return {"number": number, "key": "k", "state": state, **known, **more}


def said(**more: Any) -> dict[str, Any]:
    """What the auth service says."""
    row = {"name": "<bob>", "listener": "ssh", "version": "OpenSSH_9.2", "open": 1, "last": 60.0}
    return {
        "user": "alice",
        "migration": {
            "mode": "separate",
            "broken": ["nobody serves <that>"],
            "contradicts": [],
            "steps": [
                step(1, "done"),
                step(2, "no-go", names=[f"n{number}" for number in range(14)]),
                step(3, "odd"),
            ],
        },
        "usage": {"ssh": [0, 1], "web": [3, 3], "kube": [0, 0]},
        "until": 1_800_014_400.0,
        "rows": [row, {**row, "name": "carol", "version": ""}],
        "more": 0,
        **more,
    }


class MigrationTests(SynchronousTestCase):
    """Tests for /web/migration."""

    def setUp(self) -> None:
        self.auth = FakeAuth(answer={PATH: (200, said())})
        self.browser = Browser(self.auth, public=PUBLIC)

    def page(self) -> str:
        """What somebody sees who is logged in."""
        self.browser.log_in()
        answer = self.browser.get("/web/migration")
        self.assertEqual(answer.code, 200)
        return answer.body.decode()

    def test_page(self) -> None:
        """Steps with their states, a line for each listener in use, and who uses what."""
        page = self.page()
        text = " ".join(words(page.encode()).split())
        for wanted in (
            "separate ports",
            "1 Step 1 done 2 of 3 agents",
            "2 Step 2 no go 2 of 3 agents Named: n0, n1,",
            "n11 and 2 more",
            "3 Step 3 odd",
            "OpenSSH_9.2",
            "01 Jan 00:01 UTC",
        ):
            self.assertIn(wanted, text)
        self.assertNotIn("Step 1 done 2 of 3 agents Wait.", text)
        self.assertNotIn("<bob>", page)
        self.assertNotIn("<that>", page)
        self.assertEqual(page.count("<polyline"), 2)
        self.assertNotIn('data-listener="kube"', page)

    def test_empty(self) -> None:
        """A cluster of which nothing is known yet says so."""
        found = said(usage={}, rows=[])
        found["migration"]["mode"] = "multiplex"
        self.auth.answer[PATH] = (200, found)
        text = words(self.page().encode())
        for wanted in ("Nothing is known yet.", "Nobody has been seen there.", "multiplex"):
            self.assertIn(wanted, text)

    def test_more(self) -> None:
        """Rows that are left out are counted."""
        self.auth.answer[PATH] = (200, said(more=7))
        self.assertIn("And 7 more", words(self.page().encode()))

    def test_not_for_everybody(self) -> None:
        """Who may not see it is told so, and who is not logged in goes to where one logs in."""
        answer = self.browser.get("/web/migration")
        self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web/login"))
        self.browser.log_in()
        for status, code in ((403, 403), (404, 503), (503, 503), (500, 500)):
            self.auth.answer[PATH] = error(status, "forbidden")
            answer = self.browser.get("/web/migration")
            self.assertEqual(answer.code, code)
            self.assertEqual(FORBIDDEN in words(answer.body), code == 403)
        self.assertEqual(self.browser.get("/web/migration/more").code, 404)
        self.auth.answer[PATH] = error(401, "bad_token")
        answer = self.browser.get("/web/migration")
        self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web/login?over"))

    def test_link(self) -> None:
        """The console leads operators there."""
        self.browser.log_in()
        self.assertNotIn(b"/web/migration", self.browser.get("/web").body)
        self.auth.roles = ("editor",)
        self.assertIn(b"/web/migration", self.browser.get("/web").body)
