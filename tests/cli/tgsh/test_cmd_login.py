"""Tests for `tgsh login`: whom it believes, what it sends, and what it leaves."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, PING, SSH_LINE, Authority, Cluster, Terminal
from tlsgate.cli.api import JOIN, WEB, WEBCERT, Address, Way
from tlsgate.cli.credential import read_identity
from tlsgate.errors import DaemonSaid, Fault, GateError, Unreachable, Untrusted

PIN = "sha256:" + "ab" * 32
#: Whom the host authorities of the cluster answer for in known_hosts, at any port.
NAMES = (
    "gate.test,[gate.test]:*,*.gate.test,[*.gate.test]:*,"
    "example,[example]:*,*.example,[*.example]:*"
)


def no_public_certificate(way: Way) -> GateError | None:
    """As a gateway that signed its own web certificate."""
    if way.door == WEB and not way.anyone:
        return Untrusted(str(way.address), "self-signed certificate")
    return None


class LoginCase(SynchronousTestCase):
    """A terminal whose home is empty."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.terminal = Terminal(self.home)
        self.cluster = self.terminal.cluster

    def sent(self) -> list[tuple[str, str]]:
        """Each question with its door, in order."""
        return [(door, ask) for door, ask, _ in self.cluster.asked]


class FilesTests(LoginCase):
    """What a login leaves."""

    def test_layout(self) -> None:
        """The files of T7.3, for their owner only, and a profile with tsh's keys."""
        result = self.terminal.login()
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        found = {
            str(path.relative_to(self.home)): stat.S_IMODE(path.stat().st_mode)
            for path in [self.home, *self.home.rglob("*")]
        }
        keys = "keys/gate.test"
        folders = (".", "keys", keys, f"{keys}/cas", f"{keys}/alice-ssh")
        files = (
            *("current-profile", "gate.test.yaml", "known_hosts"),
            *(f"{keys}/certs.pem", f"{keys}/cas/example.pem"),
            *(f"{keys}/alice", f"{keys}/alice.pub", f"{keys}/alice-x509.pem"),
            *(f"{keys}/alice-ssh/example-cert.pub", f"{keys}/ping.json"),
        )
        self.assertEqual(found, dict.fromkeys(folders, 0o700) | dict.fromkeys(files, 0o600))
        self.assertEqual((self.home / "current-profile").read_text(), "gate.test\n")
        self.assertEqual((self.home / keys / "certs.pem").read_text(), "system\n")
        self.assertEqual((self.home / keys / "cas/example.pem").read_text(), self.cluster.ca.pem)
        self.assertEqual(
            (self.home / "known_hosts").read_text(),
            f"@cert-authority {NAMES} {SSH_LINE}host\n",
        )
        self.assertEqual(
            yaml.safe_load((self.home / "gate.test.yaml").read_text()),
            {
                "web_proxy_addr": "gate.test:443",
                "user": "alice",
                "cluster": "example",
                "ssh_proxy_addr": "gate.test:443",
                "kube_proxy_addr": "gate.test:443",
                "postgres_proxy_addr": "gate.test:443",
                "tls_routing_enabled": True,
                "auth_connector": "local",
                "load_all_cas": False,
                "mfa_mode": "auto",
                "private_key_policy": "none",
            },
        )

    def test_the_key_is_the_certificates(self) -> None:
        """One P-256 key, PKCS #8, made here: the cluster sees its public half only."""
        self.terminal.login()
        file = self.home / "keys/gate.test/alice"
        self.assertTrue(file.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----"))
        key = load_pem_private_key(file.read_bytes(), None)
        self.assertEqual(getattr(key, "key_size", 0), 256)
        ((_, _, body),) = [one for one in self.cluster.asked if one[1] == "POST /v1/login"]
        self.assertEqual(
            {name: value for name, value in body.items() if "key" not in name},
            {"user": "alice", "password": "right horse", "otp": "123456", "ttl_seconds": None},
        )
        self.assertNotIn("PRIVATE", json.dumps(body))
        self.assertEqual(
            (self.home / "keys/gate.test/alice.pub").read_text(), f"{body['ssh_public_key']}\n"
        )

    def test_a_later_login_replaces(self) -> None:
        """Of known_hosts the same cluster's lines are replaced, others stay."""
        self.home.mkdir(mode=0o700)
        (self.home / "known_hosts").write_text("other ssh-ed25519 AAAA\n")
        self.terminal.login()
        self.terminal.login("--ttl=60")
        lines = (self.home / "known_hosts").read_text().splitlines()
        self.assertEqual(
            lines,
            [
                "other ssh-ed25519 AAAA",
                f"@cert-authority {NAMES} {SSH_LINE}host",
            ],
        )

    def test_a_name_that_leads_elsewhere(self) -> None:
        """A gateway cannot make tgsh write outside of its home."""
        for key, value in (("user", "../../alice"), ("cluster", "../x"), ("user", "-rf")):
            self.cluster.answers["POST /v1/login"] = lambda _, body, key=key, value=value: {
                **self.cluster.issued(body),
                key: value,
            }
            result = self.terminal.login()
            self.assertEqual((result.exit_code, result.stdout), (2, ""))
            self.assertIn("cannot be the name of a file", result.stderr)
        self.assertFalse(self.home.exists())


class StatusTests(LoginCase):
    """What a login says."""

    def test_block(self) -> None:
        """The profile, as `tgsh status` shows it."""
        keys = self.home / "keys/gate.test"
        self.assertEqual(
            self.terminal.login().stdout,
            f"""\
> Profile URL:         https://gate.test:443
  Logged in as:        alice
  Cluster:             example
  Roles:               access, editor
  Logins:              alice, root
  Kubernetes:          disabled
  Valid until:         2026-01-02 15:04:05 UTC [valid for 12 h 0 m]
    key:               {keys}/alice
    certificate:       {keys}/alice-x509.pem
    authorities:       {keys}/cas/example.pem
    web authorities:   {keys}/certs.pem
    ssh certificate:   {keys}/alice-ssh/example-cert.pub
""",
        )

    def test_already(self) -> None:
        """Where a good certificate is there nothing is asked; --ttl asks all the same."""
        self.terminal.login()
        self.cluster.asked.clear()
        result = self.terminal.run("login", "--proxy=gate.test")
        self.assertEqual((result.exit_code, self.cluster.asked), (0, []))
        self.assertIn("Logged in as:        alice", result.stdout)
        self.terminal.login("--ttl=30")
        ((_, _, body),) = [one for one in self.cluster.asked if one[1] == "POST /v1/login"]
        self.assertEqual(body["ttl_seconds"], 1800)

    def test_after_the_end(self) -> None:
        """An expired certificate is replaced; the user is the profile's."""
        self.terminal.login()
        self.terminal.now = self.cluster.ahead = 43200.0
        self.terminal.now += NOW
        self.terminal.types = [self.cluster.password, "123456"]
        result = self.terminal.run("login")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertEqual(self.terminal.questions[-2:], ["Password of alice", "One-time code"])

    def test_wrong_password(self) -> None:
        """The cluster's sentence, exit code 1, and nothing is written."""
        self.terminal.types = ["wrong", "123456"]
        result = self.terminal.run("login", "--proxy=gate.test:443", "--user=alice")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (1, "tgsh: the user name, the password or the one-time code is wrong\n"),
        )
        self.assertFalse(self.home.exists())

    def test_without_a_second_factor(self) -> None:
        """A cluster that wants no code is not given one."""
        self.cluster.answers["GET /webapi/ping"] = {**PING, "auth": {"second_factor": "off"}}
        self.terminal.login()
        self.assertEqual(self.terminal.questions, ["Password of alice"])

    def test_too_old(self) -> None:
        """A tgsh below the gateway's least version asks for no password, unless told to."""
        self.cluster.answers["GET /webapi/ping"] = {**PING, "min_client_version": "99.0.0"}
        result = self.terminal.login()
        self.assertEqual((result.exit_code, self.terminal.questions), (2, []))
        self.assertIn("99.0.0 or later", result.stderr)
        self.assertEqual(self.terminal.login("--skip-version-check").exit_code, 0)

    def test_another_cluster(self) -> None:
        """The cluster of the argument has to be the gateway's."""
        result = self.terminal.login("other")
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(result.stderr, "tgsh: gate.test:443 is the gateway of example\n")


