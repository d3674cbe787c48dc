"""Tests for `tlsgate.core.clusterstate`.

One file, since a state is decided about as a whole: roles, locks and people stand in each case.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision, Identity, Kind, Rule
from tlsgate.core.claims import Claims
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.rolevalues import Person, Target
from tlsgate.core.routing import Route
from tlsgate.core.wire.sshcert import Kind as SshKind
from tlsgate.core.wire.sshcert import SshCertificate
from tlsgate.errors import BadBytes, BadCertificate, BadResource


def pem(content: bytes) -> str:
    """What stands in the place of a certificate: only its bytes count here."""
    return f"-----BEGIN X-----\n{base64.b64encode(content).decode()}\n-----END X-----\n"


def authority(*certificates: bytes, **more: Any) -> dict[str, Any]:
    """The public part of an authority that trusts these."""
    return {"keys": [{"id": "1", "certificate": pem(one)} for one in certificates], **more}


#: What every snapshot has.
BOTH = {"user": authority(b"user"), "host": authority(b"host")}


def role(name: str, **options: Any) -> dict[str, Any]:
    """A role that allows nothing by itself."""
    spec = {"allow": {}, "options": options}
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}


def lock(name: str, **target: str) -> dict[str, Any]:
    """A lock resource."""
    return {"kind": "lock", "metadata": {"name": name}, "spec": {"target": target}}


def networking(mode: object = 1, origin: str = "dynamic") -> dict[str, Any]:
    """The resource of that kind."""
    labels = {"teleport.dev/origin": origin}
    return {"metadata": {"labels": labels}, "spec": {"proxy_listener_mode": mode}}


def snapshot(**more: Any) -> dict[str, Any]:
    """The first line of a watch."""
    return {
        "kind": "snapshot",
        "revision": 7,
        "cluster": "root",
        "authorities": {
            "user": authority(b"user"),
            "host": authority(b"host"),
            "ssh_user": {"keys": [{"id": "2", "public_key": "ssh-ed25519 AAAA"}]},
        },
        "roles": [
            role("access"),
            role("brief", client_idle_timeout="5m", disconnect_expired_cert=True),
        ],
        "locks": [],
        "networking": networking(),
        **more,
    }


def anchor(content: bytes) -> bytes:
    """As `Identity.anchor` has it."""
    return hashlib.sha256(content).digest()


def user(*roles: str, below: bytes = b"user", cluster: str = "root", **more: Any) -> Identity:
    """Alice, with a certificate below an authority."""
    claims = Claims(cluster=cluster, kind="user", name="alice", roles=roles, **more)
    return Identity(
        common_names=("alice",), serial=5, not_after=500.0, claims=claims, anchor=anchor(below)
    )


def route(*roles: str, **more: Any) -> Route:
    """A static route for roles."""
    return Route(name="r", protocol="raw", require_role=roles, **more)


STATE = ClusterState.fresh(snapshot())


class ReadTests(SynchronousTestCase):
    """Tests for `ClusterState.fresh` and `changed`."""

    def test_fresh(self) -> None:
        """A snapshot is read whole."""
        self.assertEqual((STATE.revision, STATE.cluster, STATE.mode), (7, "root", "multiplex"))
        self.assertEqual(sorted(STATE.roles), ["access", "brief"])
        self.assertEqual(STATE.authorities["ssh_user"], ("ssh-ed25519 AAAA",))
        ssh = anchor(bytes(3))
        self.assertEqual(STATE.anchors["user"], {anchor(b"user"), ssh})
        self.assertEqual(STATE.anchors["ssh_user"], {ssh})
        self.assertIsNone(STATE.people)

    def test_mode(self) -> None:
        """The mode is a number or a word; where nobody has set it, the state says none."""
        for resource, mode in (
            (networking(0), "separate"),
            (networking("separate"), "separate"),
            (networking(1, "config-file"), "multiplex"),
            (networking(0, "defaults"), None),
            ({"metadata": {}, "spec": {}}, None),
        ):
            self.assertEqual(ClusterState.fresh(snapshot(networking=resource)).mode, mode)

    def test_ping_seconds(self) -> None:
        """The interval of pings is a duration; where nobody has said one, the state says none."""
        for written, seconds in (("20s", 20.0), ("1m30s", 90.0), ("soon", None), (7, None)):
            resource = {"metadata": {}, "spec": {"proxy_ping_interval": written}}
            state = ClusterState.fresh(snapshot(networking=resource))
            self.assertEqual(state.ping_seconds, seconds)
        self.assertIsNone(STATE.ping_seconds)

    def test_unreadable(self) -> None:
        """A snapshot that lacks something is an error, never a smaller check."""
        without_host = {"user": authority(b"user"), "host": {"keys": []}}
        broken: dict[str, Any]
        for broken in (
            {"authorities": {}},
            {"authorities": without_host},
            {"authorities": {**without_host, "host": {"keys": [{"certificate": "no base 64!"}]}}},
            {"authorities": {**without_host, "host": {"keys": [{"certificate": 5}]}}},
            {"authorities": {**without_host, "host": {}}},
            {"authorities": {**BOTH, "ssh_user": {"keys": [{"public_key": "ssh-rsa"}]}}},
            {"authorities": {**BOTH, "ssh_user": {"keys": [{"public_key": "ssh-rsa A"}]}}},
            {"users": 5},
            {"users": [{}]},
            {"users": [{"name": "alice", "roles": "access"}]},
            {"users": [{"name": "alice", "roles": [5]}]},
            {"users": [{"name": "alice", "traits": {"logins": "root"}}]},
            {"roles": None},
            {"roles": [{"spec": {}}]},
            {"roles": [{"metadata": {"name": 5}, "spec": {}}]},
            {"locks": 5},
            {"networking": None},
            {"revision": "x"},
        ):
            self.assertRaises(BadBytes, ClusterState.fresh, snapshot(**broken))
        self.assertRaises(BadResource, ClusterState.fresh, snapshot(locks=[lock("l")]))

    def after(self, kind: str, name: str, resource: Any) -> ClusterState:
        """The state after an event."""
        event = {"kind": "event", "revision": 8, "resource_kind": kind, "name": name}
        return STATE.changed({**event, "resource": resource})

    def test_changed(self) -> None:
        """Each kind of event changes its part, and the revision."""
        self.assertEqual(
            sorted(self.after("role", "new", role("new")).roles), ["access", "brief", "new"]
        )
        self.assertEqual(sorted(self.after("role", "access", None).roles), ["brief"])
        locked = self.after("lock", "l", lock("l", user="alice"))
        self.assertEqual(([one.name for one in locked.locks], locked.revision), (["l"], 8))
        gone = locked.changed(
            {"resource_kind": "lock", "name": "l", "resource": None, "revision": 9}
        )
        self.assertEqual((len(gone.locks), gone.revision), (0, 9))
        self.assertEqual(
            self.after("cluster_networking_config", "", networking(0)).mode, "separate"
        )
        rotated = self.after("cert_authority", "user", {"spec": authority(b"user", b"next")})
        self.assertEqual(
            rotated.anchors["user"], {anchor(b"user"), anchor(b"next"), anchor(bytes(3))}
        )
        self.assertEqual(rotated.anchors["host"], STATE.anchors["host"])

    def test_strict_locks(self) -> None:
        """For everybody by the preference, for some by a role; best effort else."""

        def preference(mode: str | None) -> dict[str, Any]:
            return {"metadata": {}, "spec": {} if mode is None else {"locking_mode": mode}}

        strict = role("strict", lock="strict")
        state = ClusterState.fresh(snapshot(roles=[role("access"), strict]))
        self.assertEqual(
            (state.strict_for(user("access")), state.strict_for(user("access", "strict"))),
            (False, True),
        )
        for mode, wanted in (("strict", True), ("best_effort", False), (None, False)):
            first = ClusterState.fresh(snapshot(auth_preference=preference(mode)))
            later = state.changed(
                {
                    "revision": 8,
                    "resource_kind": "cluster_auth_preference",
                    "name": "x",
                    "resource": preference(mode),
                }
            )
            self.assertEqual(
                (first.strict_for(user("access")), later.strict_for(user("access"))),
                (wanted, wanted),
            )
        self.assertRaises(BadBytes, ClusterState.fresh, snapshot(auth_preference={}))

    def test_other_events(self) -> None:
        """What is not a gateway's business, or went, changes the revision alone."""
        for kind in ("user", "cluster_networking_config", "cert_authority"):
            after = self.after(kind, "x", None)
            self.assertEqual((after.revision, after.roles), (8, STATE.roles))

    def test_unreadable_event(self) -> None:
        """An event that cannot be read is an error: what it said might have been a lock."""
        self.assertRaises(BadBytes, STATE.changed, {"kind": "event"})
        self.assertRaises(BadBytes, self.after, "cert_authority", "user", {"spec": {}})
        self.assertRaises(BadResource, self.after, "lock", "l", lock("l"))


