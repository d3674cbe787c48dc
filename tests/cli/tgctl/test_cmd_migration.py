"""Tests for `tgctl migration`."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import Result
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.errors import DaemonAway, DaemonSaid, Fault, ReloadRefused

TEXT = "version: v1\nproxy_service:\n  web_listen_addr: 0.0.0.0:443\n  listen_addr: 0.0.0.0:3023\n"


def step(number: int, state: str = "done", key: str = "close", **more: Any) -> dict[str, Any]:
    """A step as the API says it."""
    told: dict[str, Any] = {"evidence": ["3 of 4"], "names": [], "todo": "", **more}
    return {"number": number, "key": key, "title": f"do {number}", "state": state, **told}


class MigrationCase(SynchronousTestCase):
    """A daemon with a file."""

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "gate.yaml"
        self.file.write_text(TEXT)
        self.steps = [step(number) for number in range(1, 8)]
        self.back = [step(number) for number in range(1, 5)]
        self.more: dict[str, Any] = {}
        self.answers: dict[str, Any] = {
            "GET /v1/migration": lambda query, body: self.status(),
            "GET /v1/status": {"host": "gw1", "file": str(self.file)},
        }
        self.door = TableDoor(self.answers)

    def status(self) -> dict[str, Any]:
        """The whole picture."""
        return {
            "mode": "separate",
            "mode_since": None,
            "mode_origin": "defaults",
            "settle_seconds": 60.0,
            "unsettled_seconds": 0.0,
            "broken": [],
            "contradicts": [],
            "away": [],
            "steps": self.steps,
            "back": self.back,
            "run": None,
            **self.more,
        }

    def close(self, file: str = "", host: str = "gw1") -> dict[str, Any]:
        """How a file changes that closes the ports."""
        return {
            "host": host,
            "file": file or str(self.file),
            "lines": [1],
            "changes": [
                {"path": ["version"], "value": "v2"},
                {"path": ["proxy_service", "listen_addr"], "value": None},
            ],
        }

    def taken(self, which: Mapping[str, Any], result: str, **more: Any) -> dict[str, Any]:
        """What the API says of a step."""
        told = {"forced": False, "said": [], "files": [], "breaks": [], "direction": "there"}
        return {"step": dict(which), "result": result, **told, **more}

    def run_it(self, *words: str, code: int = 0) -> Result:
        """Run `tgctl migration *words*`."""
        result = run("migration", *words, door=self.door)
        self.assertEqual(result.exit_code, code, result.output)
        return result


class StatusTests(MigrationCase):
    """Tests for status, plan and preflight."""

    def test_status(self) -> None:
        """Each step with its evidence, who is in the way, and what to do."""
        self.steps[1] = step(2, "go", todo="tgctl migration step 2", names=["gateway b (away)"])
        self.more = {
            "mode_since": time.time() - 600,
            "unsettled_seconds": 12.0,
            "broken": ["gateway b has no ssh"],
            "contradicts": ["gateway b tells separate"],
            "away": ["c"],
            "run": {"step": 7, "direction": "there", "stage": "file"},
        }
        said = self.run_it("status", "--quiet", "5s", code=3).stdout
        self.assertEqual(
            said.splitlines()[:12],
            [
                "the mode is separate (by defaults), for 10 min",
                "clients may act by the one before for 12 s",
                "step 7 has begun and waits for a file",
                "BROKEN: gateway b has no ssh",
                "note: gateway b tells separate",
                "away: gateway c",
                "",
                "1  done   do 1",
                "          3 of 4",
                "2  go     do 2",
                "          3 of 4",
                "          - gateway b (away)",
            ],
        )
        self.assertIn("          -> tgctl migration step 2", said)
        self.assertEqual(self.door.asked[0], ("GET /v1/migration", {"quiet": "5"}))
        self.more = {"run": {"step": 1, "direction": "back", "stage": "switching"}}
        self.assertIn("rollback step 1 has begun and is under way", self.run_it("status").stdout)

    def test_codes(self) -> None:
        """Scripts hear by the code whether the next step may be taken."""
        self.run_it("status")
        self.steps[4] = step(5, "go")
        self.steps[6] = step(7, "no-go")
        self.run_it("status")
        self.steps[4] = step(5)
        result = self.run_it("status", "--format", "json", code=3)
        self.assertEqual(json.loads(result.stdout)["steps"][6]["state"], "no-go")

    def test_plan(self) -> None:
        """What is left, with the diff of files."""
        self.assertEqual(self.run_it("plan").stdout, "all steps are done\n")
        self.steps[6] = step(7, "later", todo="first step 2")
        self.answers["POST /v1/migration/step"] = lambda query, body: self.taken(
            self.steps[body["step"] - 1], "would", files=[self.close()]
        )
        said = self.run_it("plan", "--quiet", "0s").stdout
        self.assertIn("7  later  do 7", said)
        self.assertIn(f"          change {self.file}:1, {self.file}:4:", said)
        self.assertIn("          +version: v2", said)
        self.assertEqual(self.file.read_text(), TEXT)
        asked = {"step": 7, "dry_run": True, "quiet_seconds": 0.0}
        self.assertIn(asked, self.door.bodies)

    def test_preflight(self) -> None:
        """Who would break, and what else speaks against it."""
        told: dict[str, Any] = {"close": ["ssh"], "go": True, "why": [], "people": []}
        told |= {"unknown": 0, "breaks": []}
        self.answers["GET /v1/migration/preflight"] = lambda query, body: told
        self.assertEqual(self.run_it("preflight", "--close", "ssh").stdout, "go: closing ssh\n")
        self.assertEqual(self.door.asked[-1][1], {"close": "ssh"})
        told |= {"go": False, "why": ["too early"], "people": ["user bob"], "unknown": 3}
        self.assertEqual(
            self.run_it("preflight", code=3).stdout.splitlines(),
            [
                "no-go: closing ssh",
                "  too early",
                "1 would break:",
                "  user bob",
                "and 3 open connections of nobody who has shown a name",
            ],
        )
        told |= {"close": [], "go": True, "why": [], "people": [], "unknown": 0}
        self.assertIn("no separate port is open", self.run_it("preflight").stdout)


class StepTests(MigrationCase):
    """Tests for `tgctl migration step`."""

    def answer(self, *answers: dict[str, Any], path: str = "step") -> None:
        """What the API says, one after the other."""
        left = list(answers)
        self.answers[f"POST /v1/migration/{path}"] = lambda query, body: left.pop(0)

    def test_mode(self) -> None:
        """A step that the cluster's state decides is waited for until gateways say it is done."""
        before = step(2, "go", "mode")
        looks = iter([before, step(2)])

        def status(query: Any, body: Any) -> dict[str, Any]:
            self.steps[1] = next(looks)
            return self.status()

        self.answers["GET /v1/migration"] = status
        self.answer(self.taken(before, "done", said=["clients are told multiplex now"]))
        said = self.run_it("step", "2").stdout
        self.assertEqual(said, "step 2: do 2: done\nclients are told multiplex now\n")
        asked = {"step": 2, "dry_run": False, "force": False}
        self.assertEqual(self.door.bodies[0], asked)

    def test_nothing_and_dry(self) -> None:
        """What is done is said so; a dry run says what would be."""
        self.answer(self.taken(step(2), "nothing"))
        self.assertEqual(self.run_it("step", "2").stdout, "step 2: do 2: done before\n")
        self.answer(self.taken(step(7, "no-go", names=["user bob"]), "would"))
        said = self.run_it("step", "7", "--dry-run", code=3).stdout
        self.assertEqual(said, "step 7: do 7: no-go\n  - user bob\n")

    def test_no_go(self) -> None:
        """What is refused because somebody would break has a code of its own."""
        refused = DaemonSaid("step_not_safe", Fault.OPERATOR, "step 7 is no-go: user bob")
        self.answers["POST /v1/migration/step"] = refused
        self.assertIn("tgctl: step 7 is no-go", self.run_it("step", "7", code=3).stderr)
        self.answers["POST /v1/migration/step"] = DaemonSaid("other", Fault.OPERATOR, "no")
        self.run_it("step", "7", code=2)

    def test_a_file(self) -> None:
        """A file that decides is shown as a diff and not touched; the step is not done."""
        self.steps[6] = step(7, "go")
        self.answer(self.taken(self.steps[6], "waits", files=[self.close()]))
        said = self.run_it("step", "7", code=4).stdout
        self.assertIn("step 7: do 7: not done yet", said)
        self.assertIn("-  listen_addr: 0.0.0.0:3023", said)
        self.assertEqual(self.file.read_text(), TEXT)

    def test_write(self) -> None:
        """With --write the file changes, a copy stays, the daemon reloads, the step ends."""
        self.answers["POST /v1/reload"] = {"opened": [], "closed": ["ssh"], "warnings": []}
        self.answer(self.taken(step(7, "go"), "waits", files=[self.close()]))
        said = self.run_it("step", "7", "--write").stdout
        self.assertIn("step 7: do 7: done", said)
        self.assertTrue(said.endswith("\nreloaded\n"), said)
        want = "version: v2\nproxy_service:\n  web_listen_addr: 0.0.0.0:443\n"
        self.assertEqual(self.file.read_text(), want)
        (copy,) = self.file.parent.glob("gate.yaml.before-*")
        self.assertEqual(copy.read_text(), TEXT)
        self.assertIn(("POST /v1/reload", None), self.door.asked)
        # Again: the file says it already, and is read again all the same.
        self.answer(self.taken(step(7, "go"), "waits", files=[self.close()]))
        self.assertIn("says it already", self.run_it("step", "7", "--write").stdout)
        self.assertEqual(len(list(self.file.parent.glob("*"))), 2)

    def test_write_forced(self) -> None:
        """Force reaches the reload, and who breaks is said."""
        self.answers["POST /v1/reload"] = {"opened": [], "closed": ["ssh"], "warnings": []}
        rows = [{"kind": "user", "name": "bob", "listener": "ssh"}]
        more: dict[str, Any] = {"files": [self.close()], "forced": True, "breaks": rows}
        self.answer(self.taken(step(7, "no-go"), "waits", **more))
        said = self.run_it("step", "7", "--write", "--force").stdout
        self.assertIn("forced; who breaks:\n  user bob by ssh\n", said)
        self.answer(self.taken(step(7, "no-go"), "waits", forced=True))
        said = self.run_it("step", "7", "--force").stdout
        self.assertIn("forced; who breaks: nobody, by the ledger\n", said)
        self.assertIn(("POST /v1/reload", {"force": "1"}), self.door.asked)

    def test_not_taken(self) -> None:
        """A file that the daemon refuses is as it was before."""
        self.answers["POST /v1/reload"] = ReloadRefused(["the port ssh would close"])
        self.answer(self.taken(step(7, "go"), "waits", files=[self.close()]))
        said = self.run_it("step", "7", "--write", code=2)
        self.assertIn("would close", said.stderr)
        self.assertEqual(self.file.read_text(), TEXT)

    def test_elsewhere(self) -> None:
        """Files of other hosts are said in words, and are not written."""
        self.steps[6] = step(7, "go")
        other = self.close("/etc/other.yaml", "gw2")
        self.answer(self.taken(self.steps[6], "waits", files=[other]))
        said = self.run_it("step", "7", "--write", "--wait", "0s", code=4).stdout
        self.assertIn("on the host of gw2, in /etc/other.yaml:\n  version: v2\n", said)
        self.assertIn("  remove proxy_service.listen_addr\n", said)
        self.assertIn("none of these files is this daemon's", said)
        self.answers["GET /v1/status"] = DaemonAway(str(self.file), "nobody answers")
        self.answer(self.taken(self.steps[6], "waits", files=[self.close()]))
        self.assertIn("on the host of gw1", self.run_it("step", "7", code=4).stdout)

    def test_others_have_to_follow(self) -> None:
        """A step that waits for others ends with its own code."""
        self.steps[4] = step(5, "go", names=["user bob"])
        self.answer(self.taken(self.steps[4], "waits", said=["tgsh heals its profile"]))
        said = self.run_it("step", "5", code=4).stdout
        self.assertIn("  - user bob", said)
        self.answer(self.taken(self.steps[4], "waits"))
        self.run_it("step", "5", "--quiet", "1h", code=4)
        self.assertEqual(self.door.asked[-1], ("GET /v1/migration", {"quiet": "3600"}))