class ProxyTests(LoginCase):
    """Which gateway is meant."""

    def test_none(self) -> None:
        """Without any it says how to name one."""
        result = self.terminal.run("login")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (2, "tgsh: name the gateway: tgsh login --proxy=HOST[:PORT]\n"),
        )

    def test_race(self) -> None:
        """Without a port 443 and 3080 are asked; the one that answers is the profile's."""
        self.cluster.refuses = lambda way: (
            Unreachable(str(way.address), "nobody listens there")
            if way.address.port == 443
            else None
        )
        self.assertEqual(self.terminal.login(proxy="gate.test").exit_code, 0)
        profile = yaml.safe_load((self.home / "gate.test.yaml").read_text())
        self.assertEqual(profile["web_proxy_addr"], "gate.test:3080")

    def test_nobody(self) -> None:
        """Where nobody answers, the first port's error is told."""
        self.cluster.refuses = lambda way: Unreachable(str(way.address), "nobody listens there")
        result = self.terminal.login(proxy="gate.test")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (1, "tgsh: gate.test:443 cannot be reached: nobody listens there\n"),
        )

    def test_variables(self) -> None:
        """TGSH_PROXY and TGSH_USER count before Teleport's, and options before both."""
        env = {"TGSH_PROXY": "a.test:1", "TELEPORT_PROXY": "b.test:2", "TELEPORT_USER": "bob"}
        self.terminal.types = [self.cluster.password, "1"]
        self.assertEqual(self.terminal.run("login", env=env).exit_code, 0)
        self.assertEqual(self.cluster.ways[-1].address, Address("a.test", 1))
        self.assertEqual(self.terminal.questions[0], "Password of bob")


