"""Real servers for tests: each in a folder and on a port of its own, ended by its pid.

    with Redis() as redis:
        ... redis.port ...

A server that is not installed fails the test; `etc/test.sh` installs them all.

One file, though a long one: the same few steps stand in it once a server.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.support.child import Child, program
from tests.support.echo import Echo, Recorder
from tests.support.ports import free_port, listening
from tlsgate.config.settings import KeyPair

__all__ = [
    "Echo",
    "Haproxy",
    "Nginx",
    "NginxStream",
    "Postgres",
    "Recorder",
    "Redis",
    "Server",
    "Sshd",
]

#: For a helper such as ssh-keygen or initdb.
_HELPER_SECONDS = 60


def _run(*arguments: str | Path, user: str | None = None, cwd: Path | None = None) -> str:
    """What a helper says; its failure is the test's."""
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_HELPER_SECONDS,
        check=False,
        text=True,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd=cwd,
    )
    assert done.returncode == 0, f"{arguments[0]} gave {done.returncode}:\n{done.stdout}"
    return done.stdout


class Server:
    """One server process; a subclass writes its configuration and names its command."""

    #: What ends it without waiting for its clients.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"tlsgate-{type(self).__name__.lower()}-"))
        self.user: str | None = None

    def command(self) -> Sequence[str | Path]:
        """Prepare the folder; gives the command that runs in the foreground."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it serves."""
        return listening(self.port)

    @property
    def endpoint(self) -> str:
        """Where a route finds it."""
        return f"tcp:127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start, and wait until it serves."""
        try:
            log = self.folder / "log"
            self.child = Child(self.command(), log, user=self.user, cwd=self.folder)
            try:
                self.child.until(self.ready, f"{type(self).__name__} on port {self.port}")
            except BaseException:
                self.child.end()
                raise
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def stop(self) -> None:
        """End it and remove its folder."""
        self.child.stop(self.stop_signal)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file in the folder, readable for the server's own user."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        if self.user:
            shutil.chown(path, self.user, self.user)
        return path

    def copy(self, path: Path) -> Path:
        """A copy of a certificate or key, which many servers want to own."""
        return self.write(path.name, path.read_text())


class Sshd(Server):
    """OpenSSH for the user who runs the tests, with one client key and one host key."""

    #: The name by which clients know the host key, whatever they dial.
    alias = "sshd.test"

    def command(self) -> Sequence[str | Path]:
        """Make keys, configuration and known_hosts."""
        keygen = program("ssh-keygen", "openssh-client")
        for name in ("hostkey", "client"):
            _run(keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name)
        shutil.copy(self.folder / "client.pub", self.folder / "authorized_keys")
        host = (self.folder / "hostkey.pub").read_text()
        self.write("known_hosts", f"{self.alias} {host}")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # privilege separation wants it
        config = self.write(
            "sshd_config",
            f"""\
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder}/hostkey
AuthorizedKeysFile {self.folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile none
LogLevel VERBOSE
Subsystem sftp internal-sftp
""",
        )
        return (program("sshd", "openssh-server"), "-D", "-e", "-f", config)

    def client(self, *more: str) -> list[str | Path]:
        """`ssh` with nothing of the caller's own configuration, up to the host's name."""
        options = {
            "UserKnownHostsFile": self.folder / "known_hosts",
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlias": self.alias,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "ConnectTimeout": "20",
        }
        written = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        ssh = program("ssh", "openssh-client")
        user = pwd.getpwuid(os.geteuid()).pw_name
        return [ssh, "-F", "none", *written, "-i", self.folder / "client", "-l", user, *more]


class Redis(Server):
    """Redis without a disk; with *tls* its port takes nothing else."""

    def __init__(self, tls: KeyPair | None = None, client_ca: Path | None = None) -> None:
        super().__init__()
        self.tls = tls
        self.client_ca = client_ca

    def command(self) -> Sequence[str | Path]:
        """Write redis.conf."""
        lines = ["bind 127.0.0.1", 'save ""', "appendonly no", f"dir {self.folder}"]
        if self.tls is None:
            lines.append(f"port {self.port}")
        else:
            lines += [
                "port 0",
                f"tls-port {self.port}",
                f"tls-cert-file {self.copy(self.tls.cert_file)}",
                f"tls-key-file {self.copy(self.tls.key_file)}",
                f"tls-auth-clients {'yes' if self.client_ca else 'no'}",
            ]
            if self.client_ca:
                lines.append(f"tls-ca-cert-file {self.copy(self.client_ca)}")
        config = self.write("redis.conf", "\n".join(lines) + "\n")
        return (program("redis-server", "redis-server"), config)