class UnreadableRoleTests(SynchronousTestCase):
    """A role that cannot be read, as an older gateway may meet one."""

    def test_denies_its_holders_alone(self) -> None:
        """Who holds it is denied everything, whatever else they hold; the others go on."""
        odd = {**role("odd"), "spec": {"allow": {"logins": 5}}}
        of_snapshot = ClusterState.fresh(snapshot(roles=[role("access"), odd]))
        event = {"resource_kind": "role", "name": "odd", "resource": odd, "revision": 8}
        of_event = STATE.changed(event)
        allow = (Rule(Kind.CN, "alice"),)
        for state in (of_snapshot, of_event):
            self.assertEqual(list(state.unreadable), ["odd"])
            self.assertIn("spec.allow.logins", state.unreadable["odd"])
            for one in (route("access"), route("odd"), route(allow=allow)):
                self.assertEqual(
                    state.decide(one, user("access", "odd"), None, 0.0),
                    Decision(False, "role odd cannot be read, and so denies everything"),
                )
            self.assertTrue(state.decide(route("access"), user("access"), None, 0.0).allowed)
        for after in (None, role("odd")):
            mended = of_event.changed({**event, "resource": after})
            self.assertEqual(mended.unreadable, {})
            self.assertEqual("odd" in mended.roles, after is not None)