class TrustTests(LoginCase):
    """Whom a password is sent to."""

    def test_public_certificate(self) -> None:
        """Without a pin it goes over the web door, verified by the machine's authorities."""
        self.terminal.login()
        self.assertEqual(self.cluster.ways[-1], Way(Address("gate.test", 443), WEB))

    def test_pin(self) -> None:
        """With a pin it goes over the joining door, whatever the web certificate is."""
        self.cluster.refuses = no_public_certificate
        result = self.terminal.login(f"--ca-pin={PIN.upper()}")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        gate, ca = Address("gate.test", 443), self.cluster.ca
        self.assertEqual(
            self.cluster.ways[-2:],
            [Way(gate, JOIN, pins=(PIN,)), Way(gate, WEBCERT, roots=ca.pem, cluster="example")],
        )
        # What was shown without being verified is not kept: it is asked again, from whom the
        # cluster vouches for.
        web = self.home / "keys/gate.test/certs.pem"
        self.assertEqual(web.read_text(), self.cluster.web.pem)

    def test_pin_and_an_older_gateway(self) -> None:
        """A gateway that does not tell its web certificate: the cluster's authority is a guess."""
        self.cluster.refuses = no_public_certificate
        answers: tuple[Any, ...] = (
            Unreachable("gate.test:443", "it does not speak tlsgate-webcert"),
            {"certificates": []},
            {"certificates": [{"chain": "none"}, 7]},
            [],
        )
        for answer in answers:
            self.cluster.answers["GET /webapi/certificates"] = answer
            self.assertEqual(self.terminal.login(f"--ca-pin={PIN}", "--ttl=60").exit_code, 0)
            web = self.home / "keys/gate.test/certs.pem"
            self.assertEqual(web.read_text(), self.cluster.ca.pem)

    def test_bad_pin(self) -> None:
        """A pin that is none is refused before a password is asked for."""
        result = self.terminal.login("--ca-pin=sha256:12")
        self.assertEqual((result.exit_code, self.terminal.questions), (2, []))

    def test_neither(self) -> None:
        """No good certificate and no pin: nothing is asked for."""
        self.cluster.refuses = no_public_certificate
        result = self.terminal.login()
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            result.stderr, "tgsh: gate.test:443 is not trusted: self-signed certificate\n"
        )
        self.assertEqual(self.terminal.questions, [])

    def test_a_cluster_that_is_known(self) -> None:
        """After a first login by pin the next one needs none: the cluster's own CA is known."""
        self.cluster.refuses = no_public_certificate
        self.terminal.login(f"--ca-pin={PIN}")
        self.assertEqual(self.terminal.login("--ttl=60").exit_code, 0)
        way = self.cluster.ways[-2]
        self.assertEqual(
            (way.door, way.roots, way.cluster, way.anyone),
            (JOIN, self.cluster.ca.pem, "example", False),
        )

    def test_insecure_sends_no_password(self) -> None:
        """--insecure alone asks for none, unless the gateway is on this machine."""
        self.cluster.refuses = no_public_certificate
        result = self.terminal.login("--insecure")
        self.assertEqual((result.exit_code, self.terminal.questions), (2, []))
        self.assertIn("--insecure sends no password to gate.test:443", result.stderr)
        self.assertNotIn(("http/1.1", "POST /v1/login"), self.sent())
        for words, proxy in (
            (("--insecure", "--unsafe-send-password"), "gate.test:443"),
            (("--insecure",), "127.0.0.1:3080"),
            (("--insecure",), "[::1]:3080"),
            (("--insecure",), "localhost:3080"),
        ):
            self.assertEqual(self.terminal.login(*words, proxy=proxy).exit_code, 0, proxy)
            self.assertTrue(self.cluster.ways[-1].anyone)

    def test_unsafe_alone(self) -> None:
        """The unsafe flag by itself weakens nothing."""
        self.cluster.refuses = no_public_certificate
        result = self.terminal.login("--unsafe-send-password")
        self.assertEqual((result.exit_code, self.terminal.questions), (1, []))


