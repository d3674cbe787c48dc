"""Machines that do not agree about the time (R16): half a minute is nothing, more is told.

`faketime` gives tgsh another clock than the daemon's. The daemon's authorities and its
certificates are some days old, as in life: what is new is what a login issues.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.child import PATIENCE_SECONDS, program
from tests.support.cluster import ClusterCase, User
from tests.support.common import common, no_bugs
from tests.support.harness import ROOT, Gate

HALF_MINUTE = (-30, 30)
MINUTES = 300
DAYS = 3 * 86400


class ClocksTests(ClusterCase):
    """tgsh with a clock of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.faketime = program("faketime", "faketime")
        self.daemon, self.users = common(self, type(self).begin)
        no_bugs(self, self.daemon)
        self.proxy = f"127.0.0.1:{self.daemon.port()}"
        self.pin = self.daemon.admin("GET", "/v1/cas")["pins"][0]

    def begin(self) -> tuple[Gate, Iterator[int]]:
        """Start a cluster for all tests; and the numbers of its users."""
        #: Of the cluster's beginning: older than any clock here is wrong.
        before = [program("faketime", "faketime"), "-f", "-20m"]
        started = self.cluster(before=before, ready=False)
        started.until_ready()
        started.stop()
        daemon = Gate(started.folder, started.file.read_text())
        self.addCleanup(daemon.stop)
        daemon.until_ready()
        return daemon, itertools.count(1)

    def tgsh(
        self, home: Path, apart: int, *words: str, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run tgsh on a machine whose clock is *apart* seconds ahead of the cluster's."""
        return subprocess.run(
            [
                *(self.faketime, "-f", f"{apart:+d}s"),
                *(sys.executable, "-m", "tlsgate.cli.tgsh.main", *words),
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TGSH_HOME": str(home)},
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def somebody(self) -> User:
        """A user whose codes are all unused."""
        return self.add_user(self.daemon, f"user{next(self.users)}")

    def login(  # type: ignore[override]  # in a terminal
        self, apart: int, *more: str, phone: int = 0
    ) -> tuple[Path, subprocess.CompletedProcess[str]]:
        """Log in; gives the files' folder, and how it went."""
        home, user = self.folder() / "home", self.somebody()
        words = ("login", f"--proxy={self.proxy}", f"--user={user.name}", f"--ca-pin={self.pin}")
        typed = f"{user.password}\n{user.code(time.time() + phone)}\n"
        return home, self.tgsh(home, apart, *words, *more, "--password-file=-", typed=typed)

    def test_r16_half_a_minute(self) -> None:
        """R16: ±30 s changes nothing: a login works, and what it gave works, at either end."""
        for apart in HALF_MINUTE:
            home, done = self.login(apart, phone=apart)
            self.assertEqual((apart, done.returncode, done.stderr), (apart, 0, ""))
            for later in (apart, -apart):
                done = self.tgsh(home, later, "mfa", "ls")
                self.assertEqual((later, done.returncode, done.stderr), (later, 0, ""))
                self.assertIn("totp", done.stdout)

    def test_r16_five_minutes_behind(self) -> None:
        """R16: what was issued is not good yet here: refused with the clock named, not kept."""
        home, done = self.login(-MINUTES)
        why = "this machine's clock is 5 min behind the cluster's"
        told = f"tgsh: {why}: check the clock of this machine, and the gateway's\n"
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", told))
        self.assertEqual([file for file in home.rglob("*") if file.is_file()], [])

    def test_r16_five_minutes_ahead(self) -> None:
        """R16: it works for a certificate of hours, with a warning; one of a minute is over."""
        home, done = self.login(MINUTES)
        warning = "tgsh: warning: the clocks of this machine and the cluster are 5 min apart\n"
        self.assertEqual((done.returncode, done.stderr), (0, warning))
        self.assertIn("totp", self.tgsh(home, MINUTES, "mfa", "ls").stdout)
        _, done = self.login(MINUTES, "--ttl=1")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("this machine's clock is 5 min ahead of the cluster's", done.stderr)

    def test_r16_days(self) -> None:
        """R16: ±3 d: the gateway's own certificate is not valid by that clock; no password goes."""
        before = self.daemon.admin("GET", "/v1/audit?event=user.login")["events"]
        for apart, words in ((-DAYS, "not valid yet"), (DAYS, "not valid any more")):
            _, done = self.login(apart)
            self.assertEqual((apart, done.returncode, done.stdout), (apart, 1, ""))
            self.assertIn(words, done.stderr)
            self.assertIn("check the clock of this machine, and the gateway's", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
        events = self.daemon.admin("GET", "/v1/audit?event=user.login")["events"]
        self.assertEqual(events, before, json.dumps(events))

    def test_r16_a_certificate_and_another_clock(self) -> None:
        """R16: where a clock jumps after a login it harms nothing, or one sentence tells of it."""
        home, done = self.login(0)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for apart, code, words in (
            (-MINUTES, 1, "is valid from "),
            (MINUTES, 0, ""),
            (-DAYS, 1, "check the clock of this machine"),
            (DAYS, 1, " expired at "),  # a login then names the clock, see above
        ):
            done = self.tgsh(home, apart, "mfa", "ls")
            said = (apart, done.returncode, done.stdout, done.stderr)
            self.assertEqual((apart, done.returncode), (apart, code), said)
            self.assertIn(words, done.stderr, said)
            self.assertEqual(len(done.stderr.splitlines()), code, said)
