"""Tests for `tlsgate.auth.verbs_migration`: the steps as an operator takes them."""

from __future__ import annotations

from typing import Any

from tests.auth.cluster import BEGIN
from tests.auth.test_migration import NETWORKING, MigrationCase
from tests.core.migrations import report, row
from tlsgate.auth import migrationanswers as answers
from tlsgate.auth.principal import Principal
from tlsgate.core.gatewayreports import FilePlace
from tlsgate.core.ledger import Row
from tlsgate.core.migration import AgentRow
from tlsgate.errors.migration import StepNotSafe, StepRuns

STATUS, PREFLIGHT = "/v1/migration", "/v1/migration/preflight"
STEP, BACK = "/v1/migration/step", "/v1/migration/rollback"


class VerbsCase(MigrationCase):
    """One gateway, a user on its SSH port, an operator."""

    def setUp(self) -> None:
        super().setUp()
        # The parts' own one is what verbs ask; the first one of the case is stopped.
        self.migration.stop()
        self.migration = self.cluster.parts.migration
        self.migration.file = lambda: "/etc/gate.yaml"
        self.migration.host = lambda: "gw1"
        self.cluster.run(self.migration.start())
        self.addCleanup(self.migration.stop)
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access")

    def come(self, *rows: Row, **more: Any) -> None:
        """The gateway reports, and who has come."""
        now = self.cluster.clock.seconds()
        more = {"boot": f"b{now}", "started": now, **more}
        told = report(heard=now, **more)
        self.cluster.run(self.cluster.parts.reports.take(told, 1, rows))
        self.cluster.turn()

    def ask(self, path: str, body: Any = None, who: Principal | None = None, **query: str) -> Any:
        """Ask, and expect an answer."""
        method = "GET" if body is None else "POST"
        reply = self.cluster.ask(who or self.edgar, method, path, body, **query)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.body

    def refused(self, path: str, body: Any = None, who: Principal | None = None) -> str:
        """Ask, and expect a refusal; gives its reason."""
        method = "GET" if body is None else "POST"
        reply = self.cluster.ask(who or self.edgar, method, path, body)
        self.assertNotEqual(reply.status, 200)
        return str(reply.body["error"]["reason"])

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the trail has of an event."""
        return [dict(fields) for event, fields in self.cluster.audit.events if event == name]

    def bob(self) -> Row:
        """A user who is on the SSH port now."""
        now = self.cluster.clock.seconds()
        return row("bob", first=now, last=now, open=1)


class StatusTests(VerbsCase):
    """What is said of where the cluster stands."""

    def test_status(self) -> None:
        """The whole picture, in its schema."""
        self.come()
        told = self.ask(STATUS)
        answers.MigrationStatus.model_validate(told)
        self.assertEqual((told["mode"], told["run"], told["broken"]), ("separate", None, []))
        self.assertEqual([one["state"] for one in told["steps"]][1:3], ["go", "done"])

    def test_who(self) -> None:
        """Who may not read the setting sees nothing, and who may not change it does nothing."""
        self.assertEqual(self.refused(STATUS, who=self.alice), "access_denied")
        self.assertEqual(self.refused(PREFLIGHT, who=self.alice), "access_denied")
        self.assertEqual(self.refused(STEP, {"step": 2}, who=self.alice), "access_denied")
        self.assertEqual(self.refused(BACK, {}, who=self.alice), "access_denied")

    def test_preflight(self) -> None:
        """Who would break is named; addresses without a name are counted."""
        now = self.cluster.clock.seconds()
        scanner = row("192.0.2.1", kind="unknown", first=now, last=now, open=2)
        self.come(self.bob(), scanner)
        told = self.ask(PREFLIGHT, close="ssh")
        answers.Preflight.model_validate(told)
        self.assertEqual(told["people"], ["user bob by ssh: 1 open now"])
        self.assertEqual((told["go"], told["unknown"]), (False, 2))
        self.assertIn("the mode is separate", told["why"][0])
        self.assertEqual(self.ask(PREFLIGHT)["close"], ["ssh", "tunnel"])
        self.assertEqual(self.ask(PREFLIGHT, close="tunnel, ssh")["close"], ["tunnel", "ssh"])
        self.assertEqual(self.cluster.ask(self.edgar, "GET", PREFLIGHT, close="sh").status, 400)

    def test_preflight_while_it_is_told(self) -> None:
        """A gateway that tells the mode before is in the way."""
        self.switch(1)
        self.cluster.clock.advance(61)
        self.come()
        said = ["gateway gw1 tells clients separate, and the cluster is multiplex"]
        told = self.ask(PREFLIGHT)
        self.assertEqual((told["go"], told["why"]), (False, said))

    def test_preflight_of_others(self) -> None:
        """The web port is told in every mode; a listener of one's own may close in each."""
        self.come(names=("web", "ssh", "mine"))
        told = self.ask(PREFLIGHT, close="web")
        said = ["clients of every mode are told to use the web port"]
        self.assertEqual((told["go"], told["why"]), (False, said))
        self.assertTrue(self.ask(PREFLIGHT, close="mine")["go"])

    def test_preflight_is_clean(self) -> None:
        """Nobody there, and clients have settled: go."""
        self.switch(1)
        self.come(mode_in_force="multiplex")
        self.assertIn("for another 60 s", self.ask(PREFLIGHT)["why"][0])
        self.cluster.clock.advance(61)
        self.come(mode_in_force="multiplex")
        self.assertTrue(self.ask(PREFLIGHT)["go"])
        self.cluster.clock.advance(200)
        self.assertIn("is away", self.ask(PREFLIGHT)["why"][0])