class IsOursTests(SynchronousTestCase):
    """Tests for `ClusterState.is_ours`."""

    def test_anchor_and_kind(self) -> None:
        """A user is below the user authority, a host below the host authority, of this cluster."""
        claims = Claims(cluster="root", kind="host", name="n", system_roles=("node",))
        host = Identity(claims=claims, anchor=anchor(b"host"))
        swapped = Identity(claims=claims, anchor=anchor(b"user"))
        for identity, ours in (
            (user(), True),
            (user(below=b"host"), False),
            (user(below=b"other"), False),
            (user(cluster="leaf"), False),
            (host, True),
            (swapped, False),
            (Identity(common_names=("alice",)), False),
        ):
            self.assertEqual(STATE.is_ours(identity), ours, identity)


class DecideTests(SynchronousTestCase):
    """Tests for `ClusterState.decide`."""

    def decide(
        self, one: Route, identity: Identity | None, state: ClusterState = STATE
    ) -> Decision:
        """Decide for a client at 192.0.2.1, at second 100."""
        return state.decide(one, identity, "192.0.2.1", 100.0)

    def test_role(self) -> None:
        """One of the roles is enough, as long as the cluster still has it."""
        self.assertEqual(
            self.decide(route("editor", "access"), user("access")), Decision(True, "role access")
        )
        self.assertFalse(self.decide(route("access"), user("auditor")).allowed)
        self.assertFalse(self.decide(route("ghost"), user("ghost")).allowed)

    def test_what_the_user_still_has(self) -> None:
        """A role that was taken away, or a user, counts at once; a new one from the next login."""
        for people, roles, why in (
            ([one_user("access")], ("access",), "role access"),
            ([one_user("access", "brief")], ("access",), "role access"),
            ([one_user("brief")], ("access",), "none of the roles access"),
            ([one_user("access")], ("brief",), "none of the roles access"),
            ([one_user("access", name="bob")], ("access",), "there is no user alice any more"),
        ):
            state = ClusterState.fresh(snapshot(users=people))
            decision = self.decide(route("access"), user(*roles), state)
            self.assertEqual((decision.allowed, decision.why), (why == "role access", why))
        gone = ClusterState.fresh(snapshot(users=[]))
        by_name = route(allow=(Rule(Kind.CN, "alice"),))
        self.assertFalse(self.decide(by_name, user(), gone).allowed)

    def test_options(self) -> None:
        """Roles may limit silence, and end what outlives its certificate."""
        self.assertEqual(
            self.decide(route("access"), user("access", "brief")),
            Decision(True, "role access", 300.0, 500.0),
        )

    def test_s10_common_name(self) -> None:
        """In the cluster's certificates the claims are the identity, and `allow` is for others.

        Only where a route has no authorities of its own, `cn` names the cluster's user.
        """
        named = route(allow=(Rule(Kind.CN, "alice"),))
        self.assertEqual(self.decide(named, user()), Decision(True, "rule cn: alice"))
        own_cas = route(allow=(Rule(Kind.CN, "alice"),), client_ca_files=("ca.pem",))
        self.assertFalse(self.decide(own_cas, user()).allowed)
        for rule in (Rule(Kind.CN, "bob"), Rule(Kind.SAN, "alice")):
            self.assertFalse(self.decide(route(allow=(rule,)), user()).allowed)
        both = route("editor", allow=(Rule(Kind.CN, "alice"),))
        self.assertFalse(self.decide(both, user()).allowed)

    def test_foreign(self) -> None:
        """Certificates of other authorities are held against `allow`; roles are not theirs."""
        foreign = Identity(common_names=("alice",))
        allow = (Rule(Kind.CN, "alice"),)
        self.assertTrue(self.decide(route("access", allow=allow), foreign).allowed)
        self.assertFalse(self.decide(route("access"), foreign).allowed)
        self.assertFalse(self.decide(route("access"), None).allowed)
        leaf = user("access", cluster="leaf", below=b"leaf")
        self.assertFalse(self.decide(route("access"), leaf).allowed)
        self.assertTrue(self.decide(route("access", allow=allow), leaf).allowed)

    def test_forged(self) -> None:
        """Whoever issues claims of this cluster without being it gets nobody in."""
        allow = (Rule(Kind.CN, "alice"),)
        for identity in (user("access", below=b"other"), user("access", below=b"host")):
            self.assertFalse(self.decide(route("access", allow=allow), identity).allowed)
        other = user("access", cluster="leaf")
        self.assertFalse(self.decide(route("access", allow=allow), other).allowed)

    def test_host(self) -> None:
        """A host is no user, whatever its name."""
        claims = Claims(cluster="root", kind="host", name="alice", system_roles=("node",))
        host = Identity(common_names=("alice",), claims=claims, anchor=anchor(b"host"))
        decision = self.decide(route(allow=(Rule(Kind.CN, "alice"),)), host)
        self.assertEqual(decision, Decision(False, "alice is a node, no user"))

    def test_lock(self) -> None:
        """A lock in force comes before any role."""
        state = ClusterState.fresh(snapshot(locks=[lock("l", role="access")]))
        self.assertEqual(
            self.decide(route("access"), user("access"), state),
            Decision(False, "lock l on role access"),
        )
        self.assertTrue(self.decide(route("brief"), user("brief"), state).allowed)

    def test_whom_locks_mean(self) -> None:
        """The cluster's own, also below an authority that is gone; not their namesakes."""
        for target in ({"user": "alice"}, {"certificate": "5"}, {"role": "access"}):
            state = ClusterState.fresh(snapshot(locks=[lock("l", **target)]))
            for identity, locked in (
                (user("access"), True),
                (user("access", below=b"dropped"), True),
                (user("access", cluster="leaf", below=b"leaf"), False),
                (Identity(common_names=("alice",), serial=5), False),
            ):
                self.assertEqual(state.lock_on(identity, 100.0) is not None, locked, identity)
        self.assertIsNone(STATE.lock_on(user("access"), 100.0))

    def test_s55_pinned(self) -> None:
        """A pinned certificate is good from its address alone."""
        for address, allowed in (("192.0.2.1", True), ("192.0.2.2", False)):
            identity = user("access", pinned_address=address)
            self.assertEqual(self.decide(route("access"), identity).allowed, allowed)

    def test_for_one_service(self) -> None:
        """A certificate that was issued for one service opens no static route."""
        for routes, allowed in (({"db": "orders"}, False), ({"cluster": "root"}, True)):
            identity = user("access", routes=routes)
            self.assertEqual(self.decide(route("access"), identity).allowed, allowed)

    def test_no_claims(self) -> None:
        """Options are those of roles; who has none is not limited."""
        self.assertIsNone(STATE.options(Identity()).client_idle_seconds)


