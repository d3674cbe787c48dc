"""The look at a gateway's certificate that costs no import.

OpenSSL has verified the chain by the cluster's host authorities before. What is left is what
`api.check_gateway` asks as well: kind host, the role of a gateway, the cluster, and a name.
The claims are read here without their strict reader, which takes 90 ms to be imported; what
that one refuses besides, no authority of ours has signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tlsgate.cli import der

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from typing import Any

#: `core.claims.CLAIMS_OID`; a test holds the two together.
CLAIMS_OID = "1.2.840.113556.1.8000.2554.13986.16929.22909.19595.37503.14529076.11790269"
#: `core.claims.CLAIMS_BYTES`.
_CLAIMS_BYTES = 12 << 10


def not_a_gateway(shown: bytes, told: Mapping[str, Any], host: str, cluster: str) -> str | None:
    """Why the certificate *shown* is not that of a gateway of *cluster*; None: it is.

    Args:
        shown: DER; its chain is verified.
        told: what `getpeercert` says of it.
        host: whom it has to name; "" where an address was dialled, which none names.
        cluster: its name.
    """
    try:
        claims = _claims(shown)
    except (StopIteration, ValueError, IndexError, RecursionError):
        claims = {}
    if claims.get("v") != 1:
        return "its certificate is none of a tlsgate cluster"
    roles = claims.get("system_roles")
    if claims.get("kind") != "host" or not isinstance(roles, list) or "gateway" not in roles:
        return "its certificate is not one of a gateway"
    if claims.get("cluster") != cluster:
        return f"it belongs to {claims.get('cluster')}, not to {cluster}"
    names = {value for kind, value in told.get("subjectAltName", ()) if kind == "DNS"}
    if not host or host in names or any(name.endswith(f".gateway.{cluster}") for name in names):
        return None
    return f"its certificate does not name {host}"


def not_after(shown: bytes) -> tuple[int, bytes]:
    """Tag and text of the end of the certificate *shown*.

    Raises:
        ValueError: it is no certificate; so do StopIteration and IndexError say.
    """
    _begin, end = der.walk(der.expect(der.fields(shown)[3], der.SEQUENCE))
    return end[0], end[1]


def _claims(shown: bytes) -> dict[str, Any]:
    """What the certificate's extension says; empty where there is none."""
    if len(shown) > der.LIMIT_BYTES:
        return {}
    for name, value in der.extensions(der.fields(shown)[6:]):
        if name == CLAIMS_OID and len(value) <= _CLAIMS_BYTES:
            (text,) = der.parts(value, der.UTF8_STRING)
            found = json.loads(text)
            return found if isinstance(found, dict) else {}
    return {}
