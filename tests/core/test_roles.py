"""Tests for `tlsgate.core.roles`.

One file, though a long one: decisions, their reasons and what they hide are tried on the same
roles.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import sized
from tlsgate.core.access import Decision
from tlsgate.core.labels import EVERYTHING
from tlsgate.core.roles import (
    Conditions,
    Options,
    Person,
    Role,
    Rule,
    Target,
    allowed_logins,
    audits_queries,
    decide_target,
    decide_verb,
    effective,
    granted,
    parse_role,
    unreadable,
)

T = TypeVar("T")

ACCESS = Role(
    name="access",
    allow=Conditions(
        logins=("{{internal.logins}}",),
        node_labels=EVERYTHING,
        db_labels={"env": ("dev", "prod")},
        db_users=("app-*",),
        db_names=("*",),
        app_labels=EVERYTHING,
        kubernetes_labels=EVERYTHING,
        kubernetes_users=("alice",),
        kubernetes_groups=("viewers", "{{external.groups}}"),
    ),
)
PROD = Role(name="prod", allow=Conditions(logins=("root",), node_labels={"env": ("prod",)}))
NO_ROOT = Role(name="no-root", deny=Conditions(logins=("ro*",)))
NO_PROD = Role(
    name="no-prod",
    deny=Conditions(
        node_labels={"env": ("prod",), "team": ("*",)},
        db_names=("secret",),
        kubernetes_groups=("system:*",),
        rules=(Rule(("role",), ("readnosecrets",)),),
    ),
)
EDITOR = Role(
    name="editor",
    allow=Conditions(rules=(Rule(("user", "role"), ("list", "read")), Rule(("token",), ("*",)))),
)
ROLES = (ACCESS, PROD, NO_ROOT, NO_PROD, EDITOR)
NODE = Target(kind="node", name="n1", labels={"env": "prod"})
DB = Target(kind="db", name="d1", labels={"env": "prod"})
KUBE = Target(kind="kube", name="k1")


def person(*roles: str, **traits: tuple[str, ...]) -> Person:
    """Alice with those roles and traits."""
    return Person("alice", roles, traits)


class TargetTests(SynchronousTestCase):
    """Tests for `decide_target`."""

    def check(self, who: Person, target: Target, allowed: bool, why: str) -> None:
        self.assertEqual(decide_target(ROLES, who, target), Decision(allowed, why))

    def test_labels(self) -> None:
        """Without a login, labels decide alone."""
        self.check(person("access"), NODE, True, "role access: allow.node_labels *=*")
        self.check(person("prod"), NODE, True, "role prod: allow.node_labels env=prod")

    def test_login(self) -> None:
        """A login has to be allowed by the role whose labels match."""
        alice = person("access", "prod", logins=("alice",))
        self.check(
            alice,
            evolve(NODE, login="alice"),
            True,
            "role access: allow.node_labels *=*, allow.logins 'alice' by {{internal.logins}}",
        )
        self.check(
            alice,
            evolve(NODE, login="root"),
            True,
            "role prod: allow.node_labels env=prod, allow.logins root",
        )
        self.check(
            alice,
            evolve(NODE, login="bob"),
            False,
            "no role of alice allows it as asked: role access: allow.node_labels *=*, "
            "but allow.logins has no 'bob'",
        )

    def test_two_roles_do_not_add_up(self) -> None:
        """The login of one role and the labels of another are no permission."""
        target = evolve(NODE, labels={"env": "dev"}, login="root")
        decision = decide_target(ROLES, person("access", "prod"), target)
        self.assertFalse(decision.allowed)

    def test_deny_wins(self) -> None:
        """A login that is denied is denied wherever it is allowed, and the rule is named."""
        self.check(
            person("prod", "no-root"),
            evolve(NODE, login="root"),
            False,
            "role no-root: deny.logins 'root' by ro*",
        )

    def test_denied_labels(self) -> None:
        """Labels deny only when all keys match, and then for every login."""
        alice = person("access", "no-prod", logins=("alice",))
        self.assertTrue(decide_target(ROLES, alice, NODE).allowed)
        self.check(
            alice,
            evolve(NODE, labels={"env": "prod", "team": "x"}, login="alice"),
            False,
            "role no-prod: deny.node_labels env=prod, team=*",
        )

    def test_roles_that_are_not_held(self) -> None:
        """Only roles that the person holds count, whatever else the caller has."""
        self.check(person("gone"), NODE, False,
                   "no role of alice allows node 'n1' (there are no roles)")  # fmt: skip
        self.check(person("editor", "no-root"), NODE, False,
                   "no role of alice allows node 'n1' (editor, no-root)")  # fmt: skip
        self.assertFalse(decide_target((), person("access"), NODE).allowed)

    def test_empty_labels_are_nothing(self) -> None:
        """A role without labels reaches nothing, a node without labels too."""
        role = Role(name="r", allow=Conditions(logins=("root",)))
        target = Target(kind="node", name="n", login="root")
        self.assertFalse(decide_target((role,), person("r"), target).allowed)

    def test_login_that_is_none(self) -> None:
        """A trait cannot give a login that is a path."""
        who = person("access", logins=("../root",))
        self.assertFalse(decide_target(ROLES, who, evolve(NODE, login="../root")).allowed)

    def test_database(self) -> None:
        """A database asks for labels, user and name, each where it is said."""
        alice = person("access", "no-prod")
        self.check(
            alice,
            evolve(DB, db_user="app-1", db_name="orders"),
            True,
            "role access: allow.db_labels env=prod, allow.db_users 'app-1' by app-*, "
            "allow.db_names 'orders' by *",
        )
        self.check(alice, evolve(DB, db_user="postgres"), False,
                   "no role of alice allows it as asked: role access: allow.db_labels env=prod, "
                   "but allow.db_users has no 'postgres'")  # fmt: skip
        self.check(alice, evolve(DB, db_name="secret"), False,
                   "role no-prod: deny.db_names secret")  # fmt: skip

    def test_nearest(self) -> None:
        """A refusal names the role that lacks the least, whatever the names of roles are."""
        far = Role(
            name="a", allow=Conditions(db_labels=EVERYTHING, db_users=("x",), db_names=("x",))
        )
        near = Role(
            name="b", allow=Conditions(db_labels=EVERYTHING, db_users=("app",), db_names=("x",))
        )
        decision = decide_target(
            (far, near), person("a", "b"), evolve(DB, db_user="app", db_name="app")
        )
        self.assertIn("role b: allow.db_labels *=*, but allow.db_names has no 'app'", decision.why)

    def test_app(self) -> None:
        """An application asks for labels only."""
        target = Target(kind="app", name="wiki")
        self.check(person("access"), target, True, "role access: allow.app_labels *=*")

    def test_kubernetes(self) -> None:
        """A cluster asks for labels, the user and every group."""
        alice = person("access", groups=("ops", "system:masters"))
        self.check(
            alice,
            evolve(KUBE, kube_user="alice", kube_groups=("viewers", "ops")),
            True,
            "role access: allow.kubernetes_labels *=*, allow.kubernetes_users alice, "
            "allow.kubernetes_groups 'ops' by {{external.groups}}, "
            "allow.kubernetes_groups viewers",
        )
        self.assertFalse(
            decide_target(ROLES, alice, evolve(KUBE, kube_groups=("viewers", "root"))).allowed
        )
        self.check(
            evolve(alice, roles=("access", "no-prod")),
            evolve(KUBE, kube_groups=("system:masters",)),
            False,
            "role no-prod: deny.kubernetes_groups 'system:masters' by system:*",
        )


class VerbTests(SynchronousTestCase):
    """Tests for `decide_verb`."""

    def test_verbs(self) -> None:
        """A rule allows its verbs on its kinds; who may read may read without secrets."""
        alice = person("editor")
        wanted = {
            ("user", "list"): Decision(True, "role editor: allow.rules user: list"),
            ("user", "readnosecrets"): Decision(True, "role editor: allow.rules user: read"),
            ("token", "delete"): Decision(True, "role editor: allow.rules token: *"),
            ("user", "delete"): Decision(False, "no role of alice allows delete on user (editor)"),
            ("lock", "list"): Decision(False, "no role of alice allows list on lock (editor)"),
        }
        self.assertEqual({ask: decide_verb(ROLES, alice, *ask) for ask in wanted}, wanted)

    def test_deny(self) -> None:
        """Who may not read without secrets may not read with them."""
        alice = person("editor", "no-prod")
        why = "role no-prod: deny.rules role: readnosecrets"
        for verb in ("read", "readnosecrets"):
            self.assertEqual(decide_verb(ROLES, alice, "role", verb), Decision(False, why))
        self.assertTrue(decide_verb(ROLES, alice, "role", "list").allowed)

    def test_nobody(self) -> None:
        """Without roles there is nothing."""
        self.assertEqual(
            decide_verb(ROLES, person(), "user", "list"),
            Decision(False, "no role of alice allows list on user (there are no roles)"),
        )

    def test_unreadable(self) -> None:
        """Who holds a role that could not be read may do nothing, whatever the others allow."""
        roles = (*ROLES, unreadable("broken"))
        alice = person("access", "editor", "broken", logins=("alice",))
        for target in (NODE, DB, KUBE, Target(kind="app", name="x")):
            self.assertFalse(decide_target(roles, alice, target).allowed)
        self.assertFalse(decide_verb(roles, alice, "user", "list").allowed)
        self.assertEqual(allowed_logins(roles, alice), ())


class GrantedTests(SynchronousTestCase):
    """Tests for `allowed_logins` and `granted`."""

    def test_logins(self) -> None:
        """All that allow gives and no deny takes, without what is no login."""
        alice = person("access", "prod", logins=("alice", "robot", "a/b"))
        self.assertEqual(allowed_logins(ROLES, alice), ("alice", "robot", "root"))
        without = evolve(alice, roles=("access", "prod", "no-root"))
        self.assertEqual(allowed_logins(ROLES, without), ("alice",))

    def test_logins_of_a_node(self) -> None:
        """On a node, the logins of roles whose labels match it."""
        alice = person("access", "prod", logins=("alice",))
        self.assertEqual(allowed_logins(ROLES, alice, NODE), ("alice", "root"))
        dev = evolve(NODE, labels={"env": "dev"})
        self.assertEqual(allowed_logins(ROLES, alice, dev), ("alice",))

    def test_granted(self) -> None:
        """Other lists are given the same way; patterns stay patterns."""
        alice = person("access", "no-prod", groups=("system:masters", "ops"))
        self.assertEqual(granted(ROLES, alice, "kubernetes_groups"), ("ops", "viewers"))
        self.assertEqual(granted(ROLES, alice, "db_users"), ("app-*",))


class EffectiveTests(SynchronousTestCase):
    """Tests for `effective`."""

    def test_strictest(self) -> None:
        """Of several roles the strictest option counts."""
        strict = Options(
            max_session_seconds=60.0,
            client_idle_seconds=30.0,
            disconnect_expired_cert=True,
            pin_source_ip=True,
            port_forwarding=False,
            forward_agent=False,
            strict_locks=True,
            audit_queries=True,
        )
        lax = Options(
            max_session_seconds=1e6,
            client_idle_seconds=60.0,
            port_forwarding=True,
            forward_agent=True,
        )
        roles = [Role(name="a", options=lax), Role(name="b", options=strict), Role(name="c")]
        for order in (roles, roles[::-1]):
            self.assertEqual(effective(order), strict)
        self.assertEqual(
            effective([Role(name="a", options=lax), Role(name="c")]),
            evolve(lax, max_session_seconds=30 * 3600.0),
        )

    def test_silence(self) -> None:
        """Where no role speaks, ports may be forwarded, the agent not, and idle is no end."""
        wanted = Options(port_forwarding=True, forward_agent=False)
        self.assertEqual(effective([]), wanted)
        self.assertEqual(effective([Role(name="a")]), wanted)


class AuditsQueriesTests(SynchronousTestCase):
    """Tests for `audits_queries`."""

    def test_by_labels(self) -> None:
        """A role that the person holds and whose labels allow the database is enough."""
        prod = Conditions(db_labels={"env": ("prod",)}, db_users=("app",))
        roles = [
            Role(name="a", allow=prod, options=Options(audit_queries=True)),
            Role(name="b", allow=Conditions(db_labels=EVERYTHING, db_users=("*",))),
        ]
        alice, bob = Person("alice", ("a", "b")), Person("bob", ("b",))
        there = Target(kind="db", name="orders", labels={"env": "prod"}, db_user="other")
        self.assertTrue(audits_queries(roles, alice, there))
        self.assertFalse(audits_queries(roles, bob, there))
        self.assertFalse(audits_queries(roles, alice, evolve(there, labels={"env": "dev"})))
        self.assertFalse(audits_queries(roles, alice, evolve(there, kind="app")))


class Cases:
    """Roles, people and targets that overlap much, from one seed."""

    WORDS = ("root", "alice", "db", "{{internal.logins}}", "{{external.none}}")
    PATTERNS = (*WORDS, "*", "r*", "^(root|alice)$", "^a.*$")
    VALUES = ("prod", "dev", "*", "p*", "^(prod|dev)$", "{{internal.env}}")

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def some(self, among: Sequence[str], most: int) -> tuple[str, ...]:
        return tuple(self.chance.sample(among, self.chance.randint(0, most)))

    def selector(self) -> dict[str, tuple[str, ...]]:
        if self.chance.random() < 0.3:
            return {"*": ("*",)} if self.chance.random() < 0.5 else {}
        keys = self.some(("env", "team", "zone"), 2)
        return {key: self.some(self.VALUES, 3) for key in keys}

    def conditions(self, words: Sequence[str]) -> Conditions:
        return Conditions(
            logins=self.some(words, 3),
            node_labels=self.selector(),
            db_labels=self.selector(),
            db_users=self.some(self.PATTERNS, 2),
            db_names=self.some(self.PATTERNS, 2),
            rules=tuple(
                Rule(
                    self.some(("user", "role", "*"), 2),
                    self.some(("list", "read", "readnosecrets", "*"), 2),
                )
                for _ in range(self.chance.randint(0, 2))
            ),
        )

    def roles(self) -> list[Role]:
        names = self.chance.sample("abcdef", self.chance.randint(1, 4))
        return [
            Role(
                name=name,
                allow=self.conditions(self.WORDS),
                deny=self.conditions(self.PATTERNS) if self.chance.random() < 0.3 else Conditions(),
                options=Options(
                    max_session_seconds=float(self.chance.randint(60, 63)),
                    client_idle_seconds=self.chance.choice((None, 1.0, 2.0)),
                    pin_source_ip=self.chance.random() < 0.5,
                    forward_agent=self.chance.choice((None, True, False)),
                ),
            )
            for name in names
        ]

    def person(self, roles: Sequence[Role]) -> Person:
        names = [*(role.name for role in roles if self.chance.random() < 0.9), "none"]
        traits = {"logins": self.some(("alice", "db", "root"), 2), "env": self.some(("prod",), 1)}
        return Person("p", tuple(names), traits)

    def target(self) -> Target:
        labels = {
            key: self.chance.choice(("prod", "dev", "web")) for key in self.some(("env", "team"), 2)
        }
        login = self.chance.choice((None, "root", "alice", "db"))
        if self.chance.random() < 0.7:
            return Target(kind="node", name="t", labels=labels, login=login)
        return Target(kind="db", name="t", labels=labels, db_user=login, db_name="db")

    def shuffled(self, words: tuple[T, ...]) -> tuple[T, ...]:
        """Turned and cut: every order of up to three, and quicker than `sample`."""
        if len(words) < 2:
            return words
        cut = int(self.chance.random() * 2 * len(words))
        if cut >= len(words):
            words, cut = words[::-1], cut - len(words)
        return words[cut:] + words[:cut]

    def turned(self, one: Conditions) -> Conditions:
        """The same conditions in another order at every level."""

        def selector(of: object) -> dict[str, tuple[str, ...]]:
            assert isinstance(of, dict)
            return {key: self.shuffled(of[key]) for key in self.shuffled((*of,))}

        return Conditions(
            logins=self.shuffled(one.logins),
            node_labels=selector(one.node_labels),
            db_labels=selector(one.db_labels),
            db_users=self.shuffled(one.db_users),
            db_names=self.shuffled(one.db_names),
            rules=tuple(
                Rule(self.shuffled(rule.resources), self.shuffled(rule.verbs))
                for rule in self.shuffled(one.rules)
            ),
        )

    def permuted(self, roles: Sequence[Role]) -> list[Role]:
        return [
            Role(
                name=role.name,
                allow=self.turned(role.allow),
                deny=self.turned(role.deny),
                options=role.options,
            )
            for role in self.chance.sample(roles, len(roles))
        ]


class OrderTests(SynchronousTestCase):
    """Order is nothing."""

    def test_s54_order_is_nothing(self) -> None:
        """S54: permuting roles, rules, labels and words changes no answer and no word of it."""
        cases = Cases(54)
        permutations = 50
        outcomes = set()
        for _ in range(sized(10_000, 100_000) // permutations):
            roles = cases.roles()
            who, target = cases.person(roles), cases.target()
            kind, verb = (
                cases.chance.choice(("user", "role")),
                cases.chance.choice(("list", "read")),
            )
            wanted = (decide_target(roles, who, target), decide_verb(roles, who, kind, verb))
            options, logins = effective(roles), allowed_logins(roles, who)
            outcomes.add((wanted[0].allowed, wanted[1].allowed, wanted[0].why[:9]))
            for _ in range(permutations):
                other = cases.permuted(roles)
                whose = evolve(who, roles=cases.shuffled(who.roles))
                found = (decide_target(other, whose, target), decide_verb(other, whose, kind, verb))
                self.assertEqual(found, wanted)
            self.assertEqual(effective(other), options)
            self.assertEqual(allowed_logins(other, whose), logins)
        # Every outcome was among them, or the permutations have shown nothing.
        self.assertEqual({pair[:2] for pair in outcomes},
                         {(a, b) for a in (True, False) for b in (True, False)})  # fmt: skip

    def test_more_roles_never_allow_what_is_denied(self) -> None:
        """A denial by a rule stays one, however many roles are added."""
        cases = Cases(7)
        seen = 0
        for _ in range(500):
            roles = cases.roles()
            who, target = cases.person(roles), cases.target()
            decision = decide_target(roles, who, target)
            if ": deny." in decision.why:
                seen += 1
                more = [*roles, evolve(ACCESS, name="more")]
                whose = evolve(who, roles=(*who.roles, "more"))
                self.assertFalse(decide_target(more, whose, target).allowed)
        self.assertGreater(seen, 20)

    def test_allow_adds_and_deny_takes(self) -> None:
        """A role that only allows takes nothing away, and one that only denies gives nothing."""
        cases = Cases(8)
        for _ in range(500):
            roles = cases.roles()
            who, target = cases.person(roles), cases.target()
            before = decide_target(roles, who, target).allowed
            whose = evolve(who, roles=(*who.roles, "more"))
            allows = Role(name="more", allow=cases.conditions(cases.WORDS))
            denies = Role(name="more", deny=cases.conditions(cases.PATTERNS))
            more = decide_target([*roles, allows], whose, target).allowed
            less = decide_target([*roles, denies], whose, target).allowed
            self.assertTrue(less <= before <= more)

    def test_parsed(self) -> None:
        """`parse_role` is found here too."""
        role = parse_role({"kind": "role", "version": "v5", "metadata": {"name": "x"}, "spec": {}})
        self.assertEqual(role, Role(name="x"))
