"""What gateways say of browsers at applications; one model a body."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from tlsgate.auth.agentbodies import Der, Word
from tlsgate.auth.bodies import Address, Body, Line, Pem, Secret

#: SHA-256 of a certificate's DER.
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class AppBegin(Body):
    """A login, and the application that its user goes to."""

    cookie: Secret = Field(repr=False)
    bearer: Secret = Field(repr=False)
    app: Word
    state: Secret = Field(repr=False, description="of the browser, which shows it again")
    address: Address


class AppRedeem(Body):
    """A code, and the browser that shows it at the application's own host."""

    code: Secret = Field(repr=False)
    app: Word
    state: Secret = Field(repr=False)
    address: Address
    certificate: Digest | None = Field(
        None, description="SHA-256 of the client's certificate in hex; null: it shows none"
    )


class AppShown(Body):
    """The cookie of a session at an application, and who shows it."""

    cookie: Secret = Field(repr=False)
    app: Word
    address: Address
    certificate: Digest | None = None


class AppCertificate(AppShown):
    """The same, and the key that the gateway has made for it."""

    public_key: Pem


class AppToken(Body):
    """Whose request goes to an application, which is to be told so."""

    certificate: Der = Field(
        description="of the user, or of the session at the application: DER in base64"
    )
    app: Word
    audience: Line = Field(description="the application's URL, as the token is to name it")
    address: Address | None = Field(
        None, description="of the user; certificates that are pinned are good with it only"
    )


class AppLogout(Body):
    """The session to end."""

    cookie: Secret = Field(repr=False)
