"""What an application is told of its user: a JSON web token, signed by the cluster.

The application reads the keys at /.well-known/jwks.json of a gateway, and looks at `iss`, `aud`
and `exp` (RFC 7519 section 4.1). Claims have Teleport's names, so that an application that
takes its tokens takes ours: https://goteleport.com/docs/enroll-resources/application-access/jwt/.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from joserfc import jwt
from joserfc.jwk import ECKey

from tlsgate.auth.authority import JwtAuthority
from tlsgate.core.roles import Person

#: What of a user an application gets to know beside the name, as its agent's file says.
Claims = Literal["roles-and-traits", "roles", "traits", "none"]

#: The longest life of a token; whoever asks keeps it for a part of that.
TOKEN_SECONDS: Final = 15 * 60.0
#: An application's clock may be behind by so much.
_BACKDATE_SECONDS: Final = 60


def token_of(
    authority: JwtAuthority,
    person: Person,
    *,
    issuer: str,
    audience: str,
    app: str,
    claims: str,
    now: float,
    ends: float,
) -> tuple[str, int]:
    """Sign a token; give it and its end.

    Args:
        person: the user, with the roles that count.
        issuer: the cluster's name.
        audience: the application's URL.
        claims: of `Claims`; any other word tells the name alone.
        now: seconds since the epoch.
        ends: of what the user has shown; the token never outlives it.
    """
    until = int(min(now + TOKEN_SECONDS, ends))
    told: dict[str, Any] = {
        "iss": issuer,
        "sub": person.name,
        "aud": [audience],
        "iat": int(now),
        "nbf": int(now) - _BACKDATE_SECONDS,
        "exp": until,
        "username": person.name,
        "app": app,
    }
    if claims in ("roles-and-traits", "roles"):
        told["roles"] = list(person.roles)
    if claims in ("roles-and-traits", "traits"):
        told["traits"] = {key: list(values) for key, values in person.traits.items()}
    header = {"alg": "ES256", "kid": authority.id, "typ": "JWT"}
    return jwt.encode(header, told, ECKey.import_key(authority.key)), until
