"""`tgsh proxy ssh`: stdin and stdout to a node's sshd, for ssh's ProxyCommand.

1. The profile says who we are; the gateway, asked afresh, which way SSH takes (`way`).
2. On its web port: TLS with the token `tlsgate-ssh-ping` or `tlsgate-ssh` and the user's
   certificate; the gateway has to show one of the cluster's; one CONNECT names the node.
3. Refused, its sentence goes to stderr, and the exit code is 1. Else bytes go both ways until
   both sides have ended (`tlspipe`).
4. In separate mode `ssh -W` through the jump host takes our place.

ssh waits for this on every connection, so it imports the standard library and little else;
an error may take longer to be told.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import time

import tlsgate
from tlsgate.cli.gatecert import not_after
from tlsgate.cli.tgsh.flat import Place, bad, default_folder, place_of, text_of
from tlsgate.cli.tgsh.gatedial import DIAL_SECONDS, dial
from tlsgate.cli.tgsh.tlspipe import TlsPipe
from tlsgate.cli.tgsh.way import say, way_now
from tlsgate.core.addresses import host_port
from tlsgate.core.sshway import MULTIPLEX, SshWay

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

#: The protocol inside, framed first: a gateway that has no frames takes the second.
TOKENS = ("tlsgate-ssh-ping", "tlsgate-ssh")
#: Of the answer to CONNECT, and of the sentence of a refusal.
_HEAD_BYTES, _SENTENCE_BYTES = 16 << 10, 4 << 10

_TARGET = re.compile(r"(?:([\w.@+-]+)@)?(\[[0-9A-Fa-f:.]+\]|(?!-)[\w.-]{1,253})(?::(\d{1,5}))?")


class Asked:
    """What the command line says."""

    def __init__(self) -> None:
        self.folder = default_folder()
        self.proxy = os.environ.get("TGSH_PROXY") or os.environ.get("TELEPORT_PROXY")
        self.cluster: str | None = None
        self.target = ""


def read_words(words: Sequence[str]) -> Asked | None:
    """The command line of `tgsh proxy ssh`; None: it is another, or click says what is wrong."""
    asked = Asked()
    rest = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--home", "--proxy", "--cluster"):
            if not equals:
                if not left:
                    return None
                value = left.pop(0)
            if name == "--home":
                asked.folder = value
            else:
                setattr(asked, name[2:], value)
        elif word.startswith("-"):
            return None
        else:
            rest.append(word)
    if len(rest) != 3 or rest[:2] != ["proxy", "ssh"]:
        return None
    asked.target = rest[2]
    return asked


def run(asked: Asked, stdin: int = 0, stdout: int = 1) -> int:
    """Do it; gives the exit code."""
    where = asked.proxy or "the gateway"
    try:
        place = _place(asked)
        where = place.where
        host, port = _target(asked.target)
        pipe, first = _reach(place, host, port)
        with pipe.sock:
            pipe.carry(stdin, stdout, first)
        return 0
    except Exception as e:
        return _fail(e, where)


def _place(asked: Asked) -> Place:
    host: str | None = None
    port: int | None = None
    if asked.proxy:
        name, _, number = asked.proxy.rpartition(":")
        if name and number.isdecimal() and (":" not in name or name.startswith("[")):
            host, port = name.strip("[]").lower(), int(number)
        else:  # the rare spellings
            from tlsgate.cli.tgsh.gateway import parse_proxy

            host, port = parse_proxy(asked.proxy)
    place = place_of(asked.folder, host, port)
    if asked.cluster is not None and asked.cluster != place.cluster:
        bad(f"{place.where} is the gateway of {place.cluster}, not of {asked.cluster}")
    _check_time(place)
    return place


def _check_time(place: Place) -> None:
    """See that the certificate is there and has not expired.

    Raises:
        NotLoggedIn: it is not.
    """
    text = text_of(place.certificate)
    why = "you are not logged in"
    if text is not None:
        import binascii

        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        body = text.partition(begin)[2].partition(end)[0]
        try:
            tag, moment = not_after(binascii.a2b_base64(body))
        except (StopIteration, ValueError, IndexError):
            bad(f"{place.certificate} is no certificate; log in again with `{place.login}`")
        # Both spellings of a time sort as text (RFC 5280 section 4.1.2.5).
        shape = "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ"
        if time.strftime(shape, time.gmtime()).encode() < moment:
            return
        why = f"the certificate of {place.user} has expired"
    from tlsgate.cli.faults import NotLoggedIn

    raise NotLoggedIn(why, place.login)


def _target(written: str) -> tuple[str, int]:
    """Host and port of [LOGIN@]HOST[:PORT]; the login is sshd's business."""
    found = _TARGET.fullmatch(written)
    if found is None or not 0 < int(found[3] or 22) < 65536:
        bad(f"{written!r} is no [LOGIN@]HOST[:PORT]")
    return found[2].strip("[]").lower(), int(found[3] or 22)


def _reach(place: Place, host: str, port: int) -> tuple[TlsPipe, bytes]:
    """The pipe to the node, and what it has said already."""
    way = way_now(place)
    if way[0] != MULTIPLEX:
        _jump(place, way, host, port)
    try:
        pipe = _dial(place)
    except Exception as first:
        if not _may_be_the_way(first):
            raise
        way = _another_way(place, first)
        _jump(place, way, host, port)
    try:
        return pipe, _ask(pipe, place, host, port)
    except BaseException:
        pipe.sock.close()
        raise


