"""Databases while something around them changes: gateways, agents, authorities, modes, roles.

One cluster with two workers, two agents that offer the same server of version 17, and people who
use tgsh. `test_postgres` and `test_tgsh_db` show what they do on a quiet day.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shlex
import threading
from collections import Counter
from typing import Any

import psycopg

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, until
from tests.support.harness import Gate
from tests.support.localhouse import LocalCase, LocalTests
from tests.support.pgserver import Database, binaries17, psql17
from tests.support.ports import free_port
from tests.support.sshcase import Person
from tests.support.webapps import Shower

WHO = "select current_user || ' in ' || current_database()"
SLEEP = "select pg_sleep(50)"
LABELS = {"env": "prod"}
WALK = ("init", "update_clients", "update_servers", "standby")


class House:
    """The cluster, two agents at one server, alice, audited anna, and bob, who has no role."""

    def __init__(self) -> None:
        case = self.case = LocalCase()
        atexit.register(case.doCleanups)
        self.shower = Shower()
        self.shower.start()
        case.addCleanup(self.shower.stop)
        self.port = free_port()
        case.open(
            proxy_more={
                "workers": 2,
                "postgres_listen_addr": f"127.0.0.1:{self.port}",
                # A gateway that stops waits for sessions as long as that.
                "timeouts": {"drain_seconds": 1},
            }
        )
        for name, allow, options in (
            ("watched", {"db_users": ["alice"], "db_names": ["app"]}, {"audit_queries": True}),
            ("other", {"db_users": ["*"], "db_names": ["*"]}, {}),
        ):
            labels = LABELS if name == "watched" else {"env": "none"}
            body = {
                "kind": "role",
                "version": "v7",
                "metadata": {"name": name},
                "spec": {
                    "options": options,
                    "allow": {**allow, "db_labels": labels, "app_labels": labels},
                },
            }
            case.hub.admin("PUT", f"/v1/resources/role/{name}?force=1", body)
        self.client_ca = case.folder() / "db.pem"
        self.client_ca.parent.chmod(0o755)
        self.trust()
        self.server = case.serve(Database(pki().keypair("target"), self.client_ca, version=17))
        tls = {"server_name": "target.test", "ca_cert_file": str(pki().file("ca.pem"))}
        offered = {
            "name": "orders",
            "protocol": "postgres",
            "uri": f"127.0.0.1:{self.server.port}",
            "tls": tls,
            "static_labels": LABELS,
        }
        shown = f"http://127.0.0.1:{self.shower.port}"
        feed = {"name": "feed", "uri": f"tcp://127.0.0.1:{self.shower.port}", "labels": LABELS}
        shower = {"name": "shower", "uri": shown, "public_addr": "shower.gw.test"}
        apps = [feed, {**shower, "labels": LABELS}]
        self.agents = [
            case.agent(case.hub, name, db=[offered], apps=apps, timeouts={"drain_seconds": 1})
            for name in ("db1", "db2")
        ]
        self.alice = self.user("alice", "use")
        self.anna = self.user("anna", "watched")
        self.bob = self.user("bob", "other")

    def trust(self) -> None:
        """Have the server's file be what the cluster says of its database authority."""
        self.client_ca.write_text("".join(self.case.hub.admin("GET", "/v1/cas")["cas"]["db"]))
        self.client_ca.chmod(0o644)

    def user(self, name: str, role: str) -> Person:
        """Somebody who has logged in, and where a role allows it to the database as well."""
        made = self.case.person(name, [role])
        if role != "other":
            words = ("tgsh", "db", "login", "orders", "--db-user=alice", "--db-name=app")
            done = self.case.do(made, *words)
            assert done.returncode == 0, done.stderr
        return made

    def until_tunnels(self, agent: Gate) -> None:
        """Wait until an agent has one to each worker."""
        agent.child.until(
            lambda: len({one["worker"] for one in self.case.tunnels(agent)}) == 2,
            "a tunnel to each worker",
            2 * PATIENCE_SECONDS,
        )


@functools.cache
def house() -> House:
    """The one of this process."""
    return House()


