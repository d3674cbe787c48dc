"""Each real server that tests use starts, serves its own client, and leaves nothing behind."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tests.support.child import alive, program, temporary
from tests.support.servers import Echo, Haproxy, Nginx, Postgres, Recorder, Redis, Server, Sshd

S = TypeVar("S", bound=Server)


def said(*arguments: str | Path, **environment: str) -> str:
    """What a client prints on both channels."""
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    return done.stdout


def exchange(connection: socket.socket, *pieces: bytes) -> bytes:
    """Write *pieces*, end our side, and read to the end."""
    for piece in pieces:
        connection.sendall(piece)
    if isinstance(connection, ssl.SSLSocket):
        return connection.recv(1 << 16)
    connection.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


class ServersTests(SynchronousTestCase):
    """Real servers, one by one."""

    def serve(self, server: S) -> S:
        server.start()
        self.addCleanup(self.check_gone, server)
        self.addCleanup(server.stop)
        return server

    def check_gone(self, server: Server) -> None:
        self.assertFalse(alive(server.child.pid))
        self.assertFalse(server.folder.exists())

    def test_sshd(self) -> None:
        """`ssh` logs in with the key that belongs to the server, and checks its host key."""
        sshd = self.serve(Sshd())
        port = str(sshd.port)
        self.assertEqual(said(*sshd.client("-p", port, "127.0.0.1", "echo", "hello")), "hello\n")

    def test_redis(self) -> None:
        """redis-cli gets an answer in the clear."""
        redis = self.serve(Redis())
        cli = program("redis-cli", "redis-tools")
        self.assertEqual(said(cli, "-p", str(redis.port), "ping"), "PONG\n")

    def test_redis_with_tls(self) -> None:
        """redis-cli with a certificate gets an answer; without one it does not."""
        keys = pki()
        redis = self.serve(Redis(keys.keypair("target"), keys.file("ca.pem")))
        cli = [program("redis-cli", "redis-tools"), "-h", "localhost", "-p", str(redis.port)]
        cli += ["--tls", "--cacert", str(keys.file("ca.pem"))]
        mine = ["--cert", str(keys.file("alice.pem")), "--key", str(keys.file("alice-key.pem"))]
        self.assertEqual(said(*cli, *mine, "ping"), "PONG\n")
        self.assertNotIn("PONG", said(*cli, "ping"))

    def test_nginx(self) -> None:
        """Curl gets the page over HTTP."""
        nginx = self.serve(Nginx())
        curl = program("curl", "curl")
        text = said(curl, "-sS", f"http://127.0.0.1:{nginx.port}/a")
        self.assertEqual(text, "nginx saw GET /a\n")

    def test_nginx_with_tls(self) -> None:
        """Curl verifies the certificate and speaks h2."""
        nginx = self.serve(Nginx("location / { return 200 $http2; }", tls=pki().keypair("target")))
        curl = [program("curl", "curl"), "-sS", "--cacert", str(pki().file("ca.pem"))]
        self.assertEqual(said(*curl, f"https://localhost:{nginx.port}/"), "h2")

    def test_haproxy_in_front_of_a_recorder(self) -> None:
        """HAProxy carries bytes, and its PROXY header names the client's port."""
        with Recorder(answer=b"seen") as recorder:
            back = f"server s 127.0.0.1:{recorder.port} send-proxy"
            haproxy = self.serve(Haproxy(f"listen all\n  bind 127.0.0.1:PORT\n  {back}"))
            with socket.create_connection(("127.0.0.1", haproxy.port), 10) as client:
                mine = client.getsockname()[1]
                self.assertEqual(exchange(client, b"hello"), b"seen")
            header = f"PROXY TCP4 127.0.0.1 127.0.0.1 {mine} {haproxy.port}\r\n"
            self.assertEqual(recorder.received, [header.encode() + b"hello"])

    def test_postgres(self) -> None:
        """Psql gets rows as the role alice, in the clear."""
        postgres = self.serve(Postgres())
        where = f"host=127.0.0.1 port={postgres.port} dbname=app user=alice sslmode=disable"
        self.assertEqual(said("psql", "-X", where, "-Atc", "select current_user"), "alice\n")

    def test_postgres_with_tls(self) -> None:
        """Psql gets rows by its certificate; without one the server refuses it."""
        keys = pki()
        postgres = self.serve(Postgres(keys.keypair("target"), keys.file("ca.pem")))
        where = f"host=localhost port={postgres.port} dbname=app user=alice sslmode=verify-full"
        where += f" sslrootcert={keys.file('ca.pem')}"
        mine = f" sslcert={keys.file('alice.pem')} sslkey={keys.file('alice-key.pem')}"
        query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        self.assertEqual(said("psql", "-X", where + mine, "-Atc", query), "t\n")
        self.assertIn("certificate", said("psql", "-X", where, "-Atc", query, HOME="/nonexistent"))

    def test_a_server_that_fails_says_why(self) -> None:
        """The error has the server's own words, and nothing stays behind."""
        haproxy = Haproxy("nonsense")
        error = self.assertRaises(AssertionError, haproxy.start)
        self.assertIn("unknown keyword 'nonsense'", str(error))
        self.assertFalse(haproxy.folder.exists())

    def test_a_missing_server_fails(self) -> None:
        """A test whose part is missing is a failure, with the package's name."""
        error = self.assertRaises(AssertionError, program, "no-such-daemon", "no-such-package")
        self.assertIn("install no-such-package", str(error))


class TargetsTests(SynchronousTestCase):
    """The targets in threads."""

    def test_echo(self) -> None:
        """All comes back, and then the end."""
        with Echo() as echo, socket.create_connection(("127.0.0.1", echo.port), 10) as client:
            self.assertEqual(exchange(client, b"a" * 70_000, b"b"), b"a" * 70_000 + b"b")

    def test_echo_on_a_unix_socket(self) -> None:
        """A path works as well as a port."""
        folder = temporary("echo")
        self.addCleanup(shutil.rmtree, folder)
        short = folder / "socket"
        with Echo(path=short) as echo, socket.socket(socket.AF_UNIX) as client:
            self.assertEqual(echo.endpoint, f"unix:{short}")
            client.connect(str(short))
            self.assertEqual(exchange(client, b"hello"), b"hello")

    def test_echo_with_tls(self) -> None:
        """The certificate verifies under the name of targets."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pair = pki().keypair("target")
        context.load_cert_chain(pair.cert_file, pair.key_file)
        trust = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        with (
            Echo(context=context) as echo,
            socket.create_connection(("127.0.0.1", echo.port), 10) as raw,
            trust.wrap_socket(raw, server_hostname="target.test") as client,
        ):
            self.assertEqual(exchange(client, b"hello"), b"hello")

    def test_recorder(self) -> None:
        """It greets, writes down what came, and says how many have ended."""
        with (
            Recorder(greeting=b"hi ", answer=b"bye") as recorder,
            socket.create_connection(("127.0.0.1", recorder.port), 10) as client,
        ):
            self.assertEqual(exchange(client, b"one", b"two"), b"hi bye")
            self.assertEqual(recorder.wait_for(b"onetwo"), b"onetwo")
            self.assertEqual((recorder.accepted, recorder.ended), (1, 1))