class StepTests(VerbsCase):
    """The steps forward."""

    def test_mode(self) -> None:
        """Step 2 changes the mode, is audited, and is done once."""
        self.come()
        would = self.ask(STEP, {"step": 2, "dry_run": True})
        answers.StepTaken.model_validate(would)
        self.assertEqual((would["result"], self.migration.mode), ("would", "separate"))
        done = self.ask(STEP, {"step": 2})
        answers.StepTaken.model_validate(done)
        self.assertEqual((done["result"], self.migration.mode), ("done", "multiplex"))
        self.assertIsNotNone(self.migration.mode_since)
        self.assertIsNone(self.migration.run)
        (step,) = self.events("migration.step")
        self.assertEqual(
            (step["step"], step["direction"], step["forced"], step["user"]),
            (2, "there", False, "edgar"),
        )
        self.assertEqual(len(self.events("networking.update")), 1)
        self.come(mode_in_force="multiplex")
        self.assertEqual(self.ask(STEP, {"step": 2})["result"], "nothing")

    def test_told_and_not_followed(self) -> None:
        """The mode is written, and a gateway has not said that it tells it: wait."""
        self.come()
        self.ask(STEP, {"step": 2})
        self.assertEqual(self.ask(STEP, {"step": 2})["result"], "waits")

    def test_mode_of_a_file(self) -> None:
        """Where the file sets the mode, the step is a change of the file, and is awaited."""
        self.come()
        self.migration.origin = "config-file"
        told = self.ask(STEP, {"step": 2})
        self.assertEqual(told["result"], "waits")
        self.assertEqual(
            told["files"],
            [
                {
                    "host": "gw1",
                    "file": "/etc/gate.yaml",
                    "lines": [],
                    "changes": [
                        {"path": ["auth_service", "proxy_listener_mode"], "value": "multiplex"}
                    ],
                }
            ],
        )
        self.assertEqual(self.ask(STATUS)["run"]["stage"], "file")
        self.assertEqual(self.migration.mode, "separate")

    def test_no_go(self) -> None:
        """A step that is no-go is refused, and force does it with the names in the trail."""
        self.switch(1)
        self.come(self.bob(), mode_in_force="multiplex")
        self.assertEqual(self.refused(STEP, {"step": 7}), StepNotSafe.reason)
        self.assertIsNone(self.migration.run)
        told = self.ask(STEP, {"step": 7, "force": True})
        self.assertEqual((told["result"], told["forced"]), ("waits", True))
        self.assertEqual([one["name"] for one in told["breaks"]], ["bob"])
        (step,) = self.events("migration.step")
        self.assertEqual((step["breaks"], step["forced"]), (["user bob"], True))

    def test_close(self) -> None:
        """Step 7 is a change of each gateway's file; later ones take its place."""
        self.switch(1)
        self.cluster.clock.advance(61)
        self.come(mode_in_force="multiplex")
        told = self.ask(STEP, {"step": 7})
        (file,) = told["files"]
        self.assertEqual(
            (file["host"], file["file"], file["lines"]), ("gw1", "/etc/gate.yaml", [1])
        )
        self.assertEqual(file["changes"][0], {"path": ["version"], "value": "v2"})
        self.assertIn({"path": ["proxy_service", "listen_addr"], "value": None}, file["changes"])
        self.assertEqual(self.ask(STEP, {"step": 3})["result"], "nothing")

    def test_close_of_a_newer_file(self) -> None:
        """A file of version v3 that names separate ports loses them, and stays of its version."""
        self.switch(1)
        self.cluster.clock.advance(61)
        self.come(mode_in_force="multiplex", config_version="v3")
        (file,) = self.ask(STEP, {"step": 7, "dry_run": True})["files"]
        keys = ["listen_addr", "tunnel_listen_addr"]
        self.assertEqual(
            [one for one in file["changes"] if one["path"][-1] in ("version", *keys)],
            [{"path": ["proxy_service", key], "value": None} for key in keys],
        )

    def test_under_way(self) -> None:
        """A switch that is under way lets no other step begin."""
        self.come()
        from tests.auth.test_migration import RunTests

        self.cluster.run(self.migration.begin(RunTests.SWITCH))
        self.assertEqual(self.refused(STEP, {"step": 2}), StepRuns.reason)

    def test_agents(self) -> None:
        """Step 4 has agents told, where somebody can tell them; else it is waited for."""
        self.switch(1)
        self.come(mode_in_force="multiplex")
        self.migration.agents = lambda: (
            AgentRow(name="n1", gateway="gw1", listener="tunnel", state="old"),
        )
        self.assertEqual(self.ask(STEP, {"step": 4})["result"], "waits")
        asked: list[str] = []

        async def advise() -> None:
            asked.append("now")

        self.migration.advise = advise
        self.assertIn("in waves", self.ask(STEP, {"step": 4})["said"][0])
        self.assertEqual(asked, ["now"])

    def test_agents_forced(self) -> None:
        """An agent that cannot move stands in the way; by force it is asked once more."""
        self.switch(1)
        self.come(mode_in_force="multiplex")
        self.migration.agents = lambda: (
            AgentRow(name="n1", gateway="gw1", listener="tunnel", state="cannot"),
        )
        asked: list[str] = []

        async def advise() -> None:
            asked.append("now")

        self.migration.advise = advise
        self.assertEqual(self.refused(STEP, {"step": 4}), StepNotSafe.reason)
        told = self.ask(STEP, {"step": 4, "force": True})
        self.assertEqual((asked, told["forced"]), (["now"], True))


