"""What the bench compares: how each gateway is configured and started for one case."""

from __future__ import annotations

import os
import resource
import shlex
import socket
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import yaml
from attrs import define, frozen

from tests.bench import machine
from tests.bench.cases import PASS_NAME, TLS_NAME, TOKEN, Case
from tests.bench.children import BenchError, Child
from tlsgate.tls.authority import Authority

#: Of HAProxy, at most; each is two descriptors.
PIPES = 1000

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on now; HAProxy cannot say which one it got for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@frozen(kw_only=True)
class Certificates:
    """The files that gateways and load use; all P-256."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Write an authority, the gateway's certificate and the client's into *folder*."""
        folder.mkdir()
        ca = Authority.create("bench ca")
        (folder / "ca.pem").write_bytes(ca.cert_pem)
        server = ca.issue(TLS_NAME, dns=(TLS_NAME, PASS_NAME), ips=("127.0.0.1",), server=True)
        client = ca.issue("alice", client=True)
        for name, pair in (("server", server), ("client", client)):
            (folder / f"{name}.pem").write_bytes(pair.cert_pem)
            (folder / f"{name}-key.pem").write_bytes(pair.key_pem)
        return cls(folder=folder)

    def copy(self, folder: Path) -> Certificates:
        """The gateway's own copies, in *folder*."""
        for source in ("ca.pem", "server.pem", "server-key.pem"):
            (folder / source).write_bytes((self.folder / source).read_bytes())
        pem = [(folder / name).read_bytes() for name in ("server.pem", "server-key.pem")]
        (folder / "server-both.pem").write_bytes(b"".join(pem))
        return Certificates(folder=folder)


@frozen(kw_only=True)
class Place:
    """Where one gateway runs for one case."""

    folder: Path  #: its own, writable for its user
    case: Case
    port: int  #: where it has to listen
    target: int  #: where it has to connect to
    log: int  #: a UDP port that takes syslog
    certs: Certificates


@define
class Gateway:
    """A way to start a gateway."""

    name: str

    #: Whether the goals are its own.
    ours: ClassVar[bool] = False

    def takes(self, case: Case) -> bool:
        """Whether it can do what *case* asks for."""
        return True

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """Write its configuration into the place's folder, and say how to start it."""

    def log_lines(self, child: Child) -> int | None:
        """How many log lines it has written; None: they go to the log port."""
        return None


