"""The first release with the gateway of today: old and new clients, both modes, v1 and v2.

`tests/vectors/clients` keeps that release as it was shipped; it runs from a folder of its own, by
the Python and beside the packages of these tests.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from tests.support.common import common, no_bugs
from tests.support.sshcase import Node, Person, SshCase

_WHEEL = Path(__file__).parents[1] / "vectors" / "clients" / "tlsgate-1.0.0-py3-none-any.whl"


class OldClientCase(SshCase):
    """A cluster, a node, and two people: one of them has not upgraded."""

    version = "v1"
    mode_at_first = "separate"
    db1: Node
    new: Person
    old: Person
    old_code: Path

    def setUp(self) -> None:
        super().setUp()
        made = common(self, type(self).made)
        for name in ("hub", "db1", "new", "old", "old_code", "web_port", "ssh_port"):
            setattr(self, name, getattr(made, name))
        no_bugs(self, self.hub, self.db1.agent)

    def made(self) -> OldClientCase:
        """Start everything."""
        folder = tempfile.TemporaryDirectory(prefix="tlsgate-old-")
        self.addCleanup(folder.cleanup)
        self.old_code = Path(folder.name)
        with zipfile.ZipFile(_WHEEL) as wheel:
            wheel.extractall(self.old_code)
        self.begin(version=self.version, mode=self.mode_at_first)
        self.db1 = self.node()
        self.new = self.person("alice")
        self.old = self.person("olga")
        return self

    def log_in(self, person: Person) -> None:
        """Log in, olga with what she has installed."""
        if person.user.name.startswith("olga"):
            person.env["PYTHONPATH"] = str(self.old_code)
        super().log_in(person)

    def works(self, person: Person) -> None:
        """All that a user does every day."""
        self.assertIn("gw.test", self.says(person, "tgsh", "status"))
        self.assertIn("db1", self.says(person, "tgsh", "ls"))
        self.assertEqual(self.says(person, "tgsh", "ssh", "root@db1", "echo", "there"), "there\n")
        self.write_config(person)
        self.by_ssh(person)
        file = person.home / "sent"
        file.write_text("a line\n")
        got = self.db1.folder / f"got-{person.user.name}"
        self.says(person, "tgsh", "scp", file, f"root@db1:{got}")
        self.assertEqual(got.read_text(), "a line\n")

    def by_ssh(self, person: Person) -> None:
        """OpenSSH with what `tgsh config` has written last."""
        words = ("ssh", "-F", person.config, "root@db1.localhost", "echo", "there")
        self.assertEqual(self.says(person, *words), "there\n")


class OldClientTests(OldClientCase):
    """While there are separate ports."""

    def test_which_code(self) -> None:
        """The old client is the old one, and the gateway says that it works."""
        words = ("python3", "-c", "import tlsgate; print(tlsgate.__file__)")
        self.assertIn(str(self.old_code), self.says(self.old, *words))
        told = self.says(self.old, "tgsh", "version", f"--proxy=localhost:{self.web_port}")
        self.assertIn("1.0.0", told)
        oldest = _WHEEL.name.split("-")[1]
        said = self.web(self.hub, "GET", "/webapi/ping").body["min_client_version"]
        self.assertEqual(said, oldest)

    def test_an_old_agent(self) -> None:
        """An agent of that release serves, moves when the mode changes, and serves on."""
        env = {"PYTHONPATH": str(self.old_code)}
        agent = self.agent(self.hub, "db9", env=env, labels={"env": "prod"})

        def listeners() -> list[str]:
            told = self.hub.admin("GET", "/v1/migration/agents")["agents"]
            return [one["listener"] for one in told if one["name"] == "db9"]

        for mode, name in (("separate", "tunnel"), ("multiplex", "web"), ("separate", "tunnel")):

            def there(name: str = name) -> bool:
                return listeners() == [name]

            self.mode(mode)
            agent.child.until(there, f"db9 at {name}", 30)
            self.until_tunnel(agent)
        self.assertIn("db9", self.says(self.new, "tgsh", "ls"))
        self.assertEqual(agent.stop(), 0)

    def test_both_modes(self) -> None:
        """A login of separate mode goes on in multiplex mode, and back, by either client."""
        people = (self.old, self.new)
        for person in people:
            self.works(person)
        self.mode("multiplex")
        for person in people:
            self.by_ssh(person)  # as it was written for separate ports
            self.works(person)
        for name in ("olga2", "alice2"):
            person = self.person(name)
            self.write_config(person)
            self.by_ssh(person)
        self.mode("separate")
        for person in people:
            self.by_ssh(person)  # as it was written for one port
        self.works(self.old)


class OldClientOnePortTests(OldClientCase):
    """A file of version v2: there is the web port and no other."""

    version = "v2"
    mode_at_first = "multiplex"

    def test_one_port(self) -> None:
        """Both clients work."""
        for person in (self.old, self.new):
            self.works(person)
