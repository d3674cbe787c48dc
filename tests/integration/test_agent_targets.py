"""An agent with a node, databases and applications: what it dials, and whom it believes.

The gateway's side is a drop-in that asks for whatever a test names, as a gateway that was taken
would; so everything that is refused here is refused by the agent.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import json
import shutil
import socket
import ssl
import time
from pathlib import Path
from typing import Any

from tests.support import probe
from tests.support.agent import AgentCase
from tests.support.certs import pki
from tests.support.cluster import Holder, new_key
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, GateCase, receive
from tests.support.ports import free_port
from tests.support.servers import Nginx

#: Of handshakes at the agent.
DIAL_SECONDS = 2
#: Within which a lock counts everywhere.
SOON_SECONDS = 1.0
LABELS = {"env": "prod"}


class House:
    """One cluster, one agent with all kinds of targets, and two people; shared by the tests."""

    def __init__(self) -> None:
        case = self.case = AgentCase()
        atexit.register(case.doCleanups)
        self.echo = case.serve(Echo())
        page = "location / { return 200 'on the inside'; }"
        self.http = case.serve(Nginx(page))
        self.https = case.serve(Nginx(page, tls=pki().keypair("target")))
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.word = case.folder() / "word"
        self.word.write_text("one")
        ca = str(pki().file("ca.pem"))
        secure = f"https://localhost:{self.https.port}"
        apps: list[dict[str, Any]] = [
            {"name": "plain", "uri": f"http://127.0.0.1:{self.http.port}"},
            {"name": "secure", "uri": secure, "ca_cert_file": ca},
            # The certificate is for target.test, localhost and 127.0.0.1.
            {"name": "unknown", "uri": secure},
            {"name": "named", "uri": f"https://[::1]:{self.https.port}", "ca_cert_file": ca},
            {"name": "blind", "uri": secure, "insecure_skip_verify": "yes"},
            {"name": "feed", "uri": f"tcp://127.0.0.1:{self.echo.port}"},
            {
                "name": "silent",
                "uri": f"https://127.0.0.1:{self.silent.getsockname()[1]}",
                "ca_cert_file": ca,
            },
            {"name": "away", "uri": f"tcp://127.0.0.1:{free_port()}"},
            {
                "name": "computed",
                "uri": f"tcp://127.0.0.1:{self.echo.port}",
                "labels": {},
                "commands": [{"name": "word", "command": ["cat", str(self.word)], "period": "1s"}],
            },
        ]
        folder = case.folder()
        folder.chmod(0o700)
        plugin = folder / "probe.py"
        shutil.copy(Path(probe.__file__), plugin)
        plugin.chmod(0o600)
        asking = {"name": "probe", "protocol": "probe", "alpn": ["probe"]}
        self.gate = case.cluster(
            proxy={
                "plugins_dir": str(folder),
                "routes": [{**asking, "require_role": ["inside", "words"]}],
            }
        )
        self.role("inside", node_labels=LABELS, logins=["root"], app_labels=LABELS)
        self.role("words", app_labels={"word": "two"})
        self.ann = case.login(self.gate, case.add_user(self.gate, "ann", ["inside"]))
        self.bob = case.login(self.gate, case.add_user(self.gate, "bob", ["words"]))
        self.agent = case.agent(
            self.gate,
            "in1",
            labels=LABELS,
            sshd_addr=f"127.0.0.1:{self.echo.port}",
            apps=[{"labels": LABELS, **one} for one in apps],
            db=[
                {
                    "name": "orders",
                    "protocol": "postgres",
                    "uri": "127.0.0.1:1",
                    "static_labels": LABELS,
                }
            ],
            node=True,
            timeouts={"dial_seconds": DIAL_SECONDS},
        )

    def role(self, name: str, **allow: Any) -> None:
        """Write a role."""
        spec = {"kind": "role", "version": "v7", "metadata": {"name": name}}
        self.gate.admin("PUT", f"/v1/resources/role/{name}", {**spec, "spec": {"allow": allow}})


@functools.cache
def house() -> House:
    """The one of this process."""
    return House()


class TargetCase(GateCase):
    """Tests with the shared cluster; a test that breaks it would break its neighbours."""

    def setUp(self) -> None:
        self.house = house()
        self.addCleanup(self.no_bugs)

    def no_bugs(self) -> None:
        """Neither process has met one."""
        for one in (self.house.gate, self.house.agent):
            self.assertEqual(one.bugs(), [], one.child.tail())

    def ask(self, who: Holder, name: str, **keys: Any) -> tuple[str, socket.socket]:
        """Ask for a target; gives the answer and the connection."""
        made = self.house.case.reach(self.house.gate, who, "probe")
        self.addCleanup(made.close)
        made.settimeout(CLIENT_SECONDS)
        made.sendall(json.dumps({"kind": "app", "name": name, **keys}).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            line += receive(made, 1)
        return line.decode().strip(), made

    def open(self, name: str, who: Holder | None = None, **keys: Any) -> socket.socket:
        """The same where it is allowed."""
        answer, made = self.ask(who or self.house.ann, name, **keys)
        self.assertEqual(answer, "+")
        return made

    def refused(self, name: str, who: Holder | None = None, **keys: Any) -> str:
        """The sentence."""
        answer, _ = self.ask(who or self.house.ann, name, **keys)
        self.assertEqual(answer[:1], "-")
        return answer[1:]

    def page(self, name: str) -> bytes:
        """What an HTTP application answers."""
        made = self.open(name)
        made.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = b""
        with contextlib.suppress(ssl.SSLEOFError):
            while some := made.recv(65536):
                got += some
        return got

    def narrow(self, who: Holder, **routes: str) -> str:
        """A certificate of *who* that is for one target, in base64."""
        body = {"tls_public_key": new_key()[1], "routes": routes}
        answer = self.house.case.ask(self.house.gate, who, "POST", "/v1/me/certificates", body)
        self.assertEqual(answer.status, 200, answer.text)
        return base64.b64encode(ssl.PEM_cert_to_DER_cert(answer.body["certificate"])).decode()


class ReachTests(TargetCase):
    """What is reached through one agent."""

    def test_each_kind(self) -> None:
        """Its own sshd, TCP and HTTP applications, one of them under TLS."""
        for kind, name in (("node", "in1"), ("app", "feed")):
            made = self.open(name, kind=kind)
            made.sendall(b"hello")
            self.assertEqual(receive(made, 5), b"hello")
            made.close()
        for name in ("plain", "secure", "blind"):
            self.assertIn(b"on the inside", self.page(name), name)

    def test_whom_it_believes(self) -> None:
        """A certificate of no authority that counts, or for another name, gets no byte."""
        self.assertIn("is not trusted", self.refused("unknown"))
        said = self.refused("named")
        self.assertTrue("is not for ::1" in said or "refused" in said, said)

    def test_a_silent_handshake(self) -> None:
        """The target has so long for it, and the client hears who was slow."""
        began = time.monotonic()
        said = self.refused("silent")
        self.assertIn("127.0.0.1", said)
        self.assertLess(time.monotonic() - began, DIAL_SECONDS + 4)

    def test_nobody_there(self) -> None:
        """Who refuses the connection is named."""
        self.assertIn("127.0.0.1", self.refused("away"))

    def test_what_is_known_of_it(self) -> None:
        """The cluster has its applications and databases, with what the file says of them."""
        case, gate = self.house.case, self.house.gate
        answer = case.ask(gate, self.house.ann, "GET", "/v1/me/apps")
        self.assertEqual(answer.status, 200, answer.text)
        apps = {one["name"]: one for one in answer.body["apps"]}
        self.assertEqual((apps["feed"]["protocol"], apps["secure"]["protocol"]), ("tcp", "http"))
        self.assertNotIn("computed", apps)

        def told() -> bool:
            rows = gate.admin("GET", "/v1/inventory")["items"]
            (row,) = [one for one in rows if one["name"] == "in1"]
            return sorted(row["roles"]) == ["app", "db", "node"]

        gate.child.until(told, "the gateway tells of the agent's roles", CLIENT_SECONDS)


class DecisionTests(TargetCase):
    """Who is let in, whatever the gateway says."""

    def test_roles(self) -> None:
        """Labels decide by kind: who may reach applications reaches no database by that."""
        details = {"db_user": "app", "db_name": "shop", "key": "00" * 36}
        said = self.refused("orders", kind="db", details=details)
        self.assertIn("ann may not reach db orders", said)
        self.assertIn("bob may not reach app plain", self.refused("plain", self.house.bob))
        self.assertIn(
            "bob may not reach node in1", self.refused("in1", self.house.bob, kind="node")
        )

    def test_s41_what_is_not_offered(self) -> None:
        """Another name, another kind, another address: none of it is dialled."""
        said = self.refused("plain", address="127.0.0.1:22")
        self.assertIn("none of those in the configuration", said)
        for kind, name in (("node", "feed"), ("app", "nothing")):
            self.assertIn(name, self.refused(name, kind=kind))
        self.assertIn("somebody else's", self.refused("plain", user="bob"))
        self.assertIn("does not know", self.refused("plain", details={"as": "root"}))

    def test_narrow_certificates(self) -> None:
        """One for an application is for no other, and for no node."""
        narrow = self.narrow(self.house.ann, app="feed")
        self.open("feed", shown=narrow).close()
        for kind, name in (("app", "plain"), ("node", "in1")):
            said = self.refused(name, kind=kind, shown=narrow)
            self.assertIn("for one service only", said)

    def test_a_label_that_a_command_says(self) -> None:
        """When it is another one, who was let in by it is not any more, and another is."""
        self.house.word.write_text("two")
        deadline = time.monotonic() + CLIENT_SECONDS
        answer = "-"
        while answer != "+":
            self.assertLess(time.monotonic(), deadline)
            answer, made = self.ask(self.house.bob, "computed")
        self.house.word.write_text("one")
        self.assertEqual(made.recv(1), b"")  # cut, within the command's period
        self.assertIn("may not reach", self.refused("computed", self.house.bob))

    def test_a_lock(self) -> None:
        """It ends what is open within a second, under TLS to the target too."""
        gate, case = self.house.gate, self.house.case
        eve = case.login(gate, case.add_user(gate, "eve", ["inside"]))
        open_ = [self.open("feed", eve), self.open("secure", eve)]
        lock = gate.admin("POST", "/v1/locks", {"target": {"user": "eve"}})
        since = time.monotonic()
        for one in open_:
            with contextlib.suppress(ConnectionResetError, ssl.SSLError):
                self.assertEqual(one.recv(1), b"")
        self.assertLess(time.monotonic() - since, SOON_SECONDS)
        self.assertIn(str(lock)[:1], "{")
        self.open("feed").close()


class JoiningTests(AgentCase):
    """Tokens of agents with several services; each agent here is started in vain."""

    def test_a_token_for_all_of_it(self) -> None:
        """One that is for a part lets in nobody, and a service more needs another token."""
        gate = house().gate
        apps = [{"name": "wiki", "uri": "http://127.0.0.1:1"}]
        half = self.agent(
            gate,
            "in2",
            apps=apps,
            node=True,
            token=self.node_token(gate),
            ready=False,
            may_log=["Traceback"],
        )
        self.assertEqual(half.child.wait(CLIENT_SECONDS), 2, half.child.tail())
        self.assertIn("tgctl tokens add --type=node,app", half.text())
        agent = self.agent(gate, "in2", apps=apps)
        agent.stop()
        text = json.loads(agent.file.read_text())
        text["ssh_service"] = {"enabled": "yes"}
        del text["teleport"]["auth_token"]
        agent.file.write_text(json.dumps(text))
        more = self.again(agent, ready=False)
        self.assertEqual(more.child.wait(CLIENT_SECONDS), 2, more.child.tail())
        self.assertIn("its certificate is not for node", more.text())

    def test_authorities_that_cannot_be_read(self) -> None:
        """A CA file that is none is found at the start."""
        file = self.folder() / "ca.pem"
        file.write_text("nothing")
        apps = [{"name": "wiki", "uri": "https://127.0.0.1:1", "ca_cert_file": str(file)}]
        agent = self.agent(house().gate, "in3", apps=apps, ready=False, may_log=["Traceback"])
        self.assertEqual(agent.child.wait(CLIENT_SECONDS), 2, agent.child.tail())
        self.assertIn(str(file), agent.text())
