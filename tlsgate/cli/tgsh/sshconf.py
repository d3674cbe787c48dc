"""What OpenSSH is told: options for `tgsh ssh` and `scp`, and the block of `tgsh config`.

ssh itself runs `tgsh proxy ssh`, which knows the way of the moment. The block is for programs
that call ssh on their own; in separate mode it needs no tgsh, since the jump host speaks SSH.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from tlsgate.cli.tgsh.dialssh import quoted
from tlsgate.cli.tgsh.flat import Place
from tlsgate.core.addresses import host_port
from tlsgate.core.sshway import MULTIPLEX, SshWay
from tlsgate.errors import BadAsk

#: Host certificates only: no key is taken on first sight.
HOST_KEYS = ",".join(
    (
        "ssh-ed25519-cert-v01@openssh.com",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01@openssh.com",
        "rsa-sha2-256-cert-v01@openssh.com",
    )
)

_NAME = re.compile(r"(?!-)[\w.-]{1,253}", re.ASCII)


def program() -> list[str]:
    """The words that run tgsh from anywhere: an absolute path, or this Python with it."""
    called = Path(sys.argv[0])
    if called.name == "tgsh":
        found = shutil.which(str(called))
        if found is not None:
            return [os.path.abspath(found)]
    return [sys.executable, "-m", "tlsgate.cli.tgsh.entry"]


def proxy_command(place: Place) -> str:
    """The ProxyCommand that reaches nodes through the gateway at *place*."""
    words = [
        *program(),
        f"--home={os.path.abspath(place.folder)}",
        *("proxy", "ssh", f"--proxy={place.where}", f"--cluster={place.cluster}"),
    ]
    for word in words:
        if not word.isprintable():
            raise BadAsk(f"{word!r} cannot be written for ssh")
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words) + " %r@%h:%p"


def who(place: Place) -> dict[str, str]:
    """The options that say who we are, and whom to believe."""
    found = {
        "UserKnownHostsFile": quoted(os.path.abspath(place.known_hosts)),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "HostKeyAlgorithms": HOST_KEYS,
    }
    if os.path.exists(place.ssh_certificate):  # else it lies in ssh-agent alone
        found["IdentityFile"] = quoted(os.path.abspath(place.key))
        found["CertificateFile"] = quoted(os.path.abspath(place.ssh_certificate))
        found["IdentitiesOnly"] = "yes"
    return found


def options(place: Place) -> list[str]:
    """The same and the way, as words for ssh or scp."""
    told = {**who(place), "ProxyCommand": proxy_command(place)}
    return [word for name, value in told.items() for word in ("-o", f"{name}={value}")]


def full_name(host: str, place: Place) -> str:
    """The name of the node *host* that its certificate has and known_hosts knows.

    Raises:
        BadAsk: it cannot be the name of a host.
    """
    if _NAME.fullmatch(host) is None:
        raise BadAsk(f"{host!r} cannot be the name of a node: `tgsh ls` shows them")
    ends = (f".{place.cluster}", f".{place.host}")
    return host if host.endswith(ends) else f"{host}.{place.cluster}"


def block(place: Place, way: SshWay) -> str:
    """The lines for ~/.ssh/config that work in the mode that *way* says."""
    gates = [place.host] if way[0] == MULTIPLEX else list(dict.fromkeys((place.host, way[1])))
    nodes = [f"*.{place.cluster}"]
    if _is_name(place.host):
        nodes.append(f"*.{place.host}")
    ours = [f"    {name} {value}" for name, value in who(place).items()]
    behind = f"Host {' '.join(nodes)} {' '.join(f'!{gate}' for gate in gates)}"
    first, last = marks(place)
    lines = [
        f"{first}: written by `tgsh config`, and lost when it is written again",
        f"# {place.user} at {place.where}, {way[0]} mode",
    ]
    if way[0] == MULTIPLEX:
        # The gateway's own name stays the user's: its sshd is none of the cluster's.
        lines += [behind, *ours, f"    ProxyCommand {proxy_command(place)}"]
    else:
        lines += [
            f"Host {' '.join([*nodes, *gates])}",
            *ours,
            f"Host {' '.join(gates)}",
            f"    User {place.user}",
            f"    Port {way[2]}",
            *([] if _is_name(way[1]) else [f"    HostKeyAlias {place.cluster}"]),
            behind,
            f"    ProxyJump {place.user}@{host_port(way[1], way[2])}",
        ]
    return "\n".join([*lines, last, ""])


def marks(place: Place) -> tuple[str, str]:
    """The beginnings of the first and the last line of the block of *place*."""
    return f"# begin tgsh config {place.where}", f"# end tgsh config {place.where}"


def placed(text: str, made: str, place: Place) -> str:
    """*text* with the block *made* instead of an older one, or after all else.

    Raises:
        BadAsk: an older one has no end; what follows it would be lost.
    """
    first, last = marks(place)
    lines = text.splitlines(keepends=True)
    starts = [n for n, line in enumerate(lines) if line.startswith(f"{first}:")]
    ends = [n for n, line in enumerate(lines) if line.rstrip() == last]
    if not starts and not ends:
        gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + made
    if len(starts) != 1 or len(ends) != 1 or ends[0] < starts[0]:
        raise BadAsk(
            f"the lines `{first}` and `{last}` do not make one block: mend or remove them first"
        )
    return "".join([*lines[: starts[0]], made, *lines[ends[0] + 1 :]])


def _is_name(host: str) -> bool:
    return ":" not in host and not host.replace(".", "").isdecimal()
