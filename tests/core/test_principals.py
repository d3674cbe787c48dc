"""Tests for the lines of AuthorizedPrincipals files."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core import principals as core_principals
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.locks import Lock, LockTable
from tlsgate.core.principals import Admission, Admissions, is_principal, next_change
from tlsgate.core.roles import (
    Conditions,
    Options,
    Person,
    Role,
    Target,
    allowed_logins,
    unreadable,
)
from tlsgate.core.templates import Traits

#: An end, as sshd reads it.
SOON = "19700101000100Z"
NODE = {"env": "prod", "team": "db"}
PROD = {"env": ("prod",)}

ACCESS = Role(name="access", allow=Conditions(node_labels=PROD, logins=("root", "deploy")))
OWN = Role(name="own", allow=Conditions(node_labels=PROD, logins=("{{internal.logins}}",)))
TEAM = Role(
    name="team",
    allow=Conditions(node_labels={"team": ("{{external.teams}}",)}, logins=("ops",)),
)
STAGING = Role(name="staging", allow=Conditions(node_labels={"env": ("stage",)}, logins=("root",)))
NO_ROOT = Role(name="no-root", deny=Conditions(logins=("root",)))
NO_SOME = Role(name="no-some", deny=Conditions(logins=("de*", "{{internal.logins}}")))
NO_PROD = Role(name="no-prod", deny=Conditions(node_labels=PROD))
NOT_MINE = Role(name="not-mine", deny=Conditions(node_labels={"team": ("{{external.not}}",)}))
ROLES = (ACCESS, OWN, TEAM, STAGING, NO_ROOT, NO_SOME, NO_PROD, NOT_MINE, unreadable("broken"))


def state(
    *people: Person, locks: Sequence[Lock] = (), strict: bool = False, more: Sequence[Role] = ()
) -> ClusterState:
    """A cluster with these people."""
    return ClusterState(
        revision=1,
        cluster="gate.example.com",
        authorities={},
        anchors={},
        roles={role.name: role for role in (*ROLES, *more)},
        unreadable={},
        locks=LockTable(locks),
        networking={},
        strict_locks=strict,
        people={person.name: person for person in people},
    )


def lock(expires: float | None = None, **target: str) -> Lock:
    """A lock on *target*."""
    return Lock(name="-".join(target.values()), target=target, expires=expires)


ALICE = Person("alice", ("access",))
BOB = Person("bob", ("own",), {"logins": ("bob", "-x", "root")})


def principals(
    state: ClusterState, node: str, labels: Mapping[str, str], now: float
) -> dict[str, tuple[str, ...]]:
    """The names of those who may log in, by login."""
    admissions = Admissions(state, node, labels, now)
    found: dict[str, tuple[str, ...]] = {}
    for one in filter(None, map(admissions.of, admissions.people)):
        for login in one.logins:
            found[login] = (*found.get(login, ()), one.name)
    return found


class PrincipalsTests(SynchronousTestCase):
    """Tests for `Admissions`: who gets in."""

    def test_by_login(self) -> None:
        """Each login has the names of those who may log in with it."""
        self.assertEqual(
            principals(state(ALICE, BOB), "db1", NODE, 0.0),
            {"bob": ("bob",), "deploy": ("alice",), "root": ("alice", "bob")},
        )

    def test_labels(self) -> None:
        """Where the node's labels are others, nobody has a line."""
        self.assertEqual(principals(state(ALICE, BOB), "db1", {"env": "stage"}, 0.0), {})

    def test_nobody_is_told_of(self) -> None:
        """An auth service that tells of no users lets nobody in."""
        known = evolve(state(ALICE), people=None)
        self.assertEqual(principals(known, "db1", NODE, 0.0), {})

    def test_deny_wins(self) -> None:
        """One deny is enough: of a login for that, of labels or a broken role for all."""
        for more, want in (
            ("no-root", {"deploy": ("alice",)}),
            ("no-prod", {}),
            ("broken", {}),
            ("unknown", {"deploy": ("alice",), "root": ("alice",)}),
        ):
            who = evolve(ALICE, roles=("access", more))
            self.assertEqual(principals(state(who), "db1", NODE, 0.0), want, more)

    def test_labels_by_traits(self) -> None:
        """Selectors may depend on the person, on both sides."""
        roles = ("access", "team", "not-mine")
        carol = Person("carol", roles, {"teams": ("db",)})
        dave = Person("dave", roles, {"teams": ("web",)})
        erin = Person("erin", roles, {"teams": ("db",), "not": ("db",)})
        self.assertEqual(
            principals(state(carol, dave, erin), "db1", NODE, 0.0),
            {"deploy": ("carol", "dave"), "ops": ("carol",), "root": ("carol", "dave")},
        )

    def test_locks(self) -> None:
        """Who is locked by name, role, login or node is out until the lock ends."""
        both = {"deploy": ("alice",), "root": ("alice",)}
        for one, want in (
            (lock(user="alice"), {}),
            (lock(user="alice", expires=9.0), both),
            (lock(user="alice", expires=11.0), {}),
            (lock(user="bob"), both),
            (lock(role="access"), {}),
            (lock(agent="db1"), {}),
            (lock(agent="db2"), both),
            (lock(agent="db1.node.gate.example.com"), {}),
            (lock(agent="db1.db.gate.example.com"), both),
            (lock(agent="db1", user="alice"), {}),
            (lock(agent="db1", user="bob"), both),
            (lock(login="root"), {"deploy": ("alice",)}),
            (lock(login="root", user="alice", agent="db1"), {"deploy": ("alice",)}),
            (lock(login="root", user="bob"), both),
        ):
            found = principals(state(ALICE, locks=[one]), "db1", NODE, 10.0)
            self.assertEqual(found, want, str(one))
        all_logins = [lock(login="root"), lock(login="deploy")]
        self.assertEqual(principals(state(ALICE, locks=all_logins), "db1", NODE, 10.0), {})

    def test_names(self) -> None:
        """A name that sshd could read as something else has no line."""
        for name in ("alice", "alice@example.com", "Zoë", "a" * 256):
            self.assertTrue(is_principal(name), name)
        for name in ("", "a b", "a\tb", "a\nb", "a#b", "a,b", "*", "a\x00", "a" * 257, "a\u2028b"):
            self.assertFalse(is_principal(name), name)
        self.assertEqual(principals(state(evolve(ALICE, name="a b")), "db1", NODE, 0.0), {})

    def test_same_as_roles(self) -> None:
        """It answers what `allowed_logins` does, whatever the roles and traits."""
        chance = random.Random(4)
        traits: tuple[Traits, ...] = (
            {},
            {"logins": ("u1", "root"), "teams": ("db",), "not": ("db", "x")},
        )
        sets = [
            tuple(role.name for role in chosen)
            for count in range(4)
            for chosen in itertools.permutations(ROLES, count)
        ]
        people = [
            Person(f"u{number}", roles, chance.choice(traits)) for number, roles in enumerate(sets)
        ]
        known = state(*people)
        for labels in (NODE, {}, {"env": "stage", "team": "x"}):
            node = Target(kind="node", name="db1", labels=labels)
            want: dict[str, list[str]] = {}
            for person in people:
                for login in allowed_logins(ROLES, person, node):
                    want.setdefault(login, []).append(person.name)
            found = principals(known, "db1", labels, 0.0)
            self.assertEqual(found, {login: tuple(sorted(who)) for login, who in want.items()})


