"""A cluster with databases and applications, people who have logged in, and local proxies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS
from tests.support.harness import GateCase
from tests.support.sshcase import Person, SshCase

#: What alice's role allows.
ROLE: Mapping[str, Any] = {
    "app_labels": {"env": ["prod"]},
    "db_labels": {"env": ["prod"]},
    "db_users": ["alice"],
    "db_names": ["app", "postgres"],
}


class LocalCase(SshCase):
    """What is shared: the cluster, made once for a class; it has no test of its own."""

    def open(self, **keys: Any) -> None:
        """Begin the cluster, and a role for what is labelled env=prod."""
        self.begin(**keys)
        self.put("use", ROLE)

    def log_in(self, person: Person) -> None:
        """Log in where the web certificate's authority is one of the machine's."""
        person.env["SSL_CERT_FILE"] = str(pki().file("ca.pem"))
        super().log_in(person)

    def put(self, name: str, allow: Mapping[str, Any]) -> None:
        """Make or change a role."""
        body = {
            "kind": "role",
            "version": "v7",
            "metadata": {"name": name},
            "spec": {"allow": dict(allow)},
        }
        self.hub.admin("PUT", f"/v1/resources/role/{name}?force=1", body)


class LocalProxy:
    """`tgsh proxy …` as somebody runs it, from its line of JSON to Ctrl-C."""

    def __init__(self, person: Person, *words: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            ["tgsh", "proxy", *words, "--format=json"],
            env={**person.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.lines: list[str] = []
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.ready: dict[str, Any] = json.loads(self.line) if self.line else {}

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def said(self) -> str:
        """Everything on stderr."""
        return "".join(self.lines)

    def end(self) -> int:
        """Press Ctrl-C; gives the exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGINT)
        code = self.process.wait(PATIENCE_SECONDS)
        self._hearing.join(PATIENCE_SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


class LocalTests(GateCase):
    """Tests of a house; a subclass says which."""

    house: Any

    def do(
        self, *words: object, env: Mapping[str, str] | None = None, who: Person | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program."""
        made: subprocess.CompletedProcess[bytes] = self.house.case.do(
            who or self.house.alice, *words, env=env
        )
        return made

    def says(self, *words: object, **keys: Any) -> str:
        """What a program prints that ends well."""
        done = self.do(*words, **keys)
        self.assertEqual((words, done.returncode), (words, 0), done.stdout + done.stderr)
        return done.stdout.decode()

    def fails(self, *words: object, **keys: Any) -> str:
        """What a program complains that does not."""
        done = self.do(*words, **keys)
        self.assertNotEqual((words, done.returncode), (words, 0), done.stdout)
        return done.stderr.decode()

    def proxy(self, *words: str, env: Mapping[str, str] | None = None) -> LocalProxy:
        """A local proxy that ends with the test."""
        made = LocalProxy(self.house.alice, *words, env=env)
        self.addCleanup(made.end)
        self.assertTrue(made.ready, made.said)
        return made


def at_once(work: Callable[[int], None], count: int) -> Sequence[BaseException]:
    """Do *work* in many threads; gives what went wrong."""
    wrong: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as e:
            wrong.append(e)

    running = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(2 * PATIENCE_SECONDS)
    return wrong
