"""Programs that people use, each to its real server through one port of one daemon."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg

from tests.support.certs import pki
from tests.support.child import program
from tests.support.harness import GateCase
from tests.support.house import House, house
from tests.support.servers import Haproxy

#: The certificate of alice, as options of several programs.
CA, CERT, KEY = (pki().file(name) for name in ("ca.pem", "alice.pem", "alice-key.pem"))

#: What curl finds at our port.
NAMES = (
    *("gw.test", "app.gw.test", "nginx.gw.test", "haproxy.gw.test", "secure.gw.test"),
    "target.test",
)


class ClientCase(GateCase):
    """A client in front of the house; afterwards the daemon's log shows no bug."""

    def setUp(self) -> None:
        self.house: House = house()
        self.port = str(self.house.port)
        self.addCleanup(self.check_log)

    def check_log(self) -> None:
        self.assertEqual(self.house.gate.bugs(), [])

    def said(self, *arguments: str | Path, **more: Any) -> bytes:
        """What a client prints; it has to succeed."""
        code, text = self.house.run(*arguments, **more)
        self.assertEqual(code, 0, text)
        return text

    def refused(self, *arguments: str | Path, **more: Any) -> bytes:
        """What a client prints; it has to fail."""
        code, text = self.house.run(*arguments, **more)
        self.assertNotEqual(code, 0, text)
        return text

    def s_client(self, *more: str | Path) -> list[str | Path]:
        """`openssl s_client` that verifies us and says nothing itself."""
        where: list[str | Path] = ["-connect", f"127.0.0.1:{self.port}", "-CAfile", CA]
        quiet = ["-quiet", "-verify_quiet", "-verify_return_error"]
        return [program("openssl", "openssl"), "s_client", *quiet, *where, *more]

    def curl(self, *more: str | Path) -> list[str | Path]:
        """`curl` that verifies us under each of our names."""
        names = [f"{name}:{self.port}:127.0.0.1" for name in NAMES]
        resolve = [word for name in names for word in ("--resolve", name)]
        return [program("curl", "curl"), "-sS", "--cacert", CA, *resolve, *more]