def _another_way(place: Place, first: Exception) -> SshWay:
    """The way to the jump host where the gateway says now that there is one, else *first*."""
    try:
        way = way_now(place, afresh=True)
    except Exception:
        raise first from None
    if way[0] == MULTIPLEX:
        raise first
    return way


def _may_be_the_way(error: Exception) -> bool:
    """Whether *error* may come from a listener that is gone: not from a certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, OSError) or getattr(error, "reason", "") == "unreachable"


def _dial(place: Place) -> TlsPipe:
    """TLS to the gateway, which is looked at before a byte is sent."""
    return dial(place, TOKENS)


def _ask(pipe: TlsPipe, place: Place, host: str, port: int) -> bytes:
    """Ask for the node with CONNECT (RFC 9110 section 9.3.6); gives what came after."""
    where = host_port(host, port)
    lines = (
        f"CONNECT {where} HTTP/1.1",
        f"Host: {where}",
        f"User-Agent: tgsh/{tlsgate.__version__}",
    )
    pipe.send("\r\n".join([*lines, "", ""]).encode("ascii"))
    head, body = _head(pipe, place)
    first, *fields = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        _unreachable(place, "its answer to CONNECT is no HTTP")
    named = {}
    for line in fields:
        name, _, value = line.partition(":")
        named[name.strip().lower()] = value.strip()
    if not rest.startswith("2"):
        _refused(pipe, rest, body, named.get("content-length", ""))
    seconds = named.get("tlsgate-ping-seconds", "")
    known = len(seconds) < 9 and seconds.replace(".", "", 1).isdecimal()
    pipe.ping_seconds = float(seconds) if known else 0.0
    return body


def _head(pipe: TlsPipe, place: Place) -> tuple[bytes, bytes]:
    """The head of the gateway's answer, and what came after it."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = pipe.receive()
        if not more:
            _unreachable(place, "it hung up without a word")
        read += more
        if len(read) > _HEAD_BYTES:
            _unreachable(place, "its answer to CONNECT is longer than any")
    head, _, body = read.partition(b"\r\n\r\n")
    return head, body


def _refused(pipe: TlsPipe, status: str, body: bytes, length: str) -> NoReturn:
    """Raise the sentence of a refusal."""
    whole = min(int(length), _SENTENCE_BYTES) if length[:7].isdecimal() else _SENTENCE_BYTES
    try:
        while len(body) < whole and (more := pipe.receive()):
            body += more
    except OSError:
        pass  # what has come of it is better than nothing
    words = body[:whole].decode("utf-8", "replace").strip()
    from tlsgate.cli.faults import Refused

    raise Refused(words or f"the gateway refused: {status}")


def _unreachable(place: Place, why: str) -> NoReturn:
    from tlsgate.errors import Unreachable

    raise Unreachable(place.where, why)


def jump_words(place: Place, way: SshWay, host: str, port: int) -> list[str]:
    """The command line of ssh through the jump host; the first word is the program."""
    _, jump, number = way
    options = {
        "User": place.user,
        "Port": str(number),
        "IdentityFile": quoted(place.key),
        "UserKnownHostsFile": quoted(place.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ControlPath": "none",
        "LogLevel": "INFO",  # a refusal's sentence is only shown from here on
    }
    if os.path.exists(place.ssh_certificate):
        options["CertificateFile"] = quoted(place.ssh_certificate)
        options["IdentitiesOnly"] = "yes"
    if ":" in jump or jump.replace(".", "").isdecimal():
        # Certificates name no addresses: the authority and the cluster's name have to do.
        options["HostKeyAlias"] = place.cluster
    where = host_port(host, port)
    words = ["ssh", "-F", "/dev/null"]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return [*words, "-W", where, "--", jump]


def quoted(path: str) -> str:
    """*path* as the value of an option of ssh's: its own signs mean nothing.

    Raises:
        BadAsk: nothing would make it one word there.
    """
    if any(sign in path for sign in '"\\\r\n') or "${" in path:
        bad(f"{path!r} cannot be written for ssh: choose another folder with TGSH_HOME")
    return '"' + path.replace("%", "%%") + '"'


def _jump(place: Place, way: SshWay, host: str, port: int) -> NoReturn:
    words = jump_words(place, way, host, port)
    try:
        os.execvp(words[0], words)  # noqa: S606  # a word each: there is nothing for a shell
    except OSError as e:
        bad(f"ssh cannot be run: {e.strerror}")


def _fail(error: Exception, where: str) -> int:
    """Say what went wrong; gives the exit code."""
    from tlsgate.cli.alerts import explained
    from tlsgate.errors import Fault, GateError

    if isinstance(error, OSError):
        error = explained(error, where, DIAL_SECONDS)
    if not isinstance(error, GateError):
        raise error
    say(str(error))
    return 2 if error.fault is Fault.OPERATOR else 1


def main(words: Sequence[str]) -> int | None:
    """The exit code of `tgsh *words*`; None: that is none of ours."""
    asked = read_words(words)
    return None if asked is None else run(asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
