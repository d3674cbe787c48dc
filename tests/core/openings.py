"""The openings of all built-in wire protocols, and what real clients send first."""

from __future__ import annotations

from tests.core import hellos
from tests.core.hellos import read_vector
from tlsgate.core.sniff import TLS_OPENING, Opening, Then
from tlsgate.core.wire import http, mongodb, postgres, ssh

#: One opening for each matcher, as protocols would register them.
POSTGRES_TLS = Opening(
    name="postgres-sslrequest",
    protocol="postgres",
    match=postgres.is_ssl_request,
    then=Then.TLS,
    consumes=postgres.REQUEST_SIZE,
    answer=postgres.ACCEPT,
)
POSTGRES_GSS = Opening(
    name="postgres-gssencrequest",
    protocol="postgres",
    match=postgres.is_gssenc_request,
    then=Then.AGAIN,
    consumes=postgres.REQUEST_SIZE,
    answer=postgres.DECLINE,
)
POSTGRES_CANCEL = Opening(
    name="postgres-cancel",
    protocol="postgres",
    match=postgres.is_cancel_request,
    then=Then.REFUSE,
)
POSTGRES_PLAIN = Opening(
    name="postgres-startup",
    protocol="postgres",
    match=postgres.is_startup,
    then=Then.REFUSE,
    answer=postgres.error_response("28000", "this port takes TLS only"),
)
SSH = Opening(name="ssh", protocol="ssh", match=ssh.is_banner, then=Then.TAKE)
HTTP = Opening(
    name="http",
    protocol="web",
    match=http.is_request,
    then=Then.REFUSE,
    answer=http.bad_request("this port takes TLS only"),
)
MONGODB = Opening(name="mongodb", protocol="mongodb", match=mongodb.is_message, then=Then.REFUSE)

OPENINGS = [
    TLS_OPENING,
    POSTGRES_TLS,
    POSTGRES_GSS,
    POSTGRES_CANCEL,
    POSTGRES_PLAIN,
    SSH,
    HTTP,
    MONGODB,
]

#: What real clients send first, and the opening that it is; None: of no protocol here.
VECTORS: list[tuple[bytes, Opening | None]] = [
    *((hellos.captured(name), TLS_OPENING) for name in hellos.CAPTURED),
    (read_vector("openings/postgres-ssl"), POSTGRES_TLS),
    (bytes.fromhex("0000000804d21630"), POSTGRES_GSS),
    (bytes.fromhex("0000001004d2162e0000abcd01020304"), POSTGRES_CANCEL),
    (bytes.fromhex("0000002c04d2162e0000abcd") + bytes(32), POSTGRES_CANCEL),
    (read_vector("openings/postgres-startup"), POSTGRES_PLAIN),
    (bytes.fromhex("0000000f00030002") + b"user\0u\0\0", POSTGRES_PLAIN),
    (read_vector("openings/ssh"), SSH),
    (b"SSH-1.99-old\n", SSH),
    (read_vector("openings/http"), HTTP),
    (read_vector("openings/http2-prior"), HTTP),
    *((verb + b" / HTTP/1.1\r\n", HTTP) for verb in (b"PUT", b"POST", b"PATCH", b"HEAD")),
    (read_vector("openings/mongodb"), MONGODB),
    (bytes.fromhex("3b0000000100000000000000d407000000000000"), MONGODB),
    (read_vector("openings/redis"), None),
    (b"\x16\x02\x00\x00\x05" + b"\x01" * 11, None),
    (b"\x80\x2e\x01\x00\x02" + b"\x01" * 11, None),
    (b"GETX / HTTP/1.1\r\n", None),
    (b"get / HTTP/1.1\r\n", None),
    (b"EHLO example.com\r\n", None),
    (b"SSG-2.0", None),
    (b"\0\0\0\x08\x04\xd2\x16\x31", None),
    (b"\0\0\0\x09\x04\xd2\x16\x2f\0", None),
    (b"\0\0\0\x07\0\3\0\0", None),
    (b"\0\0\x27\x11\0\3\0\0", None),
    (b"\0\0\0\x0f\0\2\0\0", None),
    (b"\0\1\0\0\0\3\0\0user\0u\0\0", None),
    (b"\0\0\0\x0f\x04\xd2\x16\x2e", None),
    (b"\0\0\1\x0d\x04\xd2\x16\x2e", None),
    (bytes.fromhex("3b0000000100000001000000d4070000"), None),
    (bytes.fromhex("3b0000000100000000000000d5070000"), None),
    (bytes.fromhex("190000000100000000000000d4070000"), None),
    (bytes.fromhex("016cdc020100000000000000d4070000"), None),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", None),
    (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", None),
]
