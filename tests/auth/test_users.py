"""Tests for `tlsgate.auth.users`."""

from __future__ import annotations

import json
from typing import Any

from tests.auth.people import HOME, PASSWORD, AuthTestCase
from tlsgate.core.keeping import Put
from tlsgate.core.roles import Person
from tlsgate.errors import (
    BadResource,
    Exists,
    LockedOut,
    LoginFailed,
    NoSuch,
    WeakPassword,
)

WRONG = "not the right one"
NEW = "a different password"


class ResourceTests(AuthTestCase):
    """Users as a resource."""

    def kept(self, name: str = "alice") -> Any:
        item = self.run_now(self.store.get(f"users/{name}"))
        return None if item is None else json.loads(item.value)

    def test_a_user_is_a_resource_without_secrets(self) -> None:
        """What lists show has roles and traits, and nothing that lets in."""
        self.run_now(self.users.add("alice", ["access"], {"logins": ["alice", "root"], "x": []}))
        self.assertEqual(
            self.kept(),
            {
                "kind": "user",
                "version": "v2",
                "metadata": {"name": "alice"},
                "spec": {"roles": ["access"], "traits": {"logins": ["alice", "root"]}},
            },
        )
        self.assertEqual(
            self.run_now(self.users.get("alice")),
            Person("alice", ("access",), {"logins": ("alice", "root")}),
        )
        self.assertIsNone(self.run_now(self.users.get("bob")))
        self.assertIsNone(self.run_now(self.users.get("../x")))

    def test_a_name_is_taken_once(self) -> None:
        """A second user of the name is refused, and the first one's link stays good."""
        invite = self.run_now(self.users.add("alice", ["access"]))
        self.fails(Exists, self.users.add("alice", ["editor"]))
        self.assertEqual(self.run_now(self.users.begin_invite(invite.token)).user, "alice")

    def test_what_cannot_be_a_user(self) -> None:
        """Names, roles and traits are bounded; each problem is named with its path."""
        names = ("", ".x", "-x", "a b", "a/b", "é", "x" * 65, "a\n", "a\0", "\uff21")
        for name in names:
            error = self.fails(BadResource, self.users.add(name, ["access"]))
            self.assertEqual([path for path, _ in error.problems], ["metadata.name"])
        bad: tuple[tuple[str, list[str], Any], ...] = (
            ("spec.roles", [], {}),
            ("spec.roles", ["access"] * 65, {}),
            ("spec.roles", ["nothing"], {}),
            ("spec.roles", ["../x"], {}),
            ("spec.traits", ["access"], {"": ["x"]}),
            ("spec.traits", ["access"], {"logins": ["x" * 257]}),
            ("spec.traits", ["access"], {"logins": [""]}),
            ("spec.traits", ["access"], {str(n): ["x"] for n in range(65)}),
        )
        for path, roles, traits in bad:
            error = self.fails(BadResource, self.users.add("alice", roles, traits))
            self.assertEqual([found for found, _ in error.problems], [path])
        for name in ("a", "A.b_c@d+e-f", "7", "x" * 64):
            self.run_now(self.users.add(name, ["access"]))

    def test_an_update_changes_what_it_names(self) -> None:
        """Roles as a whole, traits one by one; what others keep in the resource stays."""
        self.run_now(self.users.add("alice", ["access"], {"logins": ["a"], "db_users": ["b"]}))
        whole = self.kept()
        whole["metadata"]["labels"] = {"team": "x"}
        self.run_now(self.store.commit([Put("users/alice", json.dumps(whole).encode())]))
        person = self.run_now(
            self.users.update("alice", roles=["editor"], traits={"logins": ["c"], "db_users": []})
        )
        self.assertEqual(person, Person("alice", ("editor",), {"logins": ("c",)}))
        self.assertEqual(self.kept()["metadata"]["labels"], {"team": "x"})
        self.assertEqual(self.run_now(self.users.get("alice")), person)
        self.fails(NoSuch, self.users.update("bob", roles=["access"]))
        self.fails(BadResource, self.users.update("alice", roles=["nothing"]))

    def test_a_removed_user_leaves_nothing(self) -> None:
        """Resource, secrets, link and sessions go together."""
        self.make_user()
        self.run_now(self.users.reset("alice"))
        session = self.run_now(self.sessions.make("alice", HOME))
        self.run_now(self.users.remove("alice"))
        keys = [item.key for item in self.run_now(self.store.scan(""))]
        self.assertEqual([key for key in keys if "alice" in key or "invites" in key], [])
        self.assertIsNone(self.run_now(self.sessions.find(session.cookie)))
        self.fails(NoSuch, self.users.remove("alice"))
        self.fails(NoSuch, self.users.devices("alice"))


class ChangePasswordTests(AuthTestCase):
    """A user changes the password."""

    def change(self, old: str, new: str, code: str | None) -> Any:
        return self.users.change_password("alice", old, new, code, HOME)

    def test_the_old_one_and_a_code_are_asked_for(self) -> None:
        """What proves a login proves this, and web sessions end with it."""
        secret = self.make_user()
        session = self.run_now(self.sessions.make("alice", HOME))
        self.fails(LoginFailed, self.change(WRONG, NEW, self.code(secret)))
        self.fails(LoginFailed, self.change(PASSWORD, NEW, None))
        self.assertIsNotNone(self.run_now(self.sessions.find(session.cookie)))
        self.run_now(self.change(PASSWORD, NEW, self.code(secret)))
        self.assertIsNone(self.run_now(self.sessions.find(session.cookie)))
        self.seconds += 30
        self.fails(LoginFailed, self.users.check("alice", PASSWORD, self.code(secret), HOME))
        self.run_now(self.users.check("alice", NEW, self.code(secret), HOME))
        changes = [
            f["success"] for event, f in self.audit.events if event == "user.password_change"
        ]
        self.assertEqual(changes, [False, False, True])

    def test_a_weak_one_is_refused_before_anything_is_counted(self) -> None:
        """The user may choose again with the same code."""
        secret = self.make_user()
        self.fails(WeakPassword, self.change(PASSWORD, "short", self.code(secret)))
        self.assertEqual(self.hashes, [])
        self.run_now(self.change(PASSWORD, NEW, self.code(secret)))

    def test_a_new_second_factor(self) -> None:
        """Who proves to be it gets a link; until that is used all stays as it was."""
        secret = self.make_user()
        self.fails(LoginFailed, self.users.renew("alice", WRONG, self.code(secret), HOME))
        self.fails(LoginFailed, self.users.renew("alice", PASSWORD, None, HOME))
        link = self.run_now(
            self.users.renew("alice", PASSWORD, self.code(secret), HOME, ttl_seconds=900.0)
        )
        self.seconds += 30
        self.run_now(self.users.check("alice", PASSWORD, self.code(secret), HOME))
        begun = self.run_now(self.users.begin_invite(link.token))
        self.assertEqual((begun.user, begun.kind), ("alice", "reset"))
        made = [f for event, f in self.audit.events if event == "reset_password_token.create"]
        self.assertEqual([one["success"] for one in made], [False, False, True])
        self.assertNotIn(link.token, repr(self.audit.events))

    def test_guesses_of_the_old_one_are_slowed_down(self) -> None:
        """A stolen session is no way around the waits of the login."""
        secret = self.make_user()
        for _ in range(5):
            self.fails(LoginFailed, self.change(WRONG, NEW, self.code(secret)))
        self.fails(LockedOut, self.change(PASSWORD, NEW, self.code(secret)))
        self.fails(LockedOut, self.users.check("alice", PASSWORD, self.code(secret), HOME))