def node_role(name: str, **spec: Any) -> dict[str, Any]:
    """A role that allows root on nodes of env=prod, but for what *spec* says."""
    allow = {"logins": ["root"], "node_labels": {"env": "prod"}}
    whole = {"allow": allow, "options": {}, **spec}
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": whole}


def one_user(*roles: str, name: str = "alice", **traits: list[str]) -> dict[str, Any]:
    """A user as a snapshot tells of one."""
    return {"name": name, "roles": list(roles), "traits": traits}


def node(login: str | None = "root", **labels: str) -> Target:
    """A node, of env=prod where nothing else is said."""
    return Target(kind="node", name="db1", labels=labels or {"env": "prod"}, login=login)


NODE_ROLES = [
    node_role("ops"),
    node_role("short", options={"client_idle_timeout": "5m", "disconnect_expired_cert": True}),
    node_role("never", allow={}, deny={"node_labels": {"*": "*"}}),
    node_role("mine", allow={"logins": ["{{internal.logins}}"], "node_labels": {"*": "*"}}),
    node_role("odd", allow={"logins": 5}),
]


def nodes(*people: dict[str, Any], **more: Any) -> ClusterState:
    """A cluster with these users."""
    return ClusterState.fresh(snapshot(roles=NODE_ROLES, users=list(people), **more))


