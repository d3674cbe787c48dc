"""Tests for `tlsgate.auth.kinds` and the models of each kind."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.written import problems, written
from tlsgate.auth.kind_cluster import CONFIG_FILE, DEFAULTS, DYNAMIC, ORIGIN
from tlsgate.auth.kinds import (
    KINDS,
    Resource,
    as_json,
    defaults,
    kind_of,
    read_resource,
    role_of,
    with_origin,
)
from tlsgate.errors import BadResource


class KindTests(SynchronousTestCase):
    """Tests for `kind_of`."""

    def test_names(self) -> None:
        """A kind is known by its name, its aliases and their plurals, in any case."""
        wanted = {
            "user": "user",
            "Users": "user",
            "roles": "role",
            "tokens": "token",
            "lock": "lock",
            "locks": "lock",
            "networking": "cluster_networking_config",
            "cluster-networking-config": "cluster_networking_config",
            "networking_config": "cluster_networking_config",
            "cap": "cluster_auth_preference",
            "cluster_auth_preferences": "cluster_auth_preference",
            "ca": "cert_authority",
            "cas": "cert_authority",
            "cert_authorities": "cert_authority",
            "node": "node",
            "nodes": "node",
            "server": "node",
            "app": None,
            "": None,
        }
        self.assertEqual({word: kind_of(word) for word in wanted}, wanted)

    def test_no_alias_twice(self) -> None:
        """No word means two kinds."""
        words = [word for kind in KINDS.values() for word in (kind.name, *kind.aliases)]
        self.assertEqual(len(words), len(set(words)))
        self.assertEqual([kind_of(word) for word in KINDS], [*KINDS])


class EnvelopeTests(SynchronousTestCase):
    """What every resource has around its spec."""

    def test_whole(self) -> None:
        """What is written comes back as `as_json` writes it."""
        given_in = {
            "kind": "users",
            "version": "V2",
            "metadata": {
                "name": "alice@example.com",
                "description": "The first",
                "labels": {"team": "db"},
                "expires": "2030-01-31T12:00:00+00:00",
                "revision": "17",
            },
            "spec": {"roles": ["access"]},
        }
        resource = read_resource(given_in)
        self.assertEqual(
            resource,
            Resource(
                kind="user",
                version="v2",
                name="alice@example.com",
                description="The first",
                labels={"team": "db"},
                expires=datetime(2030, 1, 31, 12, tzinfo=UTC).timestamp(),
                spec={"roles": ["access"]},
                revision=17,
            ),
        )
        given_out = {
            "kind": "user",
            "version": "v2",
            "metadata": {
                "name": "alice@example.com",
                "description": "The first",
                "labels": {"team": "db"},
                "expires": "2030-01-31T12:00:00Z",
                "revision": 17,
            },
            "spec": {"roles": ["access"]},
        }
        self.assertEqual(as_json(resource), given_out)
        self.assertEqual(read_resource(json.loads(json.dumps(given_out))), resource)

    def test_latest_version(self) -> None:
        """Without a version the latest is meant."""
        self.assertEqual(read_resource(written("role")).version, "v7")
        self.assertEqual(
            problems({**written("role"), "version": "v8"}),
            {"version": "has to be v5 or v6 or v7, not 'v8'"},
        )

    def test_unknown_kind(self) -> None:
        """An unknown kind is told with what may be meant; one of Teleport's as such."""
        self.assertEqual(
            problems({"kind": "rol"}), {"kind": "there is no kind 'rol'; did you mean role?"}
        )
        self.assertEqual(problems({"kind": "xyz"}), {"kind": "there is no kind 'xyz'"})
        self.assertEqual(
            problems({"kind": "trusted_cluster"}),
            {"kind": "trusted_cluster is not served by this version"},
        )
        self.assertIn("not nothing", problems({})["kind"])
        self.assertEqual(problems([]), {"": "has to be a mapping (key: value), not a list"})

    def test_names(self) -> None:
        """A name is short, and nothing in it means anything to a path or a log."""
        for name in ("alice", "a.b-c_d@e+f=g", "0", "_x", "x" * 64):
            self.assertEqual(problems(written("user", name)), {}, name)
        for name in ("", "..", "-x", "a/b", "a b", "a\n", "ä", "local:0", "x" * 65, "*"):
            self.assertEqual([*problems(written("user", name))], ["metadata.name"], name)
        self.assertEqual(problems(written("user", None)), {"metadata.name": "is missing"})
        self.assertIn("write it in quotes", problems(written("user", 7))["metadata.name"])  # type: ignore[arg-type]

    def test_metadata(self) -> None:
        """Labels, times and revisions are held to their form."""
        metadata = {
            "name": "x",
            "labels": {"a b": "x"},
            "expires": "tomorrow",
            "revision": "new",
            "description": "x" * 1025,
            "lables": {},
            "namespace": "default",
        }
        self.assertEqual(
            problems({"kind": "user", "metadata": metadata}),
            {
                "metadata.labels": "label 'a b': letters, digits and -_./:* only",
                "metadata.expires": "has to be a time such as 2030-01-31T12:00:00Z, not 'tomorrow'",
                "metadata.revision": "has to be the number that was read, not 'new'",
                "metadata.description": "has more than 1024 characters",
                "metadata.lables": "is not a key; did you mean labels?",
            },
        )
        self.assertEqual(
            problems({"kind": "user", "metadata": {"name": "x", "labels": {"a": 1}}}),
            {"metadata.labels": "label 'a' has to be text of at most 256 characters"},
        )
        for revision in (True, -1, 1.5, "1" * 16, "\u0661"):
            found = problems({"kind": "user", "metadata": {"name": "x", "revision": revision}})
            self.assertEqual([*found], ["metadata.revision"])

    def test_times(self) -> None:
        """A time may be RFC 3339, a number, or what a YAML reader made of it."""
        at = datetime(2030, 1, 31, 12, 0, 0, 500000, tzinfo=UTC)
        for value in (
            "2030-01-31T12:00:00.5Z",
            "2030-01-31 13:00:00.500+01:00",
            at.timestamp(),
            at,
            at.replace(tzinfo=None),
        ):
            resource = {"kind": "user", "metadata": {"name": "x", "expires": value}}
            found = read_resource(resource)
            self.assertEqual(found.expires, at.timestamp(), value)
            self.assertEqual(as_json(found)["metadata"]["expires"], "2030-01-31T12:00:00.500000Z")
        for wrong in (
            "2030-01-31",
            "2030-01-31T12:00:00",
            "2030-99-31T12:00:00Z",
            "0001-01-01T00:00:00Z",
            True,
            -1,
            1e12,
            date(2030, 1, 31),
        ):
            found_problems = problems({"kind": "user", "metadata": {"name": "x", "expires": wrong}})
            self.assertEqual([*found_problems], ["metadata.expires"], wrong)

    def test_not_written_counts_as_absent(self) -> None:
        """A key without a value is as if it were not there."""
        resource = {"kind": "role", "version": None, "metadata": {"name": "x"}, "spec": None}
        self.assertEqual(read_resource(resource).spec, {})

    def test_read_only(self) -> None:
        """An authority can be shown, and never written."""
        found = problems(written("cert_authority", "user"))
        self.assertEqual(found, {"kind": "cert_authority can only be read"})

    def test_singletons(self) -> None:
        """Of what a cluster has one, the name may be left out, and is no other."""
        self.assertEqual(
            read_resource(written("cap", None)).name,
            read_resource(written("cap", "cluster-auth-preference")).name,
        )
        self.assertEqual(
            problems(written("networking", "mine")),
            {"metadata.name": "has to be cluster-networking-config"},
        )

    def test_origin(self) -> None:
        """Where a setting comes from is one of three words, in a label."""
        one = defaults("cluster_networking_config")
        self.assertEqual(one.origin, DEFAULTS)
        for origin in (CONFIG_FILE, DYNAMIC):
            other = with_origin(one, origin)
            self.assertEqual(other.origin, origin)
            self.assertEqual(read_resource(as_json(other)), other)
        self.assertIsNone(read_resource(written("cap", None)).origin)
        wrong = written("cap", None)
        wrong["metadata"]["labels"] = {ORIGIN: "me"}
        self.assertEqual([*problems(wrong)], [f"metadata.labels.{ORIGIN}"])

    def test_s56_everything_is_bounded(self) -> None:
        """S56: no string, list or mapping is taken at any length."""
        long = "x" * 10_000_000
        for resource in (
            written("user", long),
            written(long),
            {**written("user"), "version": long},
            {**written("user"), long: 1},
            written("user", roles=[long]),
            written("user", roles=["x"] * 257),
            written("user", traits={long: ["x"]}),
            written("user", traits={str(number): ["x"] for number in range(257)}),
            written("user", traits={"a": [str(number) * 100 for number in range(256)]}),
            written("role", allow={"logins": [long]}),
            written("role", allow={"node_labels": {long: "x"}}),
            written("role", allow={"node_labels": {"x": [f"^{long}$"]}}),
            {**written("role"), "spec": {long: 1}},
            {**written("role"), "spec": {"allow": {long: 1}}},
            {**written("role"), "spec": {"allow": {"rules": [{long: 1}]}}},
            written("role", allow={
                what: {f"k{key}": ["x" * 250] * 16 for key in range(16)}
                for what in ("node_labels", "db_labels", "app_labels")
            }),
            written("lock", target={"user": "x"}, message=long),
            written("token", types=[long]),
            written("networking", None, client_idle_timeout=long),
        ):  # fmt: skip
            found = self.assertRaises(BadResource, read_resource, resource)
            self.assertLess(len(str(found)), 2000)

    def test_total_is_bounded(self) -> None:
        """A role of many long words is refused as a whole."""
        labels = {f"k{key}": ["x" * 250] * 100 for key in range(8)}
        found = problems(written("role", allow={"node_labels": labels}))
        self.assertEqual(found, {"spec": "comes to more than 131072 bytes"})

    def test_any_value(self) -> None:
        """Whatever comes, it is a resource that reads back the same, or a BadResource."""
        keys = sorted(
            {key for kind in KINDS.values() for key in kind.model.model_fields}
            | {"logins", "node_labels", "rules", "resources", "verbs", "user", "env", "where"}
        )
        leaves = st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-1, 3),
            st.floats(),
            st.text(max_size=4),
            st.sampled_from(["*", "30m", "off", "otp", "node", "list", "{{internal.x}}", "^a$"]),
        )
        values = st.recursive(
            leaves,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(keys), inner, max_size=4)
            ),
            max_leaves=12,
        )

        @given(st.sampled_from([*KINDS]), values)
        def check(kind: str, spec: Any) -> None:
            try:
                resource = read_resource(
                    {"kind": kind, "metadata": {"name": KINDS[kind].singleton or "x"}, "spec": spec}
                )
            except BadResource as e:
                self.assertTrue(e.problems)
                return
            self.assertEqual(read_resource(json.loads(json.dumps(as_json(resource)))), resource)
            if kind == "role":
                role_of(resource)

        check()
