"""Tests for `tgsh.way`: what is believed how long, and what is set right."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.tgsh import way
from tlsgate.cli.tgsh.flat import Place, place_of
from tlsgate.core.sshway import MULTIPLEX, SEPARATE
from tlsgate.errors import BadAsk, BadBytes

WEB = (MULTIPLEX, "gate.test", 443)
JUMP = (SEPARATE, "gate.test", 3023)
SEPARATE_PROXY = {"tls_routing_enabled": False, "ssh": {"listen_addr": "0.0.0.0:3023"}}


class WayNowTests(CommandCase):
    """Tests for `way_now`, after a login at NOW."""

    def setUp(self) -> None:
        super().setUp()
        self.place = self.read()
        self.asked = 0
        self.fails: Exception | None = None

    def read(self) -> Place:
        """The place as `tgsh proxy ssh` reads it."""
        return place_of(str(self.terminal.home), None, None)

    def ask(self, place: Place) -> bytes:
        """Be the gateway."""
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return json.dumps(self.cluster.ping).encode()

    def way(self, at: float = NOW, **how: Any) -> tuple[object, str]:
        """The way at that time, and what was said."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            found = way.way_now(self.place, ask=self.ask, now=lambda: at, **how)
        return found, said.getvalue()

    def test_a_minute(self) -> None:
        """The login's answer is believed for a minute, and not before it came."""
        for at, asked in ((NOW, 0), (NOW + 60, 0), (NOW + 60.5, 1), (NOW + 100, 1), (NOW - 9, 2)):
            self.assertEqual((*self.way(at), self.asked), (WEB, "", asked), at)

    def test_afresh(self) -> None:
        """After a dial that failed nothing kept counts."""
        self.assertEqual((*self.way(afresh=True), self.asked), (WEB, "", 1))

    def test_separate_is_asked_each_time(self) -> None:
        """ssh dials the jump host, so nobody sees it fail: the answer is always new."""
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        for _ in range(2):
            self.assertEqual(self.way(NOW + 61)[0], JUMP)
        self.assertEqual(self.asked, 2)

    def test_set_right(self) -> None:
        """A profile that leads elsewhere is set right, once, in one line; the rest stays."""
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        words = "takes SSH at gate.test:3023 now, not at its web port 443; the profile is set right"
        self.assertEqual(self.way(afresh=True), (JUMP, f"tgsh: gate.test:443 {words}\n"))
        self.place = self.read()
        self.assertEqual(self.way(afresh=True), (JUMP, ""))
        profile = self.terminal.run("status", "--format=json").stdout
        self.assertFalse(json.loads(profile)["active"]["tls_routing_enabled"])
        self.cluster.ping["proxy"] = {"tls_routing_enabled": True}
        found, said = self.way()
        self.assertEqual(found, WEB)
        self.assertIn("at its web port 443 now, not at gate.test:3023", said)

    def test_other_addresses(self) -> None:
        """So are a profile's other addresses though SSH's way is the same, without a word."""
        proxy = {"tls_routing_enabled": True, "db": {"postgres_public_addr": "pg.test:5432"}}
        self.cluster.ping["proxy"] = proxy
        self.assertEqual(self.way(afresh=True), (WEB, ""))
        self.assertIn("pg.test:5432", (self.terminal.home / "gate.test.yaml").read_text())
        self.assertEqual(self.way(afresh=True), (WEB, ""))
        self.patch(way, "_last_proxy", lambda place: None)  # what is kept is lost
        self.assertEqual(self.way(afresh=True), (WEB, ""))
        file = self.terminal.home / "gate.test.yaml"
        file.unlink()
        file.mkdir()  # nothing needs these addresses before the next answer
        self.assertEqual(self.way(afresh=True), (WEB, ""))

    def test_not_written(self) -> None:
        """A profile that cannot be written is said to stay wrong; the way is right."""
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        self.patch(way, "_keep", lambda *_: None)
        (self.terminal.home / "gate.test.yaml").unlink()
        (self.terminal.home / "gate.test.yaml").mkdir()
        found, said = self.way(afresh=True)
        self.assertEqual(found, JUMP)
        self.assertIn("the profile stays wrong, since", said)

    def test_away(self) -> None:
        """A gateway that cannot be asked is an error; a jump host's fresh answer still counts."""
        self.fails = ConnectionRefusedError()
        self.assertRaises(ConnectionRefusedError, self.way, NOW + 61)
        self.fails = None
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        self.way(NOW + 61)
        self.fails = TimeoutError()
        self.assertEqual(self.way(NOW + 70)[0], JUMP)
        self.assertRaises(TimeoutError, self.way, NOW + 122)

    def test_what_is_kept_can_be_anything(self) -> None:
        """A file that is none, or another gateway's, costs a question."""
        for text in ("", "{", "[]", '{"asked": "x"}', '{"asked": 1e999}', "[" * 9999):
            (self.terminal.home / "keys/gate.test/ping.json").write_text(text)
            self.assertEqual(self.way()[0], WEB)
        self.assertEqual(self.asked, 6)
        self.place = place_of(str(self.terminal.home), "gate.test", 8443)
        self.assertEqual((self.way()[0], self.asked), ((MULTIPLEX, "gate.test", 8443), 7))

    def test_nonsense(self) -> None:
        """An answer that is none is an error of ours."""
        self.assertRaises(
            BadBytes, way.way_now, self.place, afresh=True, ask=lambda _: b"<html>", now=lambda: NOW
        )

    def test_say(self) -> None:
        """What a gateway has put into a line does not steer the terminal."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            way.say("a\x1b[31m\nb")
        self.assertEqual(said.getvalue(), "tgsh: a\\x1b[31m\\nb\n")


class PlaceTests(CommandCase):
    """Tests for `flat.place_of`: it reads what `Home` writes."""

    def test_agrees(self) -> None:
        """Each file is where the home has it."""
        from tlsgate.cli.tgsh.home import Home

        home = Home(self.terminal.home)
        place = place_of(str(home.folder), "gate.test", None)
        self.assertEqual(
            (place.key, place.certificate, place.ssh_certificate, place.authorities),
            (
                str(home.key("gate.test", "alice")),
                str(home.certificate("gate.test", "alice")),
                str(home.ssh_certificate("gate.test", "alice", "example")),
                str(home.authorities("gate.test", "example")),
            ),
        )
        self.assertEqual(
            (place.web_authorities, place.cache, place.known_hosts, place.where, place.told),
            (
                str(home.web_authorities("gate.test")),
                str(home.ping("gate.test")),
                *(str(home.known_hosts), "gate.test:443", "multiplex"),
            ),
        )

    def test_bad(self) -> None:
        """What is no profile is said to be none."""
        for text in (
            "",
            "user: alice\n",
            "[]",
            'web_proxy_addr: "x"\nuser: a\ncluster: b\n',
            "a: {",
        ):
            (self.terminal.home / "gate.test.yaml").write_text(text)
            self.assertRaises(BadAsk, place_of, str(self.terminal.home), None, None)
        self.assertRaises(BadAsk, place_of, str(self.terminal.home), "../x", None)
