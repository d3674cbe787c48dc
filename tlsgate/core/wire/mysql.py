"""MySQL and MariaDB: the error that takes the greeting's place.

The server speaks first, so there is no opening. Before the capabilities are known an
error packet has no SQL state (that is what servers send to a blocked host).
https://mariadb.com/kb/en/err_packet/
"""

from __future__ import annotations

from struct import pack

#: ER_UNKNOWN_ERROR: the client prints "ERROR 1105 (HY000): MESSAGE".
UNKNOWN_ERROR = 1105

_LONGEST_TEXT = 511  # MYSQL_ERRMSG_SIZE of the client, without its NUL


def err_packet(message: str, code: int = UNKNOWN_ERROR) -> bytes:
    """Write an ERR packet that ends the connection instead of a greeting."""
    text = message.encode()[:_LONGEST_TEXT].decode(errors="ignore").encode()
    payload = b"\xff" + pack("<H", code) + text
    return pack("<L", len(payload))[:3] + b"\0" + payload
