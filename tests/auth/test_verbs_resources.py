"""Resources through the API: written, listed, guarded."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import ADDRESS, PASSWORD, Cluster
from tlsgate.auth import certify, resources, verbs_resources
from tlsgate.auth.principal import Principal


def role(name: str, **spec: Any) -> dict[str, Any]:
    """A role's document."""
    return {"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}


def user(name: str, *roles: str) -> dict[str, Any]:
    """A user's document."""
    return {
        "kind": "user",
        "version": "v2",
        "metadata": {"name": name},
        "spec": {"roles": list(roles)},
    }


EDITS = {"rules": [{"resources": ["*"], "verbs": ["*"]}]}


class ResourceTests(SynchronousTestCase):
    """Tests for `verbs_resources`."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access")
        self.cluster.audit.take()

    def put(self, body: Any, who: Principal | None = None, **query: str) -> tuple[int, Any]:
        """Write a resource where it says that it belongs."""
        path = f"/v1/resources/{body['kind']}/{body['metadata'].get('name', 'x')}"
        reply = self.cluster.ask(who or self.edgar, "PUT", path, body, **query)
        return reply.status, reply.body

    def reason(self, answer: tuple[int, Any]) -> tuple[int, str]:
        """Status and reason of a refusal."""
        return answer[0], answer[1]["error"]["reason"]

    def delete(self, path: str, **query: str) -> tuple[int, Any]:
        reply = self.cluster.ask(self.edgar, "DELETE", f"/v1/resources/{path}", **query)
        return reply.status, reply.body

    def test_a_role(self) -> None:
        """Made, read, written over by force or by revision, listed, removed; each audited."""
        status, made = self.put(role("dev", allow={"logins": ["dev"]}))
        self.assertEqual(status, 200)
        revision = made["metadata"]["revision"]
        got = self.cluster.ask(self.edgar, "GET", "/v1/resources/role/dev").body
        self.assertEqual(got["metadata"], {"name": "dev", "revision": revision})
        other = role("dev", allow={"logins": ["ops"]})
        self.assertEqual(self.reason(self.put(other)), (409, "exists"))
        other["metadata"]["revision"] = revision - 1
        self.assertEqual(self.reason(self.put(other)), (409, "conflict"))
        other["metadata"]["revision"] = revision
        self.assertEqual(self.put(other)[0], 200)
        self.assertEqual(self.reason(self.put(other)), (409, "conflict"))
        del other["metadata"]["revision"]
        other["spec"]["allow"]["logins"] = ["third"]
        self.assertEqual(self.put(other, force="1")[0], 200)
        names = self.cluster.ask(self.edgar, "GET", "/v1/resources/roles").body["items"]
        self.assertEqual(
            [one["metadata"]["name"] for one in names], ["access", "auditor", "dev", "editor"]
        )
        self.assertEqual(self.delete("role/dev"), (200, {"kind": "role", "name": "dev"}))
        self.assertEqual(self.reason(self.delete("role/dev")), (404, "not_found"))
        self.assertEqual(
            self.cluster.audit.take(),
            ["role.created", "role.updated", "role.updated", "role.deleted"],
        )

    def test_writes_are_idempotent(self) -> None:
        """The same again, with or without force, is the same answer and no event."""
        one = self.put(role("dev", allow={"logins": ["dev"]}))
        self.cluster.audit.take()
        self.assertEqual(self.put(role("dev", allow={"logins": ["dev"]})), one)
        self.assertEqual(self.put(role("dev", allow={"logins": "dev"}), force="1"), one)
        self.assertEqual(self.cluster.audit.take(), [])

    def test_by_rules(self) -> None:
        """Each verb asks for its own rule; who may read may not write."""
        self.put(role("reader", allow={"rules": [_rule("role", "list", "read")]}))
        self.put(role("maker", allow={"rules": [_rule("role", "create")]}))
        reader = self.cluster.user("rita", "reader")
        maker = self.cluster.user("max", "maker")
        path = "/v1/resources/role"
        for who, statuses in (
            (reader, [200, 200, 403, 403, 403]),
            (maker, [403, 403, 200, 403, 403]),
            (self.alice, [403, 403, 403, 403, 403]),
            (self.cluster.local, [200, 200, 200, 200, 200]),
        ):
            found = [
                self.cluster.ask(who, "GET", path).status,
                self.cluster.ask(who, "GET", f"{path}/access").status,
                self.put(role(f"new-{who.name}"), who)[0],
                self.put(role("access", allow={"logins": [who.name]}), who, force="1")[0],
                self.cluster.ask(who, "DELETE", f"{path}/reader-{who.name}").status,
            ]
            found[4] = 200 if found[4] == 404 else found[4]
            self.assertEqual(found, statuses, who.name)

    def test_bad_documents(self) -> None:
        """A document that cannot be read is told with every place; nothing is written."""
        status, body = self.put(role("dev", allow={"loginz": ["x"]}, options={"ttl": 1}))
        self.assertEqual(status, 400)
        paths = {one["path"] for one in body["error"]["problems"]}
        self.assertEqual(paths, {"spec.allow.loginz", "spec.options.ttl"})
        for body in (None, [], "x", {}, {"kind": "role"}, {"kind": "nothing"}):
            reply = self.cluster.ask(self.edgar, "PUT", "/v1/resources/role/dev", body)
            self.assertEqual(reply.status, 400)
        other = self.cluster.ask(self.edgar, "PUT", "/v1/resources/role/dev", role("ops"))
        self.assertEqual(other.status, 400)
        other = self.cluster.ask(self.edgar, "PUT", "/v1/resources/lock/dev", role("dev"))
        self.assertEqual(other.status, 400)
        self.assertEqual(self.cluster.audit.take(), [])

    def test_what_is_not_served_is_said(self) -> None:
        """A key that does nothing here is taken with a warning beside the resource."""
        _, made = self.put(role("dev", options={"record_session": {"desktop": False}}))
        self.assertEqual(made["warnings"][0]["path"], "spec.options.record_session")

    def test_unknown_kinds(self) -> None:
        """A kind that is not there is 404, whatever is done to it."""
        for method in ("GET", "PUT", "DELETE"):
            reply = self.cluster.ask(self.edgar, method, "/v1/resources/nothing/x")
            self.assertEqual(reply.status, 404)

    def test_pages(self) -> None:
        """Pages follow one another without a gap; the last one says so."""
        for number in range(25):
            self.put(role(f"r{number:02}"))
        names: list[str] = []
        after, pages = "", 0
        while True:
            page = self.cluster.ask(
                self.edgar, "GET", "/v1/resources/role", limit="10", after=after
            ).body
            names += [one["metadata"]["name"] for one in page["items"]]
            pages += 1
            if page["next"] is None:
                break
            after = page["next"]
        self.assertEqual(names, ["access", "auditor", "editor", *(f"r{n:02}" for n in range(25))])
        self.assertEqual(pages, 3)
        for limit in ("0", "1001", "-1", "x"):
            reply = self.cluster.ask(self.edgar, "GET", "/v1/resources/role", limit=limit)
            self.assertEqual(reply.status, 400, limit)
        found = self.cluster.ask(self.edgar, "GET", "/v1/resources/ca", limit="2", after="db").body
        self.assertEqual([one["metadata"]["name"] for one in found["items"]], ["host", "jwt"])
        self.assertEqual(found["next"], "jwt")

    def test_a_user(self) -> None:
        """A user's document is written; a role that is not there is refused."""
        self.assertEqual(self.reason(self.put(user("bob", "nothing"))), (400, "bad_resource"))
        self.assertEqual(self.reason(self.put(user("bob"))), (400, "bad_resource"))
        self.assertEqual(self.put(user("bob", "access"))[0], 200)
        self.assertEqual(self.put(user("bob", "access", "auditor"), force="1")[0], 200)
        self.assertEqual(self.delete("user/bob")[0], 200)
        self.assertEqual(self.cluster.audit.take(), ["user.create", "user.update", "user.delete"])

    def test_removing_a_user_removes_everything(self) -> None:
        """Password, second factor and sessions go with the user."""
        self.delete("user/alice")
        self.assertEqual(self.cluster.run(self.cluster.store.scan("secrets/users/alice")), [])
        self.assertEqual(self.cluster.run(self.cluster.store.scan("users/alice")), [])

    def test_a_role_in_use(self) -> None:
        """A role that users have, a preset too, stays; they are named, the first few."""
        status, body = self.delete("role/access")
        self.assertEqual((status, body["error"]["reason"]), (409, "in_use"))
        self.assertIn("used by user alice", body["error"]["message"])
        for number in range(10):
            self.put(user(f"u{number}", "access"))
        self.assertIn("others", self.delete("role/access", force="1")[1]["error"]["message"])
        self.assertEqual(self.delete("role/auditor")[0], 200)

    def test_the_last_editor(self) -> None:
        """The last user who can edit roles is not removed, demoted or disarmed by accident."""
        for answer in (
            self.delete("user/edgar"),
            self.put(user("edgar", "access"), force="1"),
            self.put(role("editor", allow={"logins": ["x"]}), force="1"),
            self.put(role("editor", allow=EDITS, deny=EDITS), force="1"),
        ):
            self.assertEqual(self.reason(answer), (409, "would_break"))
        self.put(role("root", allow=EDITS))
        self.put(user("zoe", "root"))
        self.assertEqual(self.put(user("edgar", "access"), self.cluster.local, force="1")[0], 200)
        self.cluster.run(self.cluster.parts.users.update("edgar", roles=["editor"]))
        self.assertEqual(self.delete("user/zoe")[0], 200)
        self.assertEqual(self.delete("user/edgar", force="1")[0], 200)

    def test_a_user_who_comes_after_one_who_has_ended(self) -> None:
        """A new user has nothing of an earlier one of this name: no password, link, session."""
        brief = user("brief", "access")
        brief["metadata"]["expires"] = self.cluster.clock.seconds() + 1800
        self.assertEqual(self.put(brief)[0], 200)
        store, run = self.cluster.store, self.cluster.run
        link = run(self.cluster.parts.users.reset("brief"))
        begun = run(self.cluster.parts.users.begin_invite(link.token))
        self.cluster.secrets["brief"] = begun.secret
        parts = self.cluster.parts
        run(parts.users.accept_invite(link.token, PASSWORD, self.cluster.code("brief")))
        session = run(parts.sessions.make("brief", ADDRESS))
        run(parts.users.reset("brief"))  # a link that is open
        self.cluster.clock.advance(1801)
        run(store.revision())
        self.assertIsNotNone(run(store.get("secrets/users/brief")))
        self.assertEqual(self.put(user("brief", "access"))[0], 200)
        self.assertIsNone(run(store.get("secrets/users/brief")))
        self.assertEqual([one.key for one in run(store.scan("invites/"))], [])
        self.assertIsNone(run(parts.sessions.find(session.cookie)))

    def test_names_that_no_user_can_have(self) -> None:
        """A name that nobody could log in by is refused when the user is made."""
        for name in ("_x", "a=b"):
            status, body = self.put(user(name, "access"))
            paths = [one["path"] for one in body["error"].get("problems", ())]
            self.assertEqual((status, paths), (400, ["metadata.name"]), name)

    def test_locks_by_document(self) -> None:
        """A lock that is written as a resource is in force like any other."""
        body = {
            "kind": "lock",
            "version": "v2",
            "metadata": {"name": "l1"},
            "spec": {"target": {"user": "alice"}, "message": "gone"},
        }
        self.assertEqual(self.put(body)[0], 200)
        self.assertEqual(self.cluster.ask(self.alice, "GET", "/v1/me").status, 403)
        self.assertEqual(self.delete("lock/l1")[0], 200)
        self.assertEqual(self.cluster.ask(self.alice, "GET", "/v1/me").status, 200)
        self.assertEqual(self.cluster.audit.take(), ["lock.created", "lock.deleted"])

    def test_tokens_and_authorities_are_not_written(self) -> None:
        """Tokens are made, authorities rotated; a document does neither."""
        body = {"kind": "token", "metadata": {"name": "t"}, "spec": {"types": ["node"]}}
        self.assertEqual(self.put(body)[0], 400)
        self.assertEqual(self.put({"kind": "cert_authority", "metadata": {}}, force="1")[0], 403)
        self.assertEqual(self.delete("ca/user")[0], 403)
        path = "/v1/resources/ca/user"
        self.assertEqual(self.cluster.ask(self.cluster.local, "DELETE", path).status, 400)

    def test_a_token_is_removed(self) -> None:
        """A token goes with what is kept of it."""
        made = self.cluster.ask(self.edgar, "POST", "/v1/tokens", {"types": ["node"]}).body
        listed = self.cluster.ask(self.edgar, "GET", "/v1/resources/tokens").body["items"]
        self.assertEqual([one["metadata"]["name"] for one in listed], [made["id"]])
        self.assertEqual(self.delete(f"token/{made['id']}")[0], 200)
        self.assertEqual(self.cluster.run(self.cluster.store.scan("secrets/tokens/")), [])

    def test_keys_of_the_store(self) -> None:
        """Each kind has its place, and nothing secret stands below it."""
        self.assertEqual(resources.key_of("user", "alice"), "users/alice")
        self.assertEqual(resources.key_of("cluster_networking_config", "x"), "networking")
        self.assertFalse(any(one.startswith("secrets") for one in resources.PREFIXES.values()))
        self.assertEqual(certify.HOSTS, "hosts/")
        self.assertEqual(len(verbs_resources.VERBS), 4)


class SettingTests(SynchronousTestCase):
    """Settings that a cluster has one of each, through the API."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.edgar = self.cluster.user("edgar", "editor")
        self.cluster.audit.take()

    def put(self, mode: Any, **query: str) -> tuple[int, Any]:
        body = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "spec": {"proxy_listener_mode": mode},
        }
        path = "/v1/resources/networking/cluster-networking-config"
        reply = self.cluster.ask(self.edgar, "PUT", path, body, **query)
        return reply.status, reply.body

    def test_who_changed_what(self) -> None:
        """The event says who changed the mode from what to what, and whence it was."""
        status, body = self.put("multiplex")
        self.assertEqual((status, body["spec"]["proxy_listener_mode"]), (200, 1))
        (event, fields) = self.cluster.audit.events[0]
        self.assertEqual(event, "networking.update")
        self.assertEqual(
            {key: fields[key] for key in ("user", "mode.old", "mode", "origin.old", "origin")},
            {
                "user": "edgar",
                "mode.old": "separate",
                "mode": "multiplex",
                "origin.old": "defaults",
                "origin": "dynamic",
            },
        )
        self.assertEqual(fields["changes"], "proxy_listener_mode separate -> multiplex")

    def test_force(self) -> None:
        """What is not the default is written over by force, by word or by number."""
        self.put("multiplex")
        self.cluster.audit.take()
        self.assertEqual(self.put(1)[0], 200)
        self.assertEqual(self.cluster.audit.take(), [])
        self.assertEqual(self.put(0)[1]["error"]["reason"], "exists")
        self.assertEqual(self.put(0, force="1")[0], 200)
        self.assertEqual(self.put(2, force="1")[0], 400)

    def test_a_mode_that_is_not_said(self) -> None:
        """Whoever changes something else switches nobody: the mode stays as it is."""
        self.put("multiplex")
        self.cluster.breaks = ["agent db1 uses the web port"]
        body: dict[str, Any] = {"kind": "cluster_networking_config", "version": "v2"}
        path = "/v1/resources/networking/cluster-networking-config"
        for spec, interval in (({"proxy_ping_interval": "7s"}, "7s"), (None, "30s")):
            more = {} if spec is None else {"spec": spec}
            reply = self.cluster.ask(
                self.edgar, "PUT", path, {**body, **more}, force="0", confirm="1"
            )
            self.assertEqual(reply.status, 200, reply.body)
            said = reply.body["spec"]
            self.assertEqual(
                (said["proxy_listener_mode"], said["proxy_ping_interval"]), (1, interval)
            )

    def test_who_would_break(self) -> None:
        """The guard's sentences are the answer; force does it nevertheless."""
        self.cluster.breaks = ["agent db1 uses the tunnel port"]
        status, body = self.put("multiplex")
        self.assertEqual((status, body["error"]["reason"]), (409, "would_break"))
        self.assertIn("agent db1 uses the tunnel port", body["error"]["message"])
        self.assertEqual(self.put("multiplex", force="1")[0], 200)

    def test_rm_resets(self) -> None:
        """Removing a setting brings the default back, and says so in the trail."""
        self.put("multiplex")
        path = "/v1/resources/networking/cluster-networking-config"
        self.assertEqual(self.cluster.ask(self.edgar, "DELETE", path).status, 200)
        got = self.cluster.ask(self.edgar, "GET", path).body
        self.assertEqual(got["metadata"]["labels"], {"teleport.dev/origin": "defaults"})
        self.assertEqual(self.cluster.audit.take(), ["networking.update"] * 2)
        self.assertEqual(self.cluster.ask(self.edgar, "DELETE", path).status, 200)
        self.assertEqual(self.cluster.audit.take(), [])

    def test_names(self) -> None:
        """A setting is found by its own name and its kind's; another is 404."""
        for name in ("cluster-networking-config", "cluster_networking_config", "networking"):
            reply = self.cluster.ask(self.edgar, "GET", f"/v1/resources/networking/{name}")
            self.assertEqual(reply.status, 200)
        reply = self.cluster.ask(self.edgar, "GET", "/v1/resources/networking/other")
        self.assertEqual(reply.status, 404)

    def test_the_preference(self) -> None:
        """Switching the second factor off needs the word unsafe, and is in the trail."""
        path = "/v1/resources/cap/cluster-auth-preference"
        spec: dict[str, Any] = {"second_factor": "off"}
        body = {"kind": "cap", "version": "v2", "spec": spec}
        self.assertEqual(self.cluster.ask(self.edgar, "PUT", path, body).status, 400)
        spec["unsafe_second_factor_off"] = True
        self.assertEqual(self.cluster.ask(self.edgar, "PUT", path, body).status, 200)
        self.assertEqual(self.cluster.audit.take(), ["auth_preference.update"])


def _rule(kind: str, *verbs: str) -> dict[str, Any]:
    return {"resources": [kind], "verbs": list(verbs)}