class DatabaseTests(LocalTests):
    """What people notice of it."""

    def setUp(self) -> None:
        self.house = house()
        path = f"{binaries17()}:{self.house.alice.env['PATH']}"
        self.new = {"PATH": path}
        for agent in self.house.agents:
            self.house.until_tunnels(agent)

    def connect(self, where: str) -> psycopg.Connection[Any]:
        """A session, which ends with the test."""
        made = psycopg.connect(where, autocommit=True)
        self.addCleanup(made.close)
        return made

    def direct(self) -> str:
        """What alice's libpq is given, without a local proxy."""
        return self.says("tgsh", "db", "config", "orders", "--format=uri", "--legacy").strip()

    def mode(self, mode: str) -> None:
        """Change the cluster's mode until the end of the test."""
        self.addCleanup(self.house.case.mode, "multiplex")
        self.house.case.mode(mode)

    def trail(self, event: str, **wanted: object) -> list[dict[str, Any]]:
        """The cluster's audit trail has these."""
        found = []
        for line in (self.house.case.hub.data_dir / "log/events.log").read_text().splitlines():
            one = json.loads(line)
            if one["event"] == event and all(one.get(k) == v for k, v in wanted.items()):
                found.append(one)
        return found

    def test_both_modes(self) -> None:
        """With two workers a database and both kinds of application work in either mode.

        Who has no role reads the sentence of that everywhere.
        """
        bob = self.house.bob
        for mode in ("separate", "multiplex"):
            self.mode(mode)
            for env in (None, self.new):
                said = self.says("tgsh", "db", "connect", "orders", "--", "-Atc", WHO, env=env)
                self.assertEqual(said, "alice in app\n")
            self.says("tgsh", "apps", "login", "shower")
            words = shlex.split(self.says("tgsh", "apps", "config", "shower", "--format=curl"))
            to = ("--connect-to", f"::127.0.0.1:{self.house.case.web_port}")
            said = self.says("curl", "-sS", *to, *words)
            self.assertIn('"method": "GET"', said)
            proxy = self.proxy("app", "feed")
            said = self.says("curl", "-sS", f"http://127.0.0.1:{proxy.ready['port']}/")
            self.assertIn('"method": "GET"', said)
            for what in (("db", "orders"), ("apps", "shower"), ("apps", "feed")):
                said = self.fails("tgsh", what[0], "login", what[1], who=bob)
                self.assertRegex(said, f"no (database|application) is called '{what[1]}'")

    def test_taken_role(self) -> None:
        """Whose role is taken reads who may not reach what, in psql and in curl."""
        house = self.house
        house.case.put(
            "brief",
            {"app_labels": LABELS, "db_labels": LABELS}
            | {"db_users": ["alice"], "db_names": ["app"]},
        )
        carl = house.user("carl", "brief")
        self.assertEqual(self.do("tgsh", "apps", "login", "shower", who=carl).returncode, 0)
        uri = self.says("tgsh", "db", "config", "--format=uri", "--legacy", who=carl).strip()
        words = shlex.split(
            self.says("tgsh", "apps", "config", "shower", "--format=curl", who=carl)
        )
        to = ("--connect-to", f"::127.0.0.1:{house.case.web_port}")
        self.assertEqual(self.says("psql", uri, "-Atc", WHO, who=carl), "alice in app\n")
        house.case.put("brief", {"app_labels": {"env": "none"}})
        until(
            lambda: (
                "carl may not reach database orders"
                in self.do("psql", uri, "-c", WHO, who=carl).stderr.decode()
            ),
            "psql says it",
        )
        said = self.says("curl", "-sS", *to, *words, who=carl)
        self.assertIn("carl may not reach app shower", json.loads(said)["error"]["message"])
        said = self.fails("tgsh", "db", "connect", "orders", "--", "-c", WHO, who=carl)
        self.assertIn("carl may not reach database orders", said)

    def test_prepared_over_a_restart(self) -> None:
        """A prepared statement ends with its session: the client reads so, and prepares again."""
        house = self.house
        proxy = self.proxy("db", "orders", "--tunnel")
        ways = (proxy.ready["uri"], self.direct())
        sessions = [self.connect(where) for where in ways]
        asked = "select %s::int + 1"
        for one in sessions:
            one.execute("prepare mine as select 6 * 7")
            self.assertEqual(one.execute("execute mine").fetchone(), (42,))
            self.assertEqual(one.execute(asked, (1,), prepare=True).fetchone(), (2,))
        house.case.hub.stop()
        house.case.hub = house.case.again(house.case.hub)
        for agent in house.agents:
            house.until_tunnels(agent)
        for before, where in zip(sessions, ways, strict=True):
            with self.assertRaises(psycopg.OperationalError) as caught:
                before.execute(asked, (7,), prepare=True)
            self.assertRegex(str(caught.exception), "terminating connection.* the gateway stops")
            self.assertTrue(before.broken)
            after = self.connect(where)
            with self.assertRaises(psycopg.errors.InvalidSqlStatementName):
                after.execute("execute mine")
            for number in range(3):
                found = after.execute(asked, (number,), prepare=True).fetchone()
                self.assertEqual(found, (number + 1,))
            with psycopg.ServerCursor(after, "rows", withhold=True) as rows:
                rows.execute("select generate_series(1, 5)")
                self.assertEqual(rows.fetchall(), [(number,) for number in range(1, 6)])

    def test_two_agents(self) -> None:
        """Sessions go on at either; a cancel finds the one that has it, and one may go away."""
        house = self.house
        where = self.direct()
        for _ in range(6):
            self.cancelled(self.connect(where))
        first = house.agents[0]
        first.stop()
        try:
            for _ in range(6):
                self.assertEqual(self.says(psql17(), where, "-Atc", WHO), "alice in app\n")
            self.cancelled(self.connect(where))
        finally:
            house.agents[0] = house.case.again(first)
            house.until_tunnels(house.agents[0])

    def cancelled(self, session: psycopg.Connection[Any]) -> None:
        """Have a session's query run, and cancel it."""
        said: list[str] = []

        def sleep() -> None:
            try:
                session.execute(SLEEP)
            except psycopg.Error as error:
                said.append(str(error.sqlstate))

        thread = threading.Thread(target=sleep)
        thread.start()
        count = f"select count(*) from pg_stat_activity where query = '{SLEEP}'"
        until(
            lambda: self.house.server.query(f"{count} and state = 'active'").strip() == "1",
            "it sleeps",
        )
        session.cancel()
        thread.join(PATIENCE_SECONDS)
        self.assertEqual(said, ["57014"])
        session.close()

    def test_rotation(self) -> None:
        """No session fails in any phase, where the server has had both authorities in time.

        Nor does one of those that begin all the while, beside the changes.
        """
        house = self.house
        where = self.direct()
        stop, begun = threading.Event(), Counter[str]()

        def load() -> None:
            while not stop.is_set():
                try:
                    with psycopg.connect(where, autocommit=True) as one:
                        one.execute("select 1")
                    begun["served"] += 1
                except psycopg.Error as error:
                    begun[str(error)] += 1

        threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
        for one in threads:
            one.start()

        def joined() -> None:
            stop.set()
            for one in threads:
                one.join(PATIENCE_SECONDS)

        self.addCleanup(joined)
        hub = house.case.hub
        file = house.server.folder / house.client_ca.name
        before = hub.admin("GET", "/v1/cas")["cas"]["db"]
        for phase in WALK:
            body = {"phase": phase, **({"grace_seconds": 0} if phase == "standby" else {})}
            said = hub.admin("POST", "/v1/authorities/db/rotate", body)
            self.assertEqual(said["phase"], phase)
            for _ in range(3):
                self.assertEqual(self.says("psql", where, "-Atc", WHO), "alice in app\n")
            if phase == "init":
                house.trust()
                both = house.client_ca.read_text()
                self.assertEqual(both.count("BEGIN"), 2)
                file.write_text(both)
                house.server.query("select pg_reload_conf()")
        after = hub.admin("GET", "/v1/cas")["cas"]["db"]
        self.assertEqual((len(before), len(after), before == after), (1, 1, False))
        house.trust()
        file.write_text(house.client_ca.read_text())
        house.server.query("select pg_reload_conf()")
        for _ in range(3):
            self.assertEqual(self.says("psql", where, "-Atc", WHO), "alice in app\n")
        joined()
        self.assertEqual(set(begun), {"served"}, begun)
        self.assertGreater(begun["served"], 20)

    def test_audited(self) -> None:
        """What a role has watched is in the cluster's trail, with who it was; the rest is not."""
        mark = os.urandom(8).hex()
        anna = self.house.anna
        words = ("tgsh", "db", "connect", "orders", "--", "-Atc")
        self.says(*words, f"select 'anna {mark}'", who=anna)
        self.says(*words, f"select 'alice {mark}'")
        until(lambda: bool(self.trail("db.session.query", user="anna")), "it is told of")
        (told,) = [
            one for one in self.trail("db.session.query") if mark in str(one.get("db_query"))
        ]
        self.assertEqual(
            (told["db_query"], told["db_user"], told["db_service"], told["code"]),
            (f"select 'anna {mark}'", "alice", "orders", "TDB02I"),
        )
        self.assertIn("db", told["reported_by"])
        self.assertEqual(told["addr.remote"], "127.0.0.1")
        for event in ("db.session.start", "db.session.end"):
            (one,) = [
                one
                for one in self.trail(event, identity="anna")
                if one.get("trace") == told["trace"]
            ]
            self.assertEqual(
                (one["target"], "listener" in one, "route" in one),
                (
                    "db/orders",
                    True,
                    True,
                ),
            )