@define
class HAProxy(Gateway):
    """HAProxy as an operator sets it up for the same job: a frontend and a server, tcplog.

    It does less here than tlsgate: no rule on the client's name, no limit by address, one
    backend without a choice. What is left out can only make it look better.
    """

    splice: bool = False  #: let the kernel move what is passed through

    def takes(self, case: Case) -> bool:
        """See `Gateway.takes`; under TLS there is nothing to splice."""
        return case.passthrough or not self.splice

    def command(self, place: Place) -> list[str]:
        """See `Gateway.command`."""
        certs = place.certs.folder
        if place.case.passthrough:
            frontend = f"""
    bind 127.0.0.1:{place.port}
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend target if {{ req.ssl_sni -i {PASS_NAME} }}"""
        else:
            frontend = f"""
    bind 127.0.0.1:{place.port} ssl crt {certs}/server-both.pem ca-file {certs}/ca.pem \
verify required alpn {TOKEN} ssl-min-ver TLSv1.2 no-tls-tickets
    default_backend target"""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        connections = min(8000, (files - 2 * PIPES - 256) // 2)
        splice = "\n    option splice-auto" if self.splice else ""
        (place.folder / "haproxy.cfg").write_text(
            f"""global
    nbthread 1
    maxconn {connections}
    maxpipes {PIPES}
    log 127.0.0.1:{place.log} local0 info
    tune.ssl.cachesize 0

defaults
    mode tcp
    log global
    option tcplog{splice}
    backlog 4096
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout client-fin 30s
    timeout server-fin 30s

frontend gate{frontend}

backend target
    server target 127.0.0.1:{place.target}
"""
        )
        return ["haproxy", "-db", "-f", str(place.folder / "haproxy.cfg")]


@define
class Tlsgate(Gateway):
    """Our own daemon as shipped; *module* replaces `twistd` for a variant of it."""

    module: str | None = None

    ours: ClassVar[bool] = True

    def takes(self, case: Case) -> bool:
        """See `Gateway.takes`; a variant of the relay counts where bytes are relayed."""
        return not self.module or case.mode in ("down", "up", "pingpong")

    def command(self, place: Place) -> list[str]:
        """See `Gateway.command`."""
        route: dict[str, object] = {"name": "bench", "target": f"tcp:127.0.0.1:{place.target}"}
        if place.case.passthrough:
            route |= {"sni": [PASS_NAME], "passthrough": True}
        else:
            route |= {
                "alpn": [TOKEN],
                "protocol": "raw",
                "client_cert": "required",
                "client_ca_files": [str(place.certs.folder / "ca.pem")],
                "allow": [{"cn": "alice"}],
            }
        data = place.folder / "data"
        data.mkdir(mode=0o700)
        pair = {
            "cert_file": str(place.certs.folder / "server.pem"),
            "key_file": str(place.certs.folder / "server-key.pem"),
        }
        settings = {
            "version": "v2",
            "teleport": {"data_dir": str(data), "diag_addr": "127.0.0.1:0"},
            "auth_service": {"enabled": "no"},
            "proxy_service": {
                "web_listen_addr": f"127.0.0.1:{place.port}",
                "public_addr": [f"{TLS_NAME}:{place.port}"],
                "https_keypairs": [pair],
                "routes": [route],
            },
        }
        file = place.folder / "tlsgate.yaml"
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
        twistd = [str(Path(sys.executable).with_name("twistd"))]
        if self.module:
            twistd = [sys.executable, "-m", self.module]
        return [*twistd, "-n", "tlsgate", "-c", str(file)]

    def log_lines(self, child: Child) -> int | None:
        """See `Gateway.log_lines`."""
        return child.log_lines()


class Stock(Gateway):
    """Twisted's own TLS and port forward, producers coupled, nothing else."""

    def command(self, place: Place) -> list[str]:
        """See `Gateway.command`."""
        certs = place.certs.folder
        words = [sys.executable, "-m", "tests.bench.stock_peer"]
        words += ["--listen", str(place.port), "--target", str(place.target)]
        if not place.case.passthrough:
            words += ["--cert", f"{certs}/server.pem", "--key", f"{certs}/server-key.pem"]
            words += ["--ca", f"{certs}/ca.pem", "--token", TOKEN]
        return words


@define
class Peer(Gateway):
    """Any other gateway, by a command with places to fill in."""

    template: str = ""

    #: What `--peer-command` may name in braces.
    PLACES = ("listen", "target", "cert", "key", "both", "ca", "folder", "token")

    def takes(self, case: Case) -> bool:
        """See `Gateway.takes`; the command says how to end TLS, not how to pass it on."""
        return not case.passthrough

    def command(self, place: Place) -> list[str]:
        """See `Gateway.command`."""
        certs = place.certs.folder
        return fill(
            self.template,
            {
                "listen": str(place.port),
                "target": str(place.target),
                "cert": f"{certs}/server.pem",
                "key": f"{certs}/server-key.pem",
                "both": f"{certs}/server-both.pem",
                "ca": f"{certs}/ca.pem",
                "folder": str(place.folder),
                "token": TOKEN,
            },
        )


def fill(template: str, places: Mapping[str, str]) -> list[str]:
    """Split *template* as a shell would, without running one, and fill in its places."""
    try:
        words = [word.format_map(places) for word in shlex.split(template)]
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        known = " ".join(f"{{{name}}}" for name in places)
        raise BenchError(f"--peer-command: bad place {error}; known: {known}") from error
    if not words:
        raise BenchError("--peer-command is empty")
    return words


KNOWN: Mapping[str, Callable[[str], Gateway]] = {
    "haproxy": HAProxy,
    "haproxy-splice": lambda name: HAProxy(name, splice=True),
    "tlsgate": Tlsgate,
    "tlsgate-public": lambda name: Tlsgate(name, module="tests.bench.public_calls"),
    "stock": Stock,
}


def start(gateway: Gateway, place: Place, number: int, nice: int) -> Child:
    """Start *gateway* on its core without privileges and wait until it accepts."""
    command = gateway.command(place)
    if os.geteuid() == 0:
        user = machine.FIRST_UID + number
        for path in (place.folder, *place.folder.rglob("*")):
            os.chown(path, user, user)
    child = Child(
        gateway.name,
        [*machine.confined(nice, number), *command],
        place.folder.with_suffix(".log"),
        cwd=place.folder,
        env={
            "HOME": str(place.folder),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(place.folder),
        },
    )
    try:
        if nice:
            machine.prefer(child.pid, nice)
        child.wait_for_port(place.port)
    except BaseException:
        child.stop()
        raise
    return child