class Nginx(Server):
    """One nginx server block on one port.

    Args:
        body: what stands in the server block beside `listen`.
        tls: certificate of the port; None: plain HTTP.
        proxy_protocol: the port demands a PROXY header.
        http: what stands beside the server block, such as a `map`.
    """

    def __init__(
        self,
        body: str = "location / { return 200 'nginx saw $request_method $uri\\n'; }",
        *,
        tls: KeyPair | None = None,
        proxy_protocol: bool = False,
        http: str = "",
    ) -> None:
        super().__init__()
        self.body = body
        self.tls = tls
        self.proxy_protocol = proxy_protocol
        self.http = http

    def command(self) -> Sequence[str | Path]:
        """Write nginx.conf, with every path inside the folder."""
        words = [f"listen 127.0.0.1:{self.port}"]
        words += ["ssl", "http2"] if self.tls else []
        words += ["proxy_protocol"] if self.proxy_protocol else []
        lines = [" ".join(words) + ";"]
        if self.tls:
            lines.append(f"ssl_certificate {self.tls.cert_file};")
            lines.append(f"ssl_certificate_key {self.tls.key_file};")
        temporary = "\n".join(
            f"  {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        own = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        config = self.write(
            "nginx.conf",
            f"""\
{own}
worker_processes 1;
daemon off;
pid {self.folder}/pid;
error_log stderr info;
events {{ worker_connections 1024; }}
http {{
{temporary}
  access_log {self.folder}/access.log;
  default_type text/plain;
  {self.http}
  server {{
    {" ".join(lines)}
    {self.body}
  }}
}}
""",
        )
        nginx = program("nginx", "nginx-light")
        return (nginx, "-c", config, "-p", self.folder, "-e", "stderr")


class NginxStream(Server):
    """nginx as a balancer of TCP connections: it sends a PROXY header (v1), then carries."""

    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self.target_port = target_port

    def command(self) -> Sequence[str | Path]:
        """Write nginx.conf with a stream block."""
        assert self.module.exists(), f"{self.module} is missing: install libnginx-mod-stream"
        config = self.write(
            "nginx.conf",
            f"""\
load_module {self.module};
worker_processes 1;
daemon off;
pid {self.folder}/pid;
error_log stderr info;
events {{ worker_connections 1024; }}
stream {{
  server {{
    listen 127.0.0.1:{self.port};
    proxy_pass 127.0.0.1:{self.target_port};
    proxy_protocol on;
  }}
}}
""",
        )
        nginx = program("nginx", "nginx-light")
        return (nginx, "-c", config, "-p", self.folder, "-e", "stderr")


class Haproxy(Server):
    """HAProxy with the given sections; the word PORT in them is its own port."""

    def __init__(self, sections: str) -> None:
        super().__init__()
        self.sections = sections

    def command(self) -> Sequence[str | Path]:
        """Write haproxy.cfg with short timeouts in front of the sections."""
        config = self.write(
            "haproxy.cfg",
            f"""\
global
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
{self.sections.replace("PORT", str(self.port))}
""",
        )
        return (program("haproxy", "haproxy"), "-db", "-f", config)


@functools.cache
def _postgres(name: str) -> str:
    """A program of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else program(name, "postgresql")


class Postgres(Server):
    """PostgreSQL with the database `app` and the role `alice`, who is let in without a word.

    Args:
        tls: certificate of the server; None: no TLS.
        client_ca: with it, TCP clients need a certificate whose CN is the role.
    """

    stop_signal = signal.SIGINT  # "fast": does not wait for sessions

    def __init__(self, tls: KeyPair | None = None, client_ca: Path | None = None) -> None:
        super().__init__()
        self.tls = tls
        self.client_ca = client_ca
        if os.geteuid() == 0:
            self.user = "postgres"  # it refuses to run as root
            shutil.chown(self.folder, self.user, self.user)

    def command(self) -> Sequence[str | Path]:
        """Make a cluster without fsync, and its rules."""
        data = self.folder / "data"
        _run(
            self.binary("initdb"),
            *("-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8"),
            *("--locale=C", "--no-sync", "--no-instructions"),
            user=self.user,
            cwd=self.folder,
        )
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self.folder}'",
            "fsync = off",
            "shared_buffers = 16MB",
            "max_connections = 40",
        ]
        rule = "host all all 127.0.0.1/32 trust"
        if self.tls:
            lines += [
                "ssl = on",
                f"ssl_cert_file = '{self.copy(self.tls.cert_file)}'",
                f"ssl_key_file = '{self.copy(self.tls.key_file)}'",
            ]
            rule = "hostssl all all 127.0.0.1/32 trust"
        if self.client_ca:
            lines.append(f"ssl_ca_file = '{self.copy(self.client_ca)}'")
            rule = "hostssl all all 127.0.0.1/32 cert"
        with (data / "postgresql.conf").open("a") as config:
            config.write("\n".join(lines) + "\n")
        (data / "pg_hba.conf").write_text(f"local all all trust\n{rule}\n")
        return (self.binary("postgres"), "-D", data)

    def binary(self, name: str) -> str:
        """A program of this version's."""
        return _postgres(name)

    def ready(self) -> bool:
        """Whether it takes queries, not only connections."""
        program("psql", "postgresql-client")
        done = subprocess.run(
            ["psql", "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-qc", "select 1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_HELPER_SECONDS,
            check=False,
        )
        return done.returncode == 0

    def start(self) -> Self:
        """Start, and make role and database."""
        super().start()
        try:
            self.query("create role alice login")
            self.query("create database app owner alice")
        except BaseException:
            self.stop()
            raise
        return self

    def query(self, statement: str) -> str:
        """What the superuser gets, unaligned, over the server's own UNIX socket."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres"]
        return _run("psql", "-X", *where, "-Atc", statement)
