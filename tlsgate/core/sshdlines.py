"""The line by which OpenSSH's sshd tells that it let the holder of a certificate in.

    Accepted publickey for root from 127.0.0.1 port 4711 ssh2: ED25519-CERT SHA256:... ID alice
    (serial 42) CA ED25519 SHA256:...

(one line), see `auth_log` in https://github.com/openssh/openssh-portable/blob/master/auth.c.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from attrs import frozen

from tlsgate.core.wire.sshcert import key_blob

#: Longer lines are none of these: the parts are bounded, as are the names of a cluster.
LONGEST_LINE: Final = 2048

_DIGEST = r"SHA256:[0-9A-Za-z+/]{43}"
#: The ID is what an authority has signed; of another's it could be anything, so the parts
#: after it are looked for from the end.
_ACCEPTED = re.compile(
    r"Accepted publickey for (?P<login>\S{1,64}) from (?P<address>\S{1,64}) "
    rf"port (?P<port>[0-9]{{1,5}}) ssh2: [\w-]{{1,32}}-CERT (?P<key>{_DIGEST}) "
    r"ID (?P<name>.{0,256}) \(serial (?P<serial>[0-9]{1,20})\) "
    rf"CA [\w-]{{1,32}} (?P<ca>{_DIGEST})"
)
#: In a file other programs stand in front: syslog's date and host, or nothing (`sshd -E`).
_FRONT = re.compile(r"(?:.{0,128}? sshd(?:-session)?\[[0-9]{1,10}\]: )?(?=Accepted )")


@frozen(kw_only=True)
class Accepted:
    """One login.

    Attributes:
        login: the account.
        address, port: of the client as sshd saw it; of one through a tunnel, the agent's own.
        key: digest of the key, as OpenSSH writes it.
        name: the certificate's ID: the user's name.
        serial: of the certificate.
        ca: digest of the authority's key.
    """

    login: str
    address: str
    port: int
    key: str
    name: str
    serial: int
    ca: str


def accepted(message: str) -> Accepted | None:
    """What *message*, without anything in front, tells of a login; None: it is another one."""
    if len(message) > LONGEST_LINE or (found := _ACCEPTED.fullmatch(message)) is None:
        return None
    port, serial = int(found["port"]), int(found["serial"])
    if not found["name"].isprintable() or port > 65535 or serial >= 1 << 64:
        return None
    return Accepted(
        login=found["login"],
        address=found["address"],
        port=port,
        key=found["key"],
        name=found["name"],
        serial=serial,
        ca=found["ca"],
    )


def message_of(line: str) -> str | None:
    """The message in a line of a log file, where it may be one of these; None: it is not."""
    if len(line) > LONGEST_LINE or (front := _FRONT.match(line)) is None:
        return None
    return line[front.end() :].removesuffix("\r")  # as `sshd -E` ends its lines


def digest_of(line: str) -> str:
    """The digest of a public key's line, as OpenSSH writes it.

    Raises:
        BadBytes: it is none.
    """
    digest = base64.b64encode(hashlib.sha256(key_blob(line)).digest())
    return f"SHA256:{digest.decode().rstrip('=')}"
