"""Tests for `tgctl auth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import SSH_LINE, Authority, Cluster
from tests.support.commandline import TableDoor, run
from tlsgate.cli.credential import read_identity
from tlsgate.cli.tgctl import following
from tlsgate.cli.tgctl.cmd_auth import EXPORTS

CA = Authority()
CAS: dict[str, Any] = {
    "cluster": "example",
    "cas": {
        "user": [CA.pem],
        "host": [CA.pem],
        "db": [CA.pem],
        "ssh_user": [f"{SSH_LINE}user"],
        "ssh_host": [f"{SSH_LINE}host"],
    },
    "pins": [CA.pin],
}


class ExportTests(SynchronousTestCase):
    """Tests for `tgctl auth export`."""

    def export(self, kind: str) -> bytes:
        result = run("auth", "export", f"--type={kind}", door=TableDoor({"GET /v1/cas": CAS}))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout_bytes

    def test_each(self) -> None:
        """Each type as its readers take it."""
        for kind, want in (
            ("user", f"{SSH_LINE}user\n".encode()),
            ("host", f"@cert-authority *.example,example {SSH_LINE}host\n".encode()),
            *((kind, CA.pem.encode()) for kind in ("tls-user", "tls-host", "db")),
            *((kind, CA.der) for kind in ("tls-user-der", "tls-host-der", "db-der")),
        ):
            self.assertEqual(self.export(kind), want, kind)

    def test_all(self) -> None:
        """Without a type everything that is text."""
        shown = run("auth", "export", door=TableDoor({"GET /v1/cas": CAS})).stdout
        self.assertTrue(shown.startswith(f"cert-authority {SSH_LINE}user\n@cert-authority"))
        self.assertEqual(shown.count("BEGIN CERTIFICATE"), 3)
        self.assertEqual(run("auth", "export", "--type=x").exit_code, 2)
        self.assertIn("tls-user", EXPORTS)


class RotateTests(SynchronousTestCase):
    """Tests for `tgctl auth rotate` and `ls`."""

    def test_rotate(self) -> None:
        """The phase, and the command for the next one."""
        door = TableDoor({"POST /v1/authorities/user/rotate": {"phase": "init"}})
        result = run(
            *("auth", "rotate", "--type=user", "--phase=init", "--grace-period=30h", "--no-wait"),
            door=door,
        )
        self.assertEqual(
            result.stdout,
            "user is in phase init; next: tgctl auth rotate --type=user --phase=update_clients\n",
        )
        self.assertEqual(door.bodies, [{"phase": "init", "grace_seconds": 108000}])

    def test_no_grace(self) -> None:
        """None at all is a grace period, too: it ends what the old key has signed."""
        door = TableDoor({"POST /v1/authorities/user/rotate": {"phase": "standby"}})
        words = ("--type=user", "--phase=standby", "--grace-period=0s", "--no-wait")
        result = run("auth", "rotate", *words, door=door)
        self.assertEqual(result.stdout, "user is in phase standby\n")
        self.assertEqual(door.bodies, [{"phase": "standby", "grace_seconds": 0}])

    def test_it_waits(self) -> None:
        """Until everybody has followed, who is asked for."""
        behind = [{"kind": "agent", "name": "db1", "worker": ""}]
        public = {"type": "user", "phase": "init", "known": 1}
        said = [{**public, "behind_count": 1, "behind": behind}]
        said += [{**public, "behind_count": 0, "behind": []}]
        door = TableDoor(
            {
                "POST /v1/authorities/user/rotate": {"phase": "init"},
                "GET /v1/authorities/user/followers": lambda *_: said.pop(0),
            }
        )
        self.patch(following, "PAUSE_SECONDS", 0.0)
        result = run("auth", "rotate", "--type=user", "--phase=init", door=door)
        self.assertEqual((result.exit_code, said), (0, []))
        self.assertIn("not yet: agent db1", result.stderr)

    def test_ls(self) -> None:
        """A line an authority."""
        public = {"phase": "standby", "since": 0.0, "fingerprint": "ab", "keys": [{}]}
        table = {"GET /v1/authorities": {"cluster": "example", "authorities": {"user": public}}}
        self.assertEqual(
            run("auth", "ls", door=TableDoor(table)).stdout.splitlines(),
            ["TYPE  PHASE    KEYS  SINCE  FINGERPRINT", "user  standby     1  -      ab"],
        )


class SignTests(SynchronousTestCase):
    """Tests for `tgctl auth sign`."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.door = TableDoor({"POST /v1/sign": lambda _, body: self.cluster.issued(body)})
        self.name = Path(self.mktemp()).absolute()

    def sign(self, *words: str) -> tuple[int, str]:
        result = run("auth", "sign", "--user=alice", f"--out={self.name}", *words, door=self.door)
        return result.exit_code, result.stdout

    def test_file(self) -> None:
        """An identity file that tgsh and tgctl read; only public keys were sent."""
        code, out = self.sign("--ttl=1h")
        self.assertEqual(code, 0)
        self.assertEqual(out, f"{self.name}\ngood until 2026-01-02 04:04:05 UTC\n")
        self.assertEqual(read_identity(self.name).user, "alice")
        body = self.door.bodies[0]
        self.assertEqual((body["user"], body["ttl_seconds"]), ("alice", 3600))
        self.assertNotIn("PRIVATE", str(body))

    def test_formats(self) -> None:
        """--format says what is written; text and JSON how the answer looks."""
        self.assertEqual(self.sign("--format=tls")[0], 0)
        self.assertTrue(self.name.with_name(f"{self.name.name}.crt").exists())
        self.assertEqual(self.sign("--format=tls")[0], 2)
        self.assertEqual(self.sign("--format=tls", "--overwrite")[0], 0)
        code, out = self.sign("--format=json")
        self.assertEqual((code, self.name.exists(), out[0]), (0, True, "{"))


