"""SSH: its first line, and a disconnect that a client shows before any key exchange.

RFC 4253 sections 4.2 (identification), 6 (binary packets) and 11.1 (disconnect).
"""

from __future__ import annotations

from struct import pack

from tlsgate.core.sniff import Matcher, prefix

#: SSH_DISCONNECT_BY_APPLICATION: nothing is wrong with the protocol itself.
BY_APPLICATION = 11

_IDENTIFICATION = b"SSH-2.0-tlsgate\r\n"
_MSG_DISCONNECT = 1
_BLOCK = 8  # packets are a multiple of it before the first key exchange
_LONGEST_TEXT = 1024

#: A client or a server of any version has said so much of its first line.
is_banner: Matcher = prefix(b"SSH-")


def disconnect(message: str, code: int = BY_APPLICATION) -> bytes:
    """Write an identification line and a disconnect with *message*, in the clear.

    OpenSSH prints "Received disconnect from HOST port PORT:CODE: MESSAGE".
    """
    text = message.encode()[:_LONGEST_TEXT].decode(errors="ignore").encode()
    payload = pack(">BLL", _MSG_DISCONNECT, code, len(text)) + text + pack(">L", 0)
    # Length and padding length count for the block; there are 4 bytes of padding or more.
    padding = -(4 + 1 + len(payload)) % _BLOCK
    if padding < 4:
        padding += _BLOCK
    packet = pack(">LB", 1 + len(payload) + padding, padding) + payload + bytes(padding)
    return _IDENTIFICATION + packet
