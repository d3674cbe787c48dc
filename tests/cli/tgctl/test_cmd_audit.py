"""Tests for `tgctl audit ls`, `tgctl lock` and `tgctl backup`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_audit import command
from tlsgate.cli.tgctl.cmd_backup import command as backup
from tlsgate.cli.tgctl.cmd_lock import command as lock


def event(number: int) -> dict[str, Any]:
    return {
        "time": f"2026-01-02T03:04:{number:02}Z",
        "code": "T1000I",
        "event": "user.login",
        "user": "alice",
        "success": True,
        "uid": str(number),
        "addr.remote": "192.0.2.1",
    }


def pages(query: Mapping[str, str], _: object) -> object:
    """Five events, two a page."""
    start = int(query.get("after", "0"))
    count = min(2, int(query["limit"]))
    found = [event(number) for number in range(start, min(5, start + count))]
    following = start + count
    return {"events": found, "next": str(following) if following < 5 else None}


class AuditTests(SynchronousTestCase):
    """Tests for `tgctl audit ls`."""

    def test_pages(self) -> None:
        """Every page up to the limit; more than that is said."""
        for limit, count, said in ((1000, 5, False), (3, 3, True)):
            door = TableDoor({"GET /v1/audit": pages})
            result = run("audit", "ls", f"--limit={limit}", "--format=json", door=door)
            self.assertEqual(len(json.loads(result.stdout)), count)
            self.assertEqual("may be more" in result.stderr, said)

    def test_text(self) -> None:
        """A line an event: what has a column, and the rest by name."""
        result = run("audit", "ls", "--limit=1", door=TableDoor({"GET /v1/audit": pages}))
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "TIME                  CODE    EVENT       USER   OK   MORE",
                "2026-01-02T03:04:00Z  T1000I  user.login  alice  yes  addr.remote=192.0.2.1",
            ],
        )

    def test_connection(self) -> None:
        """What a connection did stands with the one who made it; an end is a date."""
        row = {"time": "T", "code": "C", "event": "db.session.start", "identity": "alice"}
        table = TableDoor({"GET /v1/audit": {"events": [{**row, "expires": 1767323045.25}]}})
        self.assertEqual(
            run("audit", "ls", door=table).stdout.splitlines()[1],
            "T     C     db.session.start  alice  -   expires=2026-01-02T03:04:05Z",
        )

    def test_question(self) -> None:
        """An age or a date; an event by its name."""
        door = TableDoor({"GET /v1/audit": pages})
        run(
            *("audit", "ls", "--since=2026-01-02T03:04:05Z", "--until=2026-01-03"),
            "--event=user.login",
            door=door,
        )
        query = door.asked[0][1]
        assert query is not None
        self.assertEqual(
            (query["since"], query["until"], query["event"]),
            ("1767323045.000", "1767398400.000", "user.login"),
        )
        run("audit", "ls", "--since=1d", door=(later := TableDoor({"GET /v1/audit": pages})))
        query = later.asked[0][1]
        assert query is not None
        self.assertLess(abs(float(query["since"]) - (time.time() - 86400)), 60)
        self.assertEqual(run("audit", "ls", "--since=yesterday").exit_code, 2)
        self.assertEqual(command.name, "audit")


class LockTests(SynchronousTestCase):
    """Tests for `tgctl lock`."""

    def test_lock(self) -> None:
        """One target; the answer says how to undo it."""
        door = TableDoor({"POST /v1/locks": {"kind": "lock", "metadata": {"name": "9a"}}})
        result = run("lock", "--user=alice", "--ttl=1h", "--message=come by", door=door)
        self.assertEqual(result.stdout, "user alice is locked; to undo it: tgctl rm lock/9a\n")
        self.assertEqual(
            door.bodies,
            [{"target": {"user": "alice"}, "ttl_seconds": 3600, "message": "come by"}],
        )
        self.assertEqual(lock.name, "lock")

    def test_several_targets(self) -> None:
        """Two are one lock on who is both; none is a mistake."""
        door = TableDoor({"POST /v1/locks": {"kind": "lock", "metadata": {"name": "9a"}}})
        result = run("lock", "--user=alice", "--login=root", door=door)
        self.assertIn("user alice, login root is locked", result.stdout)
        self.assertEqual(door.bodies[0]["target"], {"user": "alice", "login": "root"})
        self.assertEqual(run("lock").exit_code, 2)


class BackupTests(SynchronousTestCase):
    """Tests for `tgctl backup`."""

    def test_backup(self) -> None:
        """The daemon writes to where the operator stands."""
        answer = {"file": "/b", "revision": 7, "bytes": 2048}
        door = TableDoor({"POST /v1/backup": answer})
        result = run("backup", "copy.db", door=door)
        self.assertEqual(result.stdout, "/b: 2.0 KiB, revision 7\n")
        self.assertEqual(door.bodies, [{"file": str(Path("copy.db").absolute())}])
        self.assertEqual(backup.name, "backup")

    def test_only_here(self) -> None:
        """A gateway is not asked: the file would be on its machine."""
        result = run("--proxy=gate.test", "backup", "copy.db")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("--data-dir says which", result.stderr)
