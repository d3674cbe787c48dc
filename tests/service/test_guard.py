"""Tests for `tlsgate.service.guard`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings
from tlsgate.service.guard import contradiction, why_not


def _settings(version: str, *, auth: str = "{}", proxy: str = "") -> Settings:
    return read_text(
        f"version: {version}\nauth_service: {auth}\n"
        f"proxy_service: {{web_listen_addr: '127.0.0.1:1'{proxy}}}\n"
    )


def foreseen(mode: str, *why: str, age: float | None = None) -> dict[str, Any]:
    """What an auth service says that knows more."""
    return {"next_mode": mode, "mode_age_seconds": age, "why": list(why)}


class WhyNotTests(SynchronousTestCase):
    """Tests for `why_not`."""

    def setUp(self) -> None:
        """A file with separate ports, and one without."""
        self.before, self.after = _settings("v1"), _settings("v2")

    def why(
        self, mode: str | None, *, age: float | None = None, auth: Any = None, **more: Settings
    ) -> str:
        """The sentences, for a cluster that has that mode."""
        cluster = None if mode is None else {"mode": mode, "mode_age_seconds": age}
        settings = {"before": self.before, "after": self.after, **more}
        return " / ".join(why_not(settings["before"], settings["after"], cluster, auth))

    def test_separate(self) -> None:
        """Ports that clients are told to use do not close, whatever the file says of the mode."""
        self.assertIn("clients are told to use it now", self.why("separate"))
        same = _settings("v2", auth="{proxy_listener_mode: multiplex}")
        self.assertIn("proxy_listener_mode: multiplex alone", self.why("separate", after=same))

    def test_multiplex(self) -> None:
        """Clients have to have had the time to hear that they need them no more."""
        self.assertEqual(self.why("multiplex"), "")
        self.assertEqual(self.why("multiplex", age=60), "")
        self.assertIn("wait another 20 s", self.why("multiplex", age=40))
        self.assertIn("wait another 1 s", self.why("multiplex", age=59.9))
        short = _settings("v2", auth="{settle_seconds: 0}")
        self.assertEqual(self.why("multiplex", age=0, after=short), "")

    def test_moving(self) -> None:
        """A port that clients are told of does not go elsewhere either, unless they find it."""
        here, there = (f", listen_addr: '127.0.0.1:{port}'" for port in (3, 4))
        public = ", ssh_public_addr: 'gate.example.com:3023'"
        before, after = _settings("v1", proxy=here), _settings("v1", proxy=there)
        said = self.why("separate", before=before, after=after)
        self.assertIn("the port ssh would close, and clients are told to use it now", said)
        self.assertEqual(self.why("separate", before=before, after=before), "")
        self.assertEqual(self.why("multiplex", before=before, after=after), "")
        self.assertIn("wait", self.why("multiplex", before=before, after=after, age=1))
        one, other = (_settings("v1", proxy=where + public) for where in (here, there))
        self.assertEqual(self.why("separate", before=one, after=other), "")
        self.assertEqual(self.why("separate", before=before, after=one), "")

    def test_opening(self) -> None:
        """Ports may always open."""
        self.assertEqual(self.why("separate", before=self.after, after=self.before), "")

    def test_the_auth_service_knows(self) -> None:
        """Where it is in this process, what the mode will be and was since is its word."""
        self.assertEqual(self.why("multiplex", auth=foreseen("multiplex")), "")
        late = foreseen("multiplex", "another gateway opens nothing", age=0)
        for age in (None, 70.0):
            said = self.why("multiplex", auth=late, age=age)
            self.assertIn("wait another 60 s / another gateway opens nothing", said)
        # What this gateway's own clients were told counts as well.
        self.assertIn("another 50 s", self.why("multiplex", auth=foreseen("multiplex"), age=10))
        self.assertIn("ssh", self.why("multiplex", auth=foreseen("separate")))

    def test_nobody_is_told(self) -> None:
        """A gateway alone, and a process that is no gateway, close what they like."""
        self.assertEqual(self.why(None), "")
        off = read_text("version: v2\nproxy_service: {enabled: no}\n")
        self.assertEqual(self.why("separate", before=off, after=off), "")
        self.assertEqual(why_not(self.before, self.after, {"name": "x"}, None), ())


class ContradictionTests(SynchronousTestCase):
    """Tests for `contradiction`."""

    def test_a_file_without_ports(self) -> None:
        """v2 in a cluster that is told separate is degraded, and says why and what heals."""
        said = contradiction(_settings("v2"), {"mode": "separate"})
        self.assertIn("the cluster's mode is separate", str(said))
        self.assertIn("listen_addr", str(said))

    def test_all_is_well(self) -> None:
        """Ports that nobody is told of are no contradiction; nor is a gateway alone."""
        for settings, cluster in (
            (_settings("v1"), {"mode": "separate"}),
            (_settings("v1"), {"mode": "multiplex"}),
            (_settings("v2"), {"mode": "multiplex"}),
            (_settings("v2"), {"name": "x"}),
            (_settings("v2"), None),
        ):
            self.assertEqual(contradiction(settings, cluster), None)
