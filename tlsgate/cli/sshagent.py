"""What tgsh says to ssh-agent: take this key for so long, and forget it again.

The agent's own protocol, which is a handful of messages over a UNIX socket; `ssh-add` would
want the certificate under another name beside the key. RFC 9987 (SSH Agent Protocol) and
https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.certkeys have the shapes.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator

from tlsgate.errors import BadAsk

_SECONDS = 5.0
#: OpenSSH's own limit for a message is 256 KiB.
_ANSWER_BYTES = 256 << 10
_FAILURE, _SUCCESS, _ASK, _LIST, _REMOVE, _ADD = 5, 6, 11, 12, 18, 25
_LIFETIME = 1


def running() -> str | None:
    """The socket of the agent that the environment names; None where there is none."""
    return os.environ.get("SSH_AUTH_SOCK") or None


def add(comment: str, key: bytes, certificate: str, seconds: int) -> None:
    """Give the agent a key and its certificate; what it had under *comment* goes.

    Args:
        comment: what the agent lists it under.
        key: P-256, PEM, as `newkey` makes it.
        certificate: the line of the OpenSSH certificate.
        seconds: when the agent is to forget it.

    Raises:
        BadAsk: there is no agent, or it does not take it.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    kind, blob = certificate.split()[:2]
    scalar = private.private_numbers().private_value
    message = b"".join(
        (
            bytes((_ADD,)),
            _string(kind.encode("ascii")),
            _string(base64.b64decode(blob)),
            _string(scalar.to_bytes(scalar.bit_length() // 8 + 1, "big")),
            _string(comment.encode()),
            bytes((_LIFETIME,)) + min(max(seconds, 1), 0xFFFFFFFF).to_bytes(4, "big"),
        )
    )
    with _open() as agent:
        for old in _listed(agent, comment):
            _say(agent, bytes((_REMOVE,)) + _string(old))
        if _say(agent, message)[:1] != bytes((_SUCCESS,)):
            raise BadAsk("ssh-agent does not take the key; --add-keys-to-agent=no leaves it out")


def remove(comment: str) -> int:
    """Have the agent forget what it has under *comment*; gives how many keys that were.

    Raises:
        BadAsk: there is no agent, or it says nothing.
    """
    with _open() as agent:
        found = list(_listed(agent, comment))
        for one in found:
            _say(agent, bytes((_REMOVE,)) + _string(one))
    return len(found)


def _open() -> socket.socket:
    path = running()
    if path is None:
        raise BadAsk("no ssh-agent runs here: SSH_AUTH_SOCK is not set")
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.settimeout(_SECONDS)
        agent.connect(path)
    except OSError as e:
        agent.close()
        raise BadAsk(f"ssh-agent at {path} cannot be reached: {e.strerror or e}") from e
    return agent


def _listed(agent: socket.socket, comment: str) -> Iterator[bytes]:
    """The key blobs that the agent has under *comment*."""
    answer = _say(agent, bytes((_ASK,)))
    if answer[:1] != bytes((_LIST,)):
        return
    try:
        rest = answer[5:]
        for _ in range(int.from_bytes(answer[1:5], "big")):
            blob, rest = _cut(rest)
            named, rest = _cut(rest)
            if named == comment.encode():
                yield blob
    except ValueError as e:
        raise BadAsk(f"ssh-agent answers what is none: {e}") from e


def _say(agent: socket.socket, message: bytes) -> bytes:
    try:
        agent.sendall(_string(message))
        length = int.from_bytes(_read(agent, 4), "big")
        if not 1 <= length <= _ANSWER_BYTES:
            raise OSError(f"an answer of {length} bytes")
        return _read(agent, length)
    except OSError as e:
        raise BadAsk(f"ssh-agent does not answer: {e.strerror or e}") from e


def _read(agent: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = agent.recv(count - len(found))
        if not more:
            raise OSError("it has hung up")
        found += more
    return found


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _cut(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise ValueError("it is cut short")
    return data[4 : 4 + length], data[4 + length :]
