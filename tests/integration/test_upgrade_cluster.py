"""`tgctl upgrade` of a whole cluster in one daemon, while clients come by every way there is."""

from __future__ import annotations

import shlex
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.certs import pki
from tests.support.child import alive, until
from tests.support.cluster import Holder, new_key
from tests.support.harness import CLIENT_SECONDS
from tests.support.walkdials import Dialler
from tests.support.walkheld import HeldProgram, HeldWebSocket
from tests.support.walkhouse import APP, WalkCase

#: New connections a second.
_RATE = 20.0
#: Before the first upgrade, and after each.
_QUIET = 40
#: Nobody waits longer for an agent; a machine that is busy may add something.
_LONGEST_SECONDS = 6.0
#: What the database says of somebody whom it does not know.
_NOBODY = "does not exist"


class Strangers:
    """Clients that come one by one, each as another user whom the database does not know.

    Attributes:
        said: what each was told at last.
    """

    def __init__(self, who: Holder, port: int) -> None:
        self._context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        self._context.load_cert_chain(who.cert, who.key)
        self._context.set_alpn_protocols(["postgresql"])
        self._port = port
        self.said: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._come, daemon=True)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)

    def _come(self) -> None:
        while not self._stopped.wait(0.05):
            try:
                self.said.append(self._one(f"stranger{len(self.said)}"))
            except OSError as error:
                self.said.append(repr(error))

    def _one(self, user: str) -> str:
        words = f"user\0{user}\0database\0app\0\0".encode()
        raw = socket.create_connection(("127.0.0.1", self._port), CLIENT_SECONDS)
        with raw, self._context.wrap_socket(raw, server_hostname="localhost") as secured:
            secured.sendall(struct.pack(">II", 8 + len(words), 196608) + words)
            heard = b""
            while data := secured.recv(4096):
                heard += data
                if heard[:1] == b"E" and b"\0\0" in heard:
                    break
        return heard.decode("utf-8", "replace")


class ClusterUpgradeTests(WalkCase):
    """The auth service, a gateway, and an agent with sshd, a database and an application."""

    def test_nobody_is_turned_away(self) -> None:
        """Every new connection is served: at the port, by the agent, by the auth service."""
        self.start()
        strangers = self.strangers()
        with Dialler(means=self.means, rate=_RATE) as dialler, strangers:
            self.come(dialler)
            for _ in range(2):
                old = self.hub.pid
                said = self.hub.admin("POST", "/v1/upgrade")
                self.assertEqual(self.hub.pid, said["pid"])
                until(lambda: not alive(old), "the old one's end")  # noqa: B023
                self.come(dialler)
        failed = "\n".join(map(str, dialler.failed()))
        self.assertEqual(failed, "")
        self.assertEqual([one for one in strangers.said if _NOBODY not in one], [])
        self.assertGreater(len(strangers.said), 10)
        tried = dialler.tried()
        self.assertGreater(min(tried.values()), 5, tried)
        slow = [str(one) for one in dialler.attempts if one.seconds > _LONGEST_SECONDS]
        self.assertEqual(slow, [])
        self.stay()

    def stay(self) -> None:
        """Who is carried by the old process is known to the new one, and a lock reaches them."""
        name = self.means.user.name
        held = HeldWebSocket("websocket", self.web_port, self.means.user, APP)
        self.addCleanup(held.close)
        held.ask()
        through = self.master()
        session = HeldProgram("ssh through a master", through("cat"), self.alice.env)
        self.addCleanup(session.close)
        session.ask()
        old = self.hub.pid
        self.hub.admin("POST", "/v1/upgrade")

        def carried() -> int:
            # Asked at once, while the store goes over: nobody is refused.
            rows = self.hub.admin("GET", f"/v1/ledger?name={name}&listener=web")["items"]
            return sum(int(row["open"]) for row in rows)

        until(lambda: carried() == 1, "the ledger has who stays", 20)
        said = self.hub.admin("GET", "/v1/gateways/reports")["items"]
        self.assertEqual([one["leaving"] for one in said], [False])  # the one that serves
        where = ("psql", "-XqAt", "-c", "select 1", self.uri("--legacy"))
        self.assertEqual(self.says(self.alice, *where), "1\n")
        # The jump host of the old process has no agents any more, and asks the new one's.
        for _ in range(2):
            self.assertEqual(self.says(self.alice, *through("echo there")), "there\n")
        session.ask()
        held.ask()
        self.assertTrue(alive(old))

        def programs() -> set[str]:
            rows = self.hub.admin("GET", "/v1/ledger?name=alice&listener=postgres")["items"]
            return {row["version"] for row in rows}

        until(lambda: "psql" in programs(), "the ledger knows psql", 20)
        self.hub.admin("POST", "/v1/locks", {"target": {"user": name}})
        began = time.monotonic()
        until(lambda: not alive(old), "the old one's end", 10)
        self.assertLess(time.monotonic() - began, 5)
        with self.assertRaises((OSError, AssertionError)):
            held.ask()

    def master(self) -> Callable[[str], list[str]]:
        """A connection to the jump host that ssh shares; gives what runs a command through it."""
        port = self.ssh_port
        self.jump()
        config = self.alice.home / f"jump_config_{port}"
        shared = Path(tempfile.mkdtemp()) / "master"
        self.addCleanup(shutil.rmtree, shared.parent)
        ssh = ["ssh", "-F", str(config), "-S", str(shared)]
        process = subprocess.Popen(
            [*ssh, "-M", "-N", "jump"], env=dict(self.alice.env), stderr=subprocess.DEVNULL
        )
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)
        until(shared.exists, "ssh shares its connection")
        way = shlex.join([*ssh, "-o", "ControlMaster=no", "-W", "%h:%p", "jump"])
        return lambda command: [
            *("ssh", "-F", str(config), "-o", f"ProxyCommand={way}"),
            *("root@db1.gw.test", command),
        ]

    def strangers(self) -> Strangers:
        """Clients for each of whom the agent has to ask the auth service."""
        allow = {"db_labels": {"*": "*"}, "db_users": ["*"], "db_names": ["*"]}
        self.put("anyone", allow)
        private, public, _ = new_key()
        dave = self.login(self.hub, self.add_user(self.hub, "dave", ["anyone"]))
        body = {"tls_public_key": public, "routes": {"db": "orders"}}
        answer = self.ask(self.hub, dave, "POST", "/v1/me/certificates", body)
        self.assertEqual(answer.status, 200, answer.text)
        return Strangers(
            self.holder("dave", private, {**dave.issued, **answer.body}), self.web_port
        )

    def come(self, dialler: Dialler) -> None:
        """Let some more clients come."""
        enough = len(dialler.attempts) + _QUIET
        until(lambda: len(dialler.attempts) >= enough, "more clients")