class SignDatabaseTests(SynchronousTestCase):
    """Tests for `tgctl auth sign --format=db`."""

    def test_files(self) -> None:
        """Key, certificate and whom to trust, and what to write into the server's files."""
        answer = {"certificate": "CRT\n", "cas": ["A\n", "B\n"], "not_before": 0, "not_after": 9}
        door = TableDoor({"POST /v1/sign/database": answer})
        name = Path(self.mktemp())
        words = ("auth", "sign", "--format=db", f"--out={name}")
        result = run(*words, "--host=pg.internal,10.0.0.5", "--ttl=1h", door=door)
        self.assertEqual(result.exit_code, 0, result.stderr)
        (body,) = door.bodies
        self.assertEqual((body["hosts"], body["ttl_seconds"]), (["pg.internal", "10.0.0.5"], 3600))
        self.assertIn("BEGIN PUBLIC KEY", body["tls_public_key"])
        texts = {end: Path(f"{name}.{end}").read_text() for end in ("key", "crt", "cas")}
        self.assertIn("PRIVATE KEY", texts["key"])
        self.assertEqual((texts["crt"], texts["cas"]), ("CRT\n", "A\nB\n"))
        self.assertEqual(Path(f"{name}.key").stat().st_mode & 0o777, 0o600)
        self.assertIn("hostssl all all all cert", result.stdout)
        self.assertNotIn("PRIVATE", result.stdout)
        self.assertEqual(run(*words, "--host=pg", door=door).exit_code, 2)

    def test_user_or_host(self) -> None:
        """A person or a server, and each with its own option."""
        for words in (
            ("--format=db",),
            ("--format=db", "--host=a", "--user=alice"),
            ("--host=a", "--user=alice"),
            (),
        ):
            result = run("auth", "sign", "--out=x", *words, door=TableDoor({}))
            self.assertEqual(result.exit_code, 2, words)
            self.assertIn("--host", result.stderr)
