"""The ledger of a real cluster with two workers: who used which port, how, and with what."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import Any

import tlsgate
from tests.support.common import common, no_bugs
from tests.support.harness import Gate
from tests.support.sshcase import Person, SshCase

PROGRAM = f"tlsgate/{tlsgate.__version__}"
#: Within this time a worker's report has come.
REPORT_SECONDS = 20.0


class LedgerTests(SshCase):
    """One cluster, one node, one user."""

    def setUp(self) -> None:
        super().setUp()
        made = common(self, type(self).made)
        for name in ("hub", "db1", "alice", "web_port", "ssh_port", "tunnel_port"):
            setattr(self, name, getattr(made, name))
        no_bugs(self, self.hub, self.db1.agent)

    def made(self) -> LedgerTests:
        """Start everything; separate, so that agents and ssh take their own ports."""
        self.begin(mode="separate", proxy_more={"workers": 2})
        self.db1 = self.node()
        self.alice: Person = self.person()
        self.write_config(self.alice)
        return self

    def rows(self, **wanted: str) -> list[dict[str, Any]]:
        """What `tgctl ledger ls` would show."""
        query = "&".join(f"{key}={value}" for key, value in wanted.items())
        found: list[dict[str, Any]] = self.hub.admin("GET", f"/v1/ledger?{query}")["items"]
        return found

    def total(self, **wanted: str) -> int:
        """Connections of some rows."""
        return sum(int(row["count"]) for row in self.rows(**wanted))

    def ssh(self, command: str) -> str:
        """What *command* prints at the node, by the ssh that `tgsh config` has set up."""
        return self.says(self.alice, "ssh", "-F", self.alice.config, "root@db1.localhost", command)

    def until(self, what: Any) -> None:
        """Wait until reports say it."""
        self.hub.child.until(what, "the ledger", REPORT_SECONDS)

    def until_told(self) -> None:
        """Wait until every worker has told of all that was before."""
        began = time.time()

        def heard() -> bool:
            said = self.hub.admin("GET", "/v1/gateways/reports")["items"]
            return all(one["heard"] > began + 1 for one in said)

        self.until(heard)

    def test_users(self) -> None:
        """Plain ssh by the jump host is raw, tgsh comes by a token, each names its program."""
        before = self.total(name="alice", listener="ssh")
        for _ in range(3):
            self.assertEqual(self.ssh("echo there"), "there\n")
        self.until(lambda: self.total(name="alice", listener="ssh") >= before + 3)
        row = next(iter(self.rows(name="alice", listener="ssh")))
        self.assertEqual((row["kind"], row["transport"]), ("user", "raw"))
        self.assertTrue(row["version"].startswith("OpenSSH_"), row)
        self.assertEqual(self.rows(name="alice", listener="web", transport="raw"), [])

    def test_plain_ssh_on_the_shared_port(self) -> None:
        """SSH without TLS on the web port has a word of its own."""
        text = self.alice.config.read_text().replace(str(self.ssh_port), str(self.web_port))
        config = self.alice.home / "shared"
        config.write_text(text)
        self.says(self.alice, "ssh", "-F", config, "root@db1.localhost", "true")
        self.until(lambda: self.rows(name="alice", transport="plain-ssh"))
        (row,) = self.rows(name="alice", transport="plain-ssh")
        self.assertEqual(row["listener"], "web")

    def test_agents(self) -> None:
        """An agent's tunnels are open now, with its version."""

        def told() -> list[str]:
            rows = self.rows(kind="agent", listener="tunnel")
            return [one["name"] for one in rows if one["open"] and one["version"] == PROGRAM]

        self.until(told)
        self.assertEqual(told(), ["db1"])

    def test_health_checks_are_nobody(self) -> None:
        """Who only looks at a port leaves no row."""

        def unknown() -> list[tuple[str, str, str, int]]:
            ways = (("ssh", "raw"), ("tunnel", "tls"), ("web", "tls"))
            return sorted(
                (row["listener"], row["transport"], row["version"], row["count"])
                for row in self.rows(kind="unknown")
                if (row["listener"], row["transport"]) in ways
                # Agents ask for the way before they dial.
                and not row["version"].startswith("tlsgate/")
            )

        self.until_told()
        before = unknown()
        for port in (self.web_port, self.ssh_port, self.tunnel_port) * 5:
            socket.create_connection(("127.0.0.1", port)).close()
        for _ in range(3):
            with self.hub.dial(name="localhost") as silent:
                self.assertIsNotNone(silent.version())
        self.until_told()
        self.assertEqual(unknown(), before)

    def test_scanners_are_no_users(self) -> None:
        """Whoever tries every port with every protocol is one address, and no user or agent."""

        def known() -> set[tuple[str, str, str]]:
            return {
                (row["kind"], row["name"], row["listener"])
                for kind in ("user", "agent")
                for row in self.rows(kind=kind)
            }

        before, was = known(), self.total(kind="unknown", listener="ssh")
        probes = (b"\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-scan\r\n", bytes(range(256)))
        for port in (self.web_port, self.ssh_port, self.tunnel_port):
            for probe in probes:
                with socket.create_connection(("127.0.0.1", port), 10) as scan:
                    scan.sendall(probe)
                    scan.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(OSError):
                        while scan.recv(4096):
                            pass
        self.until(lambda: self.total(kind="unknown", listener="ssh") >= was + len(probes))
        self.assertEqual(known(), before)
        names = {row["name"] for row in self.rows(kind="unknown")}
        self.assertEqual(names, {"127.0.0.1"})

    def test_two_workers_are_heard(self) -> None:
        """Each process of the gateway says what it has open, and what mode it tells."""

        def said() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = self.hub.admin("GET", "/v1/gateways/reports")["items"]
            return found

        self.until(lambda: [one["worker"] for one in said()] == ["0", "1"])
        for one in said():
            self.assertEqual((one["mode_in_force"], one["away"]), ("separate", False))
            names = {port["name"]: port["state"] for port in one["listeners"]}
            self.assertEqual(names, {"web": "open", "ssh": "open", "tunnel": "open"})
            self.assertEqual(one["file"]["path"], str(self.hub.file))
        self.mode("multiplex")
        self.until(lambda: {one["mode_in_force"] for one in said()} == {"multiplex"})
        self.mode("separate")

    def test_worker_killed(self) -> None:
        """What a worker has told outlives it, and its successor is heard; the last test here."""
        self.ssh("true")
        self.until(lambda: self.total(name="alice", listener="ssh") > 0)
        counted = self.total(name="alice", listener="ssh")
        boots = {one["boot"] for one in self.hub.admin("GET", "/v1/gateways/reports")["items"]}
        (member,) = (one for one in self.members(self.hub) if one["worker"] == 0)
        os.kill(member["pid"], signal.SIGKILL)

        def replaced() -> bool:
            items = self.hub.admin("GET", "/v1/gateways/reports")["items"]
            now = {one["boot"] for one in items}
            return len(items) == 2 and len(now & boots) == 1

        self.until(replaced)
        self.assertGreaterEqual(self.total(name="alice", listener="ssh"), counted)

    def members(self, gate: Gate) -> list[dict[str, Any]]:
        """The workers, as `tgctl status` has them."""
        found: list[dict[str, Any]] = gate.admin("GET", "/v1/status")["members"]
        return found
