"""Tests for `tgctl users`."""

from __future__ import annotations

import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_users import command
from tlsgate.errors import Conflict, DaemonSaid, Fault

PIN = "sha256:" + "ab" * 32
INVITED: dict[str, Any] = {
    "user": "alice",
    "invite": {
        "kind": "invite",
        "token": "T0K",
        "url": "https://gate.test/web/invite/T0K",
        "expires": 0.0,
    },
    "pins": [PIN],
    "proxy": "gate.test:443",
}
ALICE = {
    "kind": "user",
    "version": "v2",
    "metadata": {"name": "alice", "revision": 7},
    "spec": {"roles": ["access"], "traits": {"logins": ["alice"], "db_users": ["reader"]}},
}


class AddTests(SynchronousTestCase):
    """Tests for `tgctl users add` and `reset`."""

    def test_add(self) -> None:
        """The link with its life, and the login line with the CA pin."""
        answer = {**INVITED, "invite": {**INVITED["invite"], "expires": time.time() + 3600.5}}
        door = TableDoor({"POST /v1/users": answer})
        result = run(
            *("users", "add", "alice", "--roles=access,editor", "--logins=alice,root"),
            *("--kubernetes-groups=dev", "--ttl=2h"),
            door=door,
        )
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertEqual(
            door.bodies,
            [
                {
                    "name": "alice",
                    "roles": ["access", "editor"],
                    "traits": {"logins": ["alice", "root"], "kubernetes_groups": ["dev"]},
                    "ttl_seconds": 7200,
                }
            ],
        )
        self.assertEqual(
            result.stdout,
            f"""\
user alice is made, without a password yet; this link sets it, once, within 1 h 0 m:

  https://gate.test/web/invite/T0K

in a browser, or in a terminal:

  tgsh register https://gate.test/web/invite/T0K --ca-pin={PIN}

and then:

  tgsh login --proxy=gate.test:443 --user=alice --ca-pin={PIN}
""",
        )

    def test_without_a_public_address(self) -> None:
        """Where nobody has said how the gateway is called, the text says what is missing."""
        answer = {**INVITED, "invite": {**INVITED["invite"], "url": None}, "proxy": None}
        result = run(
            "users", "reset", "a/b", door=TableDoor({"POST /v1/users/a%2Fb/reset": answer})
        )
        self.assertIn("  https://PROXY/web/invite/T0K\n", result.stdout)
        self.assertIn("proxy_service.public_addr", result.stdout)

    def test_bad_options(self) -> None:
        """Roles are needed, and a life is a duration."""
        for words in (("users", "add", "a"), ("users", "add", "a", "--roles=b", "--ttl=soon")):
            self.assertEqual(run(*words).exit_code, 2)


class ListTests(SynchronousTestCase):
    """Tests for `tgctl users ls`, `update` and `rm`."""

    def test_ls(self) -> None:
        """A line a user, every page of them."""

        def pages(query: dict[str, str], _: object) -> object:
            last = query.get("after")
            user = {"metadata": {"name": "bob" if last else "alice"}, "spec": {"roles": ["access"]}}
            return {"items": [user], "next": None if last else "alice"}

        result = run("users", "ls", door=TableDoor({"GET /v1/resources/user": pages}))
        self.assertEqual(
            result.stdout.splitlines(),
            ["USER   ROLES   LOGINS", "alice  access  -", "bob    access  -"],
        )

    def test_update(self) -> None:
        """What is named changes, the rest stays, and the revision goes along."""
        door = TableDoor(
            {
                "GET /v1/resources/user/alice": ALICE,
                "PUT /v1/resources/user/alice": lambda _, body: body,
            }
        )
        result = run(
            *("users", "update", "alice", "--set-roles=editor", "--set-logins=a,b"),
            "--set-db-users=",
            door=door,
        )
        self.assertEqual((result.exit_code, result.stdout), (0, "user alice is changed\n"))
        spec = {"roles": ["editor"], "traits": {"logins": ["a", "b"]}}
        self.assertEqual(door.bodies[-1], {**ALICE, "spec": spec})
        self.assertEqual(door.asked[-1][1], {})

    def test_changed_meanwhile(self) -> None:
        """Somebody else's change is not lost: the cluster's sentence says what to do."""
        words = str(Conflict("users/alice"))
        door = TableDoor(
            {
                "GET /v1/resources/user/alice": ALICE,
                "PUT /v1/resources/user/alice": DaemonSaid("conflict", Fault.CLIENT, words),
            }
        )
        result = run("users", "update", "alice", "--set-roles=x", door=door)
        self.assertEqual((result.exit_code, result.stderr), (1, f"tgctl: {words}\n"))
        self.assertEqual(run("users", "update", "alice", door=door).exit_code, 2)

    def test_rm(self) -> None:
        """Several at once, with commas or spaces."""
        table = {
            f"DELETE /v1/resources/user/{name}": {"kind": "user", "name": name} for name in "abc"
        }
        door = TableDoor(table)
        result = run("users", "rm", "a,b", "c", door=door)
        self.assertEqual(result.stdout, "user a is removed\nuser b is removed\nuser c is removed\n")
        self.assertEqual(sorted(command.commands), ["add", "ls", "reset", "rm", "update"])