class ClockTests(LoginCase):
    """R16: clocks that differ."""

    def test_half_a_minute(self) -> None:
        """30 seconds either way are nothing."""
        for ahead in (-30.0, 30.0):
            self.cluster.ahead = ahead
            result = self.terminal.login("--ttl=60")
            self.assertEqual((result.exit_code, result.stderr), (0, ""))

    def test_five_minutes(self) -> None:
        """Five minutes are told: a warning while it works, an error where it does not."""
        self.cluster.ahead = -300.0
        result = self.terminal.login()
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(
            result.stderr,
            "tgsh: warning: the clocks of this machine and the cluster are 5 min apart\n",
        )
        self.cluster.ahead = 300.0
        result = self.terminal.login("--ttl=60")
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            result.stderr,
            "tgsh: this machine's clock is 5 min behind the cluster's: check the clock of this "
            "machine, and the gateway's\n",
        )


class OutTests(LoginCase):
    """Tests for --out."""

    def out(self, how: str, *words: str) -> tuple[int, Path]:
        name = self.home.with_name(f"{self.home.name}-out") / "me"
        return self.terminal.login(f"--out={name}", f"--format={how}", *words).exit_code, name

    def test_file(self) -> None:
        """All in one; no profile is written, and tgsh and tgctl can read it."""
        code, name = self.out("file")
        self.assertEqual((code, self.home.exists()), (0, False))
        credential = read_identity(name)
        self.assertEqual(
            (credential.user, credential.cluster, credential.roots),
            ("alice", "example", self.cluster.ca.pem),
        )
        self.assertEqual(stat.S_IMODE(name.stat().st_mode), 0o600)
        self.assertIn(f"@cert-authority *.example,example {SSH_LINE}host", name.read_text())

    def test_web_authority(self) -> None:
        """Where the machine does not know who signed the web certificate, a file says so."""
        self.cluster.refuses = no_public_certificate
        code, name = self.out("tls", f"--ca-pin={PIN}")
        self.assertEqual(code, 0)
        found = sorted(path.name for path in name.parent.iterdir())
        self.assertEqual(found, ["me.cas", "me.crt", "me.key", "me.web.cas"])
        self.assertEqual(name.with_name("me.web.cas").read_text(), self.cluster.web.pem)

    def test_the_others(self) -> None:
        """Each format is the files that its readers look for."""
        code, name = self.out("tls")
        self.assertEqual(code, 0)
        found = sorted(path.name for path in name.parent.iterdir())
        self.assertEqual(found, ["me.cas", "me.crt", "me.key"])
        self.out("openssh")
        self.assertEqual((name.with_name("me-cert.pub")).read_text(), f"{SSH_LINE}user\n")
        self.out("pkcs12")
        loaded = pkcs12.load_pkcs12(name.with_name("me.p12").read_bytes(), None)
        assert loaded.key is not None and loaded.cert is not None
        self.assertEqual(len(loaded.additional_certs), 1)

    def test_overwrite(self) -> None:
        """What is there stays, unless --overwrite says otherwise."""
        self.out("file")
        code, name = self.out("file")
        self.assertEqual(code, 2)
        before = name.read_bytes()
        self.assertEqual(self.out("file", "--overwrite")[0], 0)
        self.assertNotEqual(name.read_bytes(), before)

    def test_format_without_a_name(self) -> None:
        """A format for files without --out is a mistake."""
        self.assertEqual(self.terminal.login("--format=tls").exit_code, 2)