class AdmissionsTests(SynchronousTestCase):
    """Tests for lines and their options."""

    def options(self, fresh: bool = True, until: str = SOON, **said: Any) -> str | None:
        """What stands before the name of one whose role says so; None: there is no line."""
        role = evolve(ACCESS, name="said", options=Options(**said))
        who = evolve(ALICE, roles=("said",))
        known = state(who, more=[role])
        found = Admissions(known, "db1", NODE, 0.0, fresh=fresh, until=until).of(who)
        return None if found is None else found.options

    def test_forwarding(self) -> None:
        """What a role does not permit now, no certificate of before permits either."""
        self.assertEqual(self.options(), "restrict,pty,port-forwarding")
        self.assertEqual(self.options(port_forwarding=False), "restrict,pty")
        self.assertEqual(
            self.options(forward_agent=True), "restrict,pty,port-forwarding,agent-forwarding"
        )

    def test_strict(self) -> None:
        """Where locks are strict lines end by themselves, and old knowledge lets nobody in."""
        ends = f'restrict,pty,port-forwarding,expiry-time="{SOON}"'
        self.assertEqual(self.options(strict_locks=True), ends)
        self.assertEqual(self.options(strict_locks=True, until=""), self.options())
        self.assertEqual(self.options(strict_locks=True, fresh=False), None)
        self.assertEqual(self.options(fresh=False), self.options())
        known = state(ALICE, strict=True)
        self.assertIsNone(Admissions(known, "db1", NODE, 0.0, fresh=False).of(ALICE))
        found = Admissions(known, "db1", NODE, 0.0, until=SOON).of(ALICE)
        self.assertEqual(found, Admission(name="alice", logins=("deploy", "root"), options=ends))

    def test_before(self) -> None:
        """What was found out of roles is used again, as long as roles and labels are the same."""
        first = state(ALICE)
        one = Admissions(first, "db1", NODE, 0.0)
        want = one.of(ALICE)
        assert want is not None
        later = evolve(first, locks=LockTable([lock(login="root")]))
        two = Admissions(later, "db1", NODE, 0.0, before=one)
        self.assertEqual(two.of(ALICE), evolve(want, logins=("deploy",)))
        self.assertIs(two._held, one._held)
        self.assertIsNone(Admissions(first, "db1", {}, 0.0, before=one).of(ALICE))
        other = evolve(first, roles={"access": STAGING})
        self.assertIsNone(Admissions(other, "db1", NODE, 0.0, before=one).of(ALICE))

    def test_bounded(self) -> None:
        """What is remembered of sets of roles has an end."""
        self.patch(core_principals, "_SETS", 1)
        self.assertEqual(
            principals(state(ALICE, evolve(BOB, roles=("own", "x")), BOB), "db1", NODE, 0.0),
            {"bob": ("bob",), "deploy": ("alice",), "root": ("alice", "bob")},
        )

    def test_line(self) -> None:
        """The line of a file is the options and the name."""
        one = Admission(name="bob", logins=("root",), options="restrict")
        self.assertEqual(one.line, "restrict bob")

    def test_next_change(self) -> None:
        """The next end of a lock is when somebody may come back."""
        locks = [lock(user="a", expires=5.0), lock(user="b", expires=20.0), lock(user="c")]
        self.assertEqual(next_change(state(locks=locks), 10.0), 20.0)
        self.assertIsNone(next_change(state(locks=locks), 20.0))
