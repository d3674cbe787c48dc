"""A cluster as it has been for years, with separate ports, for tests that change it under way.

One gateway with its auth service, started from the file with which docs/guide.md begins; one
agent with a node, a database and an application; alice, who does nothing when things change;
bob, who does as the guide says; and an operator, who does the rest of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pexpect
from attrs import evolve

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, until
from tests.support.cluster import Holder, new_key
from tests.support.harness import Gate
from tests.support.localhouse import ROLE, LocalCase
from tests.support.pgserver import Database, psql17
from tests.support.sshcase import Node, Person
from tests.support.walkguide import USER, Change, Command, File, Guide, Ports, free_ports, page
from tests.support.walkheld import (
    Held,
    HeldLogin,
    HeldProgram,
    HeldTransfer,
    HeldWebSocket,
)
from tests.support.walkregulars import Regular
from tests.support.walkways import Document, Means, fetch, postgres_port
from tests.support.webapps import Shower
from tlsgate.core.sshway import SEPARATE, ssh_way

#: How long clients may act by what they were told before; a minute elsewhere.
SETTLE_SECONDS = 3
#: Agents who are played: a gateway hears each eight times in 15 seconds.
_MEMBERS = 10
APP = "shower.gw.test"
SELECT = "select '{}';".format
WHO = "select current_user || ' in ' || current_database()"


class WalkCase(LocalCase):
    """Tests with such a cluster."""

    #: Of the gateway.
    workers = 1
    #: More lines below auth_service and proxy_service.
    auth_more: Sequence[str] = (f"settle_seconds: {SETTLE_SECONDS}",)
    #: What is held when the walk begins is held to its end, on a slow machine too.
    proxy_more: Sequence[str] = ("timeouts: {drain_seconds: 900}",)

    db1: Node
    alice: Person
    bob: Person
    operator: Person
    means: Means
    guide: Guide
    #: Where psql has found the database before anything changed.
    old_uri: str

    def start(self) -> None:
        """Start everything."""
        self.ports = free_ports()
        self.web_port, self.ssh_port, self.tunnel_port, self.postgres_port = self.ports
        folder = self.folder()
        self.guide = page(folder, self.ports)
        self.v1 = self.first_file(self.guide, self.auth_more)
        self.hub = self.again_in(folder)
        self.put_role("prod", labels={"env": ["prod"]})
        self.put("use", ROLE)
        self._start_targets()
        self.alice = self.person("alice", ["prod", "use", "access"])
        self.says(self.alice, "tgsh", "db", "login", "orders", "--db-user=alice", "--db-name=app")
        self.old_uri = self.uri("--legacy")
        self.write_config(self.alice)
        self.bob = self.person("bob", ["prod", "use", "access"])
        ca = {"CURL_CA_BUNDLE": str(pki().file("ca.pem"))}
        self.bob.env.update(ca)
        env = {**self.bob.env, "TLSGATE_DATA_DIR": str(self.hub.data_dir)}
        self.operator = evolve(self.bob, env=env)
        self._start_means()

    def first_file(self, guide: Guide, auth: Sequence[str], teleport: Sequence[str] = ()) -> str:
        """The file with which the guide begins, with more lines in its blocks."""
        text = guide.configuration()
        log = "{output: stderr, severity: DEBUG, format: {output: json}}"
        for block, lines in (
            ("teleport:", [f"log: {log}", *teleport]),
            ("auth_service:", auth),
            ("proxy_service:", [f"workers: {self.workers}", *self.proxy_more]),
        ):
            text = text.replace(
                f"{block}\n", "".join([f"{block}\n", *(f"  {one}\n" for one in lines)])
            )
        return text

    def again_in(self, folder: Any) -> Gate:
        """Start the gateway in a folder."""
        gate = Gate(folder, self.v1)  # later starts read what is there
        self.addCleanup(self._no_bugs, gate)
        self.addCleanup(gate.stop)
        gate.until_ready()
        return gate

    def _no_bugs(self, gate: Gate) -> None:
        self.assertEqual(gate.bugs(), [], gate.child.tail())

    def _start_targets(self) -> None:
        """An application, a database, sshd, and the agent of all three."""
        shower = self.shower = Shower()
        shower.start()
        self.addCleanup(shower.stop)
        trusted = self.folder() / "db.pem"
        trusted.parent.chmod(0o755)
        trusted.write_text("".join(self.hub.admin("GET", "/v1/cas")["cas"]["db"]))
        trusted.chmod(0o644)
        server = self.serve(Database(pki().keypair("target"), trusted))
        tls = {"server_name": "target.test", "ca_cert_file": str(pki().file("ca.pem"))}
        labels = {"env": "prod"}
        self.db1 = self.node(
            "db1",
            node=True,
            db=[
                {
                    "name": "orders",
                    "protocol": "postgres",
                    "uri": f"127.0.0.1:{server.port}",
                    "tls": tls,
                    "static_labels": labels,
                }
            ],
            apps=[{"name": "shower", "uri": f"http://127.0.0.1:{shower.port}", "labels": labels}],
        )

    def _start_means(self) -> None:
        """What the dialler shows."""
        user = self.sign(self.hub, "alice")
        private, public, _ = new_key()
        body = {
            "tls_public_key": public,
            "routes": {"db": "orders", "db_user": "alice", "db_name": "app"},
        }
        answer = self.ask(self.hub, user, "POST", "/v1/me/certificates", body)
        self.assertEqual(answer.status, 200, answer.text)
        database = self.holder("alice", private, {"cas": user.issued["cas"], **answer.body})
        self.means = Means(
            host="localhost",
            port=self.web_port,
            user=user,
            database=database,
            members=[self.member(f"probe{number}") for number in range(_MEMBERS)],
            node="db1.gw.test:22",
            app=APP,
        )

    def member(self, name: str) -> Holder:
        """An agent's certificate, for somebody who plays one."""
        private, public, _ = new_key()
        token = self.node_token(self.hub)
        body = {"token": token, "type": "node", "name": name, "tls_public_key": public}
        return self.holder(name, private, self.hub.admin("POST", "/v1/join", body))

    # -- clients -----------------------------------------------------------------------

    def jump(self, *words: str, port: int | None = None) -> list[str]:
        """`ssh -J` over the port that SSH has for itself, as written years ago.

        Args:
            port: of another gateway.
        """
        port = port or self.ssh_port
        config = self.alice.home / f"jump_config_{port}"
        if not config.exists():
            known, key = self._ssh_files()
            config.write_text(
                f"Host jump\n  HostName localhost\n  Port {port}\n  User alice\n"
                f"Host *\n  IdentityFile {key}\n  CertificateFile {key}-cert.pub\n"
                f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {known}\n"
                "  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
                "Host jump\n  HostKeyAlias gw.test\n"
                "Host db1.gw.test\n  HostKeyAlias db1.node.gw.test\n"
            )
        return ["ssh", "-F", str(config), "-J", "jump", "root@db1.gw.test", *words]

    def _ssh_files(self) -> tuple[str, str]:
        """Known hosts, and a key with its certificate beside it."""
        from tests.support.jump import SshFiles

        files = SshFiles(self.sign(self.hub, "alice"))
        return str(files.known), str(files.key)

    def uri(self, *more: str) -> str:
        """Where psql finds the database."""
        return self.says(self.alice, "tgsh", "db", "config", "--format=uri", *more).strip()

    def until_database(self) -> None:
        """Wait until the agent has found the auth service of the process that serves now."""
        words = ("psql", self.uri("--legacy"), "-Atc", "select 1")
        until(lambda: not self.do(self.alice, *words).returncode, "psql gets in", 60)

    def everything_held(self) -> list[Held]:
        """One connection of each kind, in the mode that is in force."""
        env = self.alice.env
        port, user = self.web_port, self.means.user
        carol = self.add_user(self.hub, "carol", ["access", "editor"])
        where = self.uri("--legacy")
        return [
            HeldProgram("ssh -J", self.jump("cat"), env),
            HeldProgram("tgsh ssh", ["tgsh", "ssh", "root@db1", "cat"], env),
            HeldProgram("psql", ["psql", "-XqAt", where], env, SELECT),
            HeldTransfer("transfer", port, user, APP),
            HeldWebSocket("websocket", port, user, APP),
            HeldLogin("web login", port, carol),
        ]

    def held_at(self, ports: Ports, *, separate: bool = True) -> list[Held]:
        """Connections that a gateway with these ports carries by itself, whoever else is there.

        Args:
            separate: by separate ports, too, which are open.
        """
        web, ssh, _, postgres = ports
        where = self.old_uri.replace(f":{self.postgres_port}/", f":{postgres}/")
        user, env = self.means.user, self.alice.env
        found: list[Held] = [
            HeldTransfer("transfer", web, user, APP),
            HeldWebSocket("websocket", web, user, APP),
        ]
        if separate:
            found += [
                HeldProgram("ssh -J", self.jump("cat", port=ssh), env),
                HeldProgram("psql", ["psql", "-XqAt", where], env, SELECT),
            ]
        return found

    def regulars_of(self) -> list[Regular]:
        """One client of each kind."""
        return [
            *self.regulars_at(self.ports),
            Regular(name="ssh", words=lambda: self.by_config("echo in"), wanted="in\n"),
            Regular(
                name="tgsh ssh",
                words=lambda: ("tgsh", "ssh", "root@db1", "echo in"),
                wanted="in\n",
            ),
            Regular(
                name="tgsh db connect",
                words=lambda: ("tgsh", "db", "connect", "orders", "--", "-Atc", WHO),
                wanted="alice in app\n",
            ),
        ]

    def regulars_at(self, ports: Ports) -> list[Regular]:
        """Clients that have been told where the gateway is that has these ports."""
        web, ssh, _, postgres = ports
        curl = (
            *("curl", "-sS", "--max-time", "20", "--cacert", pki().file("ca.pem")),
            *("--connect-to", f"::127.0.0.1:{web}"),
        )
        user = self.means.user
        legacy = self.old_uri.replace(f":{self.postgres_port}/", f":{postgres}/")
        direct = self.uri().replace(f":{self.web_port}/", f":{web}/")

        def by_jump(document: Document) -> bool:
            return ssh_way(document, "localhost", web)[0] == SEPARATE

        def by_port(document: Document) -> bool:
            return postgres_port(document, web) == postgres

        return [
            Regular(
                name="ssh -J",
                words=lambda: self.jump("echo in", port=ssh),
                wanted="in\n",
                fits=by_jump,
            ),
            Regular(
                name="psql",
                words=lambda: ("psql", legacy, "-Atc", WHO),
                wanted="alice in app\n",
                fits=by_port,
            ),
            Regular(
                name="psql 17",
                words=lambda: (psql17(), direct, "-Atc", WHO),
                wanted="alice in app\n",
            ),
            Regular(
                name="curl",
                words=lambda: (
                    *curl,
                    *("--cert", user.cert, "--key", user.key, "-o", os.devnull),
                    *("-w", "%{http_code}", f"https://{APP}/"),
                ),
                wanted="200",
            ),
        ]

    def new_config(self) -> None:
        """Have alice run `tgsh config`, while her ssh is in use."""
        text = self.says(self.alice, "tgsh", "config")
        written = self.alice.config.with_suffix(".new")
        written.write_text(text)
        written.replace(self.alice.config)

    def by_config(self, *words: str) -> list[str]:
        """`ssh` by what `tgsh config` has written."""
        return ["ssh", "-F", str(self.alice.config), "root@db1.localhost", *words]

    # -- the guide -------------------------------------------------------------------------

    def follow(self, heading: str) -> None:
        """Do what stands below a heading of docs/guide.md."""
        for piece in self.guide.sections()[heading]:
            if isinstance(piece, File):
                (self.hub.folder / piece.name).write_text(piece.text)
            elif isinstance(piece, Change):
                self.hub.write(piece.apply(self.hub.file.read_text()))
            elif piece.line.startswith("tgsh login "):
                self.type_login(self.bob, piece.line)
            else:
                self.shell(piece)

    def shell(self, command: Command) -> str:
        """Have the operator, or bob, run a line; gives what it prints."""
        line, program = command.line, command.program
        who = self.bob if program in USER else self.operator
        if program == "ssh":  # it looks for its file in the home of the user who runs it
            line = line.replace("ssh ", f"ssh -F {who.config} ", 1)
        if program not in USER:
            line = f"cd {self.hub.folder} && {line}"
        done = self.do(who, "sh", "-c", line)
        said = (done.stdout + done.stderr).decode()
        self.assertIn(done.returncode, command.codes, f"{line}\n{said}")
        return done.stdout.decode()

    def type_login(self, person: Person, line: str) -> None:
        """Log in in a terminal, by the line of the guide."""
        # A code is good once, and half a minute before its time.
        used = person.user
        until(lambda: used.last_step <= time.time() // 30, "a new code", 65)
        child = pexpect.spawn(
            "sh", ["-c", line], env=person.env, timeout=PATIENCE_SECONDS, encoding="utf-8"
        )
        try:
            child.expect("Password of .*: ")
            child.sendline(person.user.password)
            child.expect("code: ")
            child.sendline(person.user.code(time.time()))
            child.expect(pexpect.EOF)
            shown = child.before or ""
        finally:
            child.close(force=True)
        self.assertEqual(child.exitstatus, 0, shown)

    # -- the state of things --------------------------------------------------------------

    def document(self) -> Mapping[str, Any]:
        """What is served now."""
        return fetch(self.means)

    def agent_ways(self) -> list[str]:
        """The listeners over which the agent's connections have come."""
        rows = self.hub.admin("GET", "/v1/connections")
        return [str(one["listener"]) for one in rows if one["identity"] == "db1"]

    def until_agent_at(
        self, listener: str, seconds: float = 30.0, gate: Gate | None = None
    ) -> None:
        """Wait until the agent has a tunnel over a listener of the gateway, ready for clients.

        Args:
            gate: another gateway than the first.
        """

        def there() -> bool:
            rows = (gate or self.hub).admin("GET", "/v1/connections")
            ours = [one for one in rows if one.get("route") == "tunnel"]
            return any((one["identity"], one["listener"]) == ("db1", listener) for one in ours)

        until(there, f"the agent at {listener}", seconds, self.db1.agent.child.tail)