class SecretsTests(LoginCase):
    """Where passwords come from and do not go to."""

    def test_from_a_file(self) -> None:
        """Two lines, password and code; or the same on stdin."""
        file = Path(self.mktemp())
        file.write_text("right horse\n123456\n")
        for source in (str(file), "-"):
            result = self.terminal.run(
                *("login", "--proxy=gate.test:443", "--user=alice", "--ttl=60"),
                f"--password-file={source}",
                stdin=file.read_text(),
            )
            self.assertEqual((result.exit_code, self.terminal.questions), (0, []))

    def test_too_few_lines(self) -> None:
        """A file without the code is told so, without its password."""
        result = self.terminal.run(
            *("login", "--proxy=gate.test:443", "--user=alice", "--password-file=-"),
            stdin="right horse\n",
        )
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(
            result.stderr, "tgsh: the file with passwords has no line for: One-time code\n"
        )

    def test_debug_shows_none(self) -> None:
        """--debug says what is done, and no password, code or key (S24)."""
        result = self.terminal.login("--debug")
        self.assertIn("tgsh: debug: POST /v1/login to gate.test:443 over http/1.1", result.stderr)
        for secret in ("right horse", "123456", "PRIVATE"):
            self.assertNotIn(secret, result.stdout + result.stderr)


class AnswerTests(LoginCase):
    """Answers that no cluster of ours gives."""

    def test_nonsense(self) -> None:
        """They are told as such, and nothing is written."""
        answers: list[object] = [[], {}, {"user": "alice"}]
        for answer in answers:
            self.cluster.answers["POST /v1/login"] = answer
            result = self.terminal.login()
            self.assertEqual((result.exit_code, self.home.exists()), (1, False))
            self.assertIn("its answer is none of a tlsgate cluster", result.stderr)

    def test_locked_out(self) -> None:
        """The wait that the cluster names is told."""
        words = "too many failed attempts: try again in 20 s"
        self.cluster.answers["POST /v1/login"] = DaemonSaid("locked_out", Fault.CLIENT, words)
        result = self.terminal.login()
        self.assertEqual((result.exit_code, result.stderr), (1, f"tgsh: {words}\n"))

    def test_no_gateway(self) -> None:
        """What answers something else to the ping is no gateway."""
        self.cluster.answers["GET /webapi/ping"] = {"hello": "world"}
        result = self.terminal.login()
        self.assertEqual(
            (result.exit_code, result.stderr),
            (1, "tgsh: gate.test:443 cannot be reached: it is no tlsgate gateway\n"),
        )


class OtherAuthorityTests(SynchronousTestCase):
    """The support of these tests."""

    def test_pins_differ(self) -> None:
        """Two authorities have two pins."""
        self.assertNotEqual(Authority().pin, Cluster().ca.pin)