class PeopleTests(SynchronousTestCase):
    """What is known of users."""

    def test_read(self) -> None:
        """A snapshot tells of users, events change them."""
        state = nodes(one_user("ops", logins=["root"]), one_user("ops", name="bob"))
        alice = Person("alice", ("ops",), {"logins": ("root",)})
        self.assertEqual(state.people, {"alice": alice, "bob": Person("bob", ("ops",))})
        event = {"resource_kind": "user", "name": "bob", "revision": 8}
        gone = state.changed({**event, "resource": None})
        self.assertEqual(gone.people, {"alice": alice})
        resource = {"metadata": {"name": "bob"}, "spec": {"roles": ["short"], "traits": {}}}
        again = gone.changed({**event, "resource": resource})
        self.assertEqual(again.people, {"alice": alice, "bob": Person("bob", ("short",))})
        self.assertRaises(BadBytes, gone.changed, {**event, "resource": {}})

    def test_not_told(self) -> None:
        """Where the snapshot does not tell of users, later changes of some tell too little."""
        resource = {"metadata": {"name": "bob"}, "spec": {"roles": []}}
        event = {"resource_kind": "user", "name": "bob", "revision": 8, "resource": resource}
        self.assertIsNone(STATE.changed(event).people)


class DecideTargetTests(SynchronousTestCase):
    """Tests for `ClusterState.decide_target`."""

    def decide(
        self,
        state: ClusterState,
        identity: Identity,
        target: Target | None = None,
        address: str | None = "192.0.2.1",
    ) -> Decision:
        """Decide at second 100."""
        return state.decide_target(identity, target or node(), address, 100.0)

    def test_allowed(self) -> None:
        """The sentence names the role and its rule; options limit the session."""
        state = nodes(one_user("ops", "short"))
        why = "role ops: allow.node_labels env=prod, allow.logins root"
        self.assertEqual(self.decide(nodes(one_user("ops")), user("ops")), Decision(True, why))
        self.assertEqual(
            self.decide(state, user("ops", "short")), Decision(True, why, 300.0, 500.0)
        )
        self.assertTrue(self.decide(state, user("ops"), node(None)).allowed)

    def test_audit_queries(self) -> None:
        """A role that allows the database by its labels can have its queries written down."""
        spec = {"allow": {"db_labels": {"env": "prod"}, "db_users": ["app"]}}
        options = {"audit_queries": True}
        listed = [node_role("db", **spec), node_role("told", **spec, options=options)]
        orders = Target(kind="db", name="orders", labels={"env": "prod"}, db_user="app")
        for roles, audits in ((("db",), False), (("db", "told"), True)):
            state = ClusterState.fresh(snapshot(roles=listed, users=[one_user(*roles)]))
            decision = self.decide(state, user("db"), orders)
            self.assertEqual((decision.allowed, decision.audit_queries), (True, audits))

    def test_refused_by_roles(self) -> None:
        """Labels and logins are asked of roles; deny wins."""
        state = nodes(one_user("ops", "never"))
        for who, target, why in (
            (user("ops"), node("bob"), "no role of alice allows it as asked: role ops:"),
            (user("ops"), node(env="dev"), "no role of alice allows node 'db1' (ops)"),
            (user("ops"), node(None, env="dev"), "no role of alice allows node 'db1' (ops)"),
            (user("ops", "never"), node(), "role never: deny.node_labels"),
            (user(), node(), "no role of alice allows node 'db1' (there are no roles)"),
        ):
            decision = self.decide(state, who, target)
            self.assertFalse(decision.allowed)
            self.assertIn(why, decision.why)

    def test_what_the_user_still_has(self) -> None:
        """A role that the user has lost opens nothing; one that it was given denies at once."""
        lost = self.decide(nodes(one_user("short")), user("ops"))
        self.assertEqual((lost.allowed, "there are no roles" in lost.why), (False, True))
        self.assertFalse(self.decide(nodes(one_user("ops")), user("auditor")).allowed)
        denied = self.decide(nodes(one_user("ops", "never")), user("ops"))
        self.assertEqual((denied.allowed, denied.why[:11]), (False, "role never:"))
        stricter = self.decide(nodes(one_user("ops", "short")), user("ops"))
        self.assertEqual((stricter.allowed, stricter.idle_seconds), (True, 300.0))
        removed = self.decide(nodes(one_user("ops", name="bob")), user("ops"))
        self.assertEqual(removed, Decision(False, "there is no user alice any more"))

    def test_traits(self) -> None:
        """Traits are those of now, not of the certificate."""
        who = user("mine", traits={"logins": ("old",)})
        state = nodes(one_user("mine", logins=["new"]))
        self.assertTrue(self.decide(state, who, node("new")).allowed)
        self.assertFalse(self.decide(state, who, node("old")).allowed)

    def test_people_unknown(self) -> None:
        """Without word of users the certificate alone says who it is."""
        state = ClusterState.fresh(snapshot(roles=NODE_ROLES))
        who = user("mine", traits={"logins": ("old",)})
        self.assertTrue(self.decide(state, who, node("old")).allowed)
        self.assertFalse(self.decide(state, user("never", "ops")).allowed)

    def test_unreadable(self) -> None:
        """A role that cannot be read denies, whether the certificate names it or not."""
        for who in (user("ops"), user("ops", "odd")):
            self.assertEqual(
                self.decide(nodes(one_user("ops", "odd")), who),
                Decision(False, "role odd cannot be read, and so denies everything"),
            )

    def test_who(self) -> None:
        """Nobody but a user of the cluster, from where and for what the certificate is."""
        state = nodes(one_user("ops"))
        claims = Claims(cluster="root", kind="host", name="alice", system_roles=("node",))
        for who, why in (
            (Identity(common_names=("alice",)), "the certificate is none of the cluster's"),
            (Identity(claims=claims, anchor=anchor(b"host")), "alice is a node, no user"),
            (user("ops", below=b"other"), "another authority has issued"),
            (user("ops", cluster="leaf", below=b"leaf"), "another authority has issued"),
            (user("ops", pinned_address="192.0.2.2"), "is good from 192.0.2.2 only"),
            (user("ops", routes={"db": "orders"}), "for one service only"),
        ):
            decision = self.decide(state, who)
            self.assertEqual((decision.allowed, why in decision.why), (False, True), decision)
        for who in (user("ops", pinned_address="192.0.2.1"), user("ops", routes={"cluster": "x"})):
            self.assertTrue(self.decide(state, who).allowed)

    def test_locks(self) -> None:
        """A lock on the user, or on a role that it has now, comes first; and one on an agent."""
        for target in ({"user": "alice"}, {"role": "ops"}, {"role": "short"}):
            state = nodes(one_user("ops", "short"), locks=[lock("l", **target)])
            decision = self.decide(state, user("ops"))
            self.assertEqual((decision.allowed, decision.why[:7]), (False, "lock l "))
        claims = Claims(cluster="root", kind="host", name="db1", system_roles=("node",))
        agent = Identity(claims=claims, anchor=anchor(b"host"))
        state = nodes(locks=[lock("l", agent="db1")])
        self.assertIsNotNone(state.lock_on(agent, 100.0))
        self.assertIsNone(nodes(locks=[lock("l", agent="db2")]).lock_on(agent, 100.0))
        self.assertIsNone(nodes(locks=[lock("l", user="db1")]).lock_on(agent, 100.0))