class BackTests(VerbsCase):
    """The rollback."""

    def test_order(self) -> None:
        """Files first, with the addresses that the ports had; then the mode; then nothing."""
        self.come()
        self.switch(1)
        self.cluster.clock.advance(61)
        self.come(names=("web",), mode_in_force="multiplex")
        told = self.ask(BACK, {})
        (file,) = told["files"]
        self.assertEqual((told["step"]["key"], told["result"]), ("open", "waits"))
        self.assertEqual(
            file["changes"],
            [
                {"path": ["version"], "value": "v1"},
                {"path": ["proxy_service", "listen_addr"], "value": "127.0.0.1:3001"},
                {"path": ["proxy_service", "tunnel_listen_addr"], "value": "127.0.0.1:3002"},
            ],
        )
        self.cluster.clock.advance(1)
        self.come(mode_in_force="multiplex")
        self.assertIsNone(self.migration.run)
        self.assertEqual(self.ask(BACK, {"dry_run": True})["result"], "would")
        self.assertEqual(self.ask(BACK, {})["result"], "done")
        self.assertEqual(self.migration.mode, "separate")
        self.cluster.clock.advance(1)
        self.come()
        self.assertEqual(self.ask(BACK, {})["result"], "nothing")

    def test_only_where_it_is_needed(self) -> None:
        """A gateway that is there already is left alone."""
        self.come()
        self.report("gw2", names=("web",))
        self.assertEqual([one["host"] for one in self.ask(BACK, {})["files"]], ["gw2"])
        told = self.ask(STEP, {"step": 7, "dry_run": True})
        self.assertEqual([one["host"] for one in told["files"]], ["gw1"])

    def test_a_default_stays(self) -> None:
        """A mode that the file's version decided is written out, or it would change too early."""
        default = {"proxy_listener_mode": 1}
        from tlsgate.auth import networking

        self.cluster.run(networking.start(self.cluster.store, NETWORKING, None, default))
        self.cluster.turn()
        file = FilePlace(path="/etc/gate.yaml", version_line=1)
        self.come(names=("web",), mode_in_force="multiplex", file=file)
        self.report("gw2", names=("web",), mode_in_force="multiplex", file=file)
        told = self.ask(BACK, {"dry_run": True})
        self.assertEqual((told["result"], self.migration.origin), ("would", "defaults"))
        mode = {"path": ["auth_service", "proxy_listener_mode"], "value": "multiplex"}
        # A file of another host that is called the same is another one.
        self.assertEqual(
            [(one["host"], mode in one["changes"]) for one in told["files"]],
            [("gw1", True), ("gw2", False)],
        )
        self.assertGreater(self.cluster.clock.seconds(), BEGIN)

    def test_mode_of_a_file(self) -> None:
        """The mode goes back in the file that says it."""
        self.switch(1)
        self.come(mode_in_force="multiplex")
        self.migration.origin = "config-file"
        (file,) = self.ask(BACK, {})["files"]
        self.assertEqual(file["changes"][0]["value"], "separate")
