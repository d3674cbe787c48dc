"""The console's page about the migration in real headless Chromium, over a real cluster."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from tests.integration.test_console import ConsoleCase
from tests.support.browser import Tab
from tests.support.cluster import User
from tests.support.harness import Gate
from tests.support.ports import free_port

PAGE = "https://gw.test/web/migration"
#: Within this time a gateway's report has come.
REPORT_SECONDS = 20.0


class MigrationPageTests(ConsoleCase):
    """What an editor sees, and what others do not."""

    def start(self) -> Gate:
        """A gateway as of v1, with two separate ports."""
        proxy = {name: f"127.0.0.1:{free_port()}" for name in ("listen_addr", "tunnel_listen_addr")}
        auth = {"enabled": "yes", "cluster_name": "gw.test"}
        gate: Gate = self.cluster(version="v1", proxy=proxy, auth=auth)
        gate.child.until(
            lambda: gate.admin("GET", "/v1/gateways/reports")["items"], "a report", REPORT_SECONDS
        )
        return gate

    def test_editor_and_others(self) -> None:
        """Without any script an editor sees the steps and the picture; others a sentence."""
        gate = self.start()
        edna = self.add_user(gate, "edna", ("editor",))
        alice = self.add_user(gate, "alice", ("access",))
        browser = self.chromium(gate)
        tab = browser.tab()
        tab.without_scripts()

        tab.go(PAGE)
        self.assertEqual(tab.path, "/web/login")
        self.log_in(tab, edna)
        self.assertEqual(tab.path, "/web")
        tab.js("document.querySelector('details.more').open = true")
        tab.click("a[href='/web/migration']")
        self.assertEqual(tab.path, "/web/migration")
        self.assertEqual(self.steps(tab), self.told(gate))
        self.assertIn("Clients are told to use separate ports", tab.text)

        self.until_picture(gate)
        tab.go(PAGE)
        lines = tab.js(
            "JSON.stringify([...document.querySelectorAll('polyline')]"
            ".map(one => one.dataset.listener))"
        )
        self.assertIn("web", json.loads(lines))
        self.looks_well(tab)

        tab.go("https://gw.test/web")
        tab.click(".top button")
        self.log_in(tab, alice)
        self.assertNotIn("/web/migration", tab.js("document.documentElement.outerHTML"))
        tab.go(PAGE)
        self.assertIn("Your roles do not let you see this.", tab.text)

    def steps(self, tab: Tab) -> list[list[str]]:
        """Number, title and state of each step on the page."""
        found: list[list[str]] = json.loads(
            tab.js(
                "JSON.stringify([...document.querySelectorAll('.steps li')].map(one => "
                "[one.dataset.step, one.querySelector('h3').innerText.toLowerCase(), "
                "one.querySelector('.state').innerText]))"
            )
        )
        return found

    def told(self, gate: Gate) -> list[list[str]]:
        """The same as `tgctl migration status` has it."""
        said: list[dict[str, Any]] = gate.admin("GET", "/v1/migration")["steps"]
        return [
            [str(one["number"]), one["title"].lower(), one["state"].replace("-", " ")]
            for one in said
        ]

    def until_picture(self, gate: Gate) -> None:
        """Wait until the gateway has told of a connection that is open, so that a line is there."""
        with gate.dial(alpn=("http/1.1",)) as held:
            held.sendall(b"GET /webapi/ping HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            self.assertIn(b"200 OK", held.recv(4096))
            gate.child.until(
                lambda: any(
                    port["open"]
                    for one in gate.admin("GET", "/v1/gateways/reports")["items"]
                    for port in one["listeners"]
                    if port["name"] == "web"
                ),
                "a connection in the report",
                REPORT_SECONDS,
            )

    def looks_well(self, tab: Tab) -> None:
        """Nothing is refused, nor wider than the window, in light and dark, wide and narrow."""
        said = [one["entry"]["text"] for one in tab.events("Log.entryAdded")]
        self.assertEqual([one for one in said if "Content Security Policy" in one], [])
        for width in (1280, 390):
            for dark in (False, True):
                file = self.folder() / f"{width}-{dark}.png"
                tab.shot(file, width=width, height=900, dark=dark)
                self.assertGreater(file.stat().st_size, 5000)
                self.assertLessEqual(tab.js("document.documentElement.scrollWidth"), width)

    def log_in(self, tab: Tab, user: User) -> None:
        """Log in, if the page for that is not open already then there."""
        if not re.match(r"/web/login", tab.path):
            tab.go("https://gw.test/web/login")
        tab.type("#user", user.name)
        tab.type("#password", user.password)
        tab.type("#code", user.code(time.time()))
        tab.click(".send button")