KEY = bytes(3)


def ssh(name: str) -> SshCertificate:
    """A certificate of the cluster's users, as it was read."""
    return SshCertificate(
        key=b"key",
        serial=9,
        kind=SshKind.USER,
        key_id=name,
        principals=(name,),
        valid_after=0,
        valid_before=500,
        critical_options={},
        extensions={},
        authority=KEY,
        signed=b"",
        algorithm=b"",
        signature=b"",
    )


class SshIdentityTests(SynchronousTestCase):
    """Tests for `ClusterState.ssh_identity`."""

    def test_a_user(self) -> None:
        """Who it is, is ours, may be locked, and reaches what its roles allow."""
        state = nodes(one_user("ops"))
        found = state.ssh_identity(ssh("alice"), 100.0)
        self.assertEqual((found.name, found.anchor), ("alice", anchor(KEY)))
        self.assertTrue(state.is_ours(found))
        self.assertTrue(state.decide_target(found, node(), None, 100.0).allowed)
        locked = nodes(one_user("ops"), locks=[lock("l", certificate="9")])
        self.assertIsNotNone(locked.lock_on(found, 100.0))

    def test_later(self) -> None:
        """What happens to the user afterwards counts at once, what it is given too."""
        found = nodes(one_user()).ssh_identity(ssh("alice"), 100.0)
        self.assertFalse(nodes(one_user()).decide_target(found, node(), None, 100.0).allowed)
        self.assertTrue(nodes(one_user("ops")).decide_target(found, node(), None, 100.0).allowed)
        self.assertFalse(nodes().decide_target(found, node(), None, 100.0).allowed)

    def test_no_authority(self) -> None:
        """A cluster without that authority has no such users."""
        state = nodes(one_user("ops"), authorities=BOTH)
        error = self.assertRaises(BadCertificate, state.ssh_identity, ssh("alice"), 100.0)
        self.assertIn("no authority that is trusted", error.why)