class WebClientsTests(ClientCase):
    """HTTP."""

    def test_curl_gets_the_landing_page_over_h2(self) -> None:
        """Without a certificate anyone gets the page, and HTTP/2 is what curl prefers."""
        page = self.said(*self.curl("-w", "\n%{http_version}", f"https://gw.test:{self.port}/"))
        self.assertIn(b"<html", page)
        self.assertEqual(page.splitlines()[-1], b"2")

    def test_curl_gets_the_landing_page_over_http_1_1(self) -> None:
        """The same page comes over HTTP/1.1, by token and without any, under TLS 1.2 and 1.3."""
        how = ("--http1.1", "-w", "\n%{http_version}", f"https://gw.test:{self.port}/")
        pages = set()
        for more in ((), ("--no-alpn",), ("--tls-max", "1.2")):
            page, _, version = self.said(*self.curl(*more, *how)).rpartition(b"\n")
            self.assertEqual(version, b"1.1")
            pages.add(page.partition(b"<body")[0])
        self.assertEqual(len(pages), 1)
        self.assertIn(b"<html", pages.pop())

    def test_curl_reaches_nginx_by_name(self) -> None:
        """With alice's certificate a name leads to the application behind it."""
        url = f"https://app.gw.test:{self.port}/hello"
        mine = ("--http1.1", "--cert", CERT, "--key", KEY)
        self.assertEqual(self.said(*self.curl(*mine, url)), b"nginx saw GET /hello\n")
        self.assertIn(b"alert", self.refused(*self.curl("--http1.1", url)))

    def test_nginx_and_haproxy_behind_learn_who_dials(self) -> None:
        """A PROXY header, version 1 to nginx and 2 to HAProxy, names the client's own port."""
        mine = ("--http1.1", "--cert", CERT, "--key", KEY, "-w", "\n127.0.0.1:%{local_port}")
        for name in ("nginx", "haproxy"):
            answer = self.said(*self.curl(*mine, f"https://{name}.gw.test:{self.port}/"))
            page, _, address = answer.partition(b"\n")
            self.assertEqual(page, address, name)

    def test_nginx_with_tls_behind_is_verified(self) -> None:
        """The gateway dials it by the name that it verifies, whatever the client asked for."""
        mine = ("--http1.1", "--cert", CERT, "--key", KEY)
        page = self.said(*self.curl(*mine, f"https://secure.gw.test:{self.port}/"))
        self.assertEqual(page, b"target.test")

    def test_nginx_untouched_behind_shows_its_own_certificate(self) -> None:
        """A pass-through route ends no TLS: curl verifies nginx's certificate, and speaks h2."""
        how = ("-w", " %{http_version}", f"https://target.test:{self.port}/")
        self.assertEqual(self.said(*self.curl(*how)), b"target.test 2")

    def test_haproxy_in_front_carries_tls_through(self) -> None:
        """A balancer of connections in front changes nothing: h2, and certificates, arrive."""
        haproxy = self.serve(
            Haproxy(f"listen front\n  bind 127.0.0.1:PORT\n  server gate 127.0.0.1:{self.port}")
        )
        self.port = str(haproxy.port)
        page = self.said(*self.curl("-w", "\n%{http_version}", f"https://gw.test:{self.port}/"))
        self.assertEqual(page.splitlines()[-1], b"2")
        mine = ("--http1.1", "--cert", CERT, "--key", KEY)
        page = self.said(*self.curl(*mine, f"https://app.gw.test:{self.port}/a"))
        self.assertEqual(page, b"nginx saw GET /a\n")

    def test_chromium_shows_the_landing_page_over_h2(self) -> None:
        """A browser that trusts our CA shows the page, and is asked for no certificate."""
        folder = self.folder()
        database = folder / ".pki" / "nssdb"
        database.mkdir(parents=True)
        certutil = program("certutil", "libnss3-tools")
        self.said(certutil, "-d", f"sql:{database}", "-N", "--empty-password")
        self.said(certutil, "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "ca", "-i", CA)
        words = "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage"
        words += " --no-first-run --disable-background-networking --disable-component-update"
        page = self.said(
            program("chromium", "chromium"),
            *words.split(),
            "--disable-sync",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP gw.test 127.0.0.1",
            "--dump-dom",
            f"https://gw.test:{self.port}/?chromium",
            env={"HOME": str(folder)},
        )
        self.assertIn(b"tlsgate", page)
        self.assertNotIn(b"ERR_", page)
        self.assertIn("h2", [event["alpn"] for event in self.house.gate.events(route="web")])


class TokenClientsTests(ClientCase):
    """`openssl s_client`, alone and as ssh's ProxyCommand."""

    def test_s_client_reaches_the_echo_by_token(self) -> None:
        """The ALPN token leads to the target; what comes back is what was sent."""
        mine = ("-alpn", "demo-echo", "-cert", CERT, "-key", KEY, "-servername", "gw.test")
        with subprocess.Popen(
            ["timeout", "30", *self.s_client(*mine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as client:
            self.addCleanup(client.kill)
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write(b"hello\n")
            client.stdin.flush()
            self.assertEqual(client.stdout.readline(), b"hello\n")
            client.terminate()

    def test_without_certificate_s_client_is_refused(self) -> None:
        """The refusal is TLS's own alert, which the client shows."""
        text = self.refused(*self.s_client("-alpn", "demo-echo", "-servername", "gw.test"))
        self.assertIn(b"alert number 116", text)

    def test_ssh_through_s_client(self) -> None:
        """`ssh` with a ProxyCommand logs in at the server behind the token."""
        sshd = self.house.sshd
        self.assertEqual(self.said(*sshd.client(*self.proxied(), "node", "echo in")), b"in\n")

    def test_sftp_carries_a_file_both_ways(self) -> None:
        """A megabyte is the same after it has gone up and come down again."""
        folder = self.folder()
        (folder / "up").write_bytes(hashlib.shake_128(b"sftp").digest(1 << 20))
        sftp = [program("sftp", "openssh-client"), *self.house.sshd.client(*self.proxied())[1:]]
        sftp[sftp.index("-l") :] = sftp[sftp.index("-l") + 2 :]  # sftp has another -l
        batch = f"put {folder}/up {folder}/there\nget {folder}/there {folder}/down\n"
        self.said(*sftp, "-b", "-", "node", input=batch.encode())
        self.assertEqual((folder / "down").read_bytes(), (folder / "up").read_bytes())

    def test_ssh_by_its_banner(self) -> None:
        """Plain `ssh -p` to the TLS port reaches the SSH route that lets anyone in."""
        client = self.house.sshd.client("-p", self.port, "127.0.0.1", "echo plain")
        self.assertEqual(self.said(*client), b"plain\n")

    def proxied(self) -> list[str]:
        """Options of ssh that dial through the token."""
        mine = ("-alpn", "demo-ssh", "-cert", CERT, "-key", KEY, "-servername", "gw.test")
        line = shlex.join(str(word) for word in self.s_client(*mine))
        return ["-o", f"ProxyCommand={line}"]


class DatabaseClientsTests(ClientCase):
    """psql, libpq 18, redis-cli."""

    def where(self, **more: object) -> str:
        """A connection string of libpq."""
        words = {
            "host": "orders.gw.test",
            "hostaddr": "127.0.0.1",
            "port": self.port,
            "dbname": "app",
            "user": "alice",
            "sslmode": "verify-full",
            "sslrootcert": CA,
            "sslcert": CERT,
            "sslkey": KEY,
            "connect_timeout": 20,
            **more,
        }
        return " ".join(f"{key}={value}" for key, value in words.items())

    def test_psql_asks_for_tls_in_the_clear(self) -> None:
        """psql 15 sends SSLRequest to the web port and gets its rows."""
        psql = (program("psql", "postgresql-client"), "-X", self.where(), "-Atc")
        self.assertEqual(self.said(*psql, "select current_user"), b"alice\n")

    def test_s_client_asks_for_tls_as_psql_does(self) -> None:
        """`openssl s_client -starttls postgres` gets a verified handshake for the name."""
        words = ("-starttls", "postgres", "-servername", "orders.gw.test", "-brief")
        verified = ("-connect", f"127.0.0.1:{self.port}", "-CAfile", CA, "-verify_return_error")
        mine = ("-cert", CERT, "-key", KEY)
        openssl = program("openssl", "openssl")
        text = self.said(openssl, "s_client", *words, *verified, *mine)
        self.assertIn(b"Verification: OK", text)

    def test_psql_carries_much_both_ways(self) -> None:
        """COPY takes a megabyte up and brings the same down."""
        rows = b"".join(b"%d\t%s\n" % (n, b"x" * 100) for n in range(10_000))
        psql = (program("psql", "postgresql-client"), "-X", "-q", self.where())
        table = ("-c", "create temp table t (n int, x text)")
        copy = ("-c", "copy t from stdin", "-c", "copy t to stdout")
        self.assertEqual(self.said(*psql, *table, *copy, input=rows), rows)

    def test_psql_without_certificate_reads_why(self) -> None:
        """A missing certificate is refused, and psql shows a reason."""
        psql = (program("psql", "postgresql-client"), "-X")
        text = self.refused(*psql, self.where(sslcert="/none", sslkey="/none"), "-c", "select 1")
        self.assertIn(b"certificate", text)

    def test_libpq_18_dials_tls_directly(self) -> None:
        """libpq 18 with `sslnegotiation=direct` names itself by ALPN and gets its rows."""
        self.assertGreaterEqual(psycopg.pq.version(), 180000)
        with psycopg.connect(self.where(sslnegotiation="direct")) as connection:
            row = connection.execute("select current_user, count(*) from generate_series(1, 9)")
            self.assertEqual(row.fetchone(), ("alice", 9))

    def test_libpq_18_cancels_a_query(self) -> None:
        """The cancel request comes over a connection of its own and finds its way."""
        with psycopg.connect(self.where(sslnegotiation="direct")) as connection:
            connection.execute("set statement_timeout = '30s'")
            timer = threading.Timer(0.5, connection.cancel_safe)
            timer.start()
            self.addCleanup(timer.join)
            with self.assertRaises(psycopg.errors.QueryCanceled) as caught:
                connection.execute("select pg_sleep(30)")
            self.assertIn("user request", str(caught.exception))

    def test_redis_cli_by_name(self) -> None:
        """redis-cli offers no token: its server name alone leads to Redis."""
        self.assertEqual(self.said(*self.redis("cache.gw.test"), "set", "a", "1"), b"OK\n")
        cli = program("redis-cli", "redis-tools")
        self.assertEqual(self.said(cli, "-p", str(self.house.redis.port), "get", "a"), b"1\n")

    def test_redis_cli_to_a_target_with_tls(self) -> None:
        """The gateway dials a TLS target and verifies it, and redis-cli sees no difference."""
        self.assertEqual(self.said(*self.redis("safe.gw.test"), "ping"), b"PONG\n")

    def redis(self, name: str) -> list[str | Path]:
        """`redis-cli` with alice's certificate, for the server called *name*."""
        where = [program("redis-cli", "redis-tools"), "-h", "127.0.0.1", "-p", self.port]
        return [*where, "--tls", "--sni", name, "--cacert", CA, "--cert", CERT, "--key", KEY]