class RollbackTests(MigrationCase):
    """Tests for `tgctl migration rollback`."""

    def test_as_far_as_it_goes(self) -> None:
        """The file first, then the mode, then nothing is left."""
        self.answers["POST /v1/reload"] = {"opened": ["ssh"], "closed": [], "warnings": []}
        opening = {**self.close(), "changes": [{"path": ["version"], "value": "v1"}]}
        self.file.write_text(TEXT.replace("v1", "v2"))
        left = [
            self.taken(step(1, "go", "open"), "waits", files=[opening], direction="back"),
            self.taken(step(2, "go", "mode"), "done", direction="back"),
            self.taken(step(4, key="users"), "nothing", direction="back"),
        ]
        self.answers["POST /v1/migration/rollback"] = lambda query, body: left.pop(0)
        said = self.run_it("rollback", "--write").stdout
        self.assertIn("rollback step 1: do 1: done", said)
        self.assertIn("rollback step 2: do 2: done\n", said)
        self.assertTrue(said.endswith("rollback step 4: do 4: done before\n"), said)
        self.assertEqual(self.file.read_text(), TEXT)

    def test_waits(self) -> None:
        """It ends where a file has to be changed by hand."""
        self.back[0] = step(1, "go", "open")
        answer = self.taken(self.back[0], "waits", files=[self.close()], direction="back")
        self.answers["POST /v1/migration/rollback"] = answer
        self.run_it("rollback", code=4)
        would = {**answer, "result": "would"}
        self.answers["POST /v1/migration/rollback"] = would
        self.assertIn("+version: v2", self.run_it("rollback", "--dry-run").stdout)
