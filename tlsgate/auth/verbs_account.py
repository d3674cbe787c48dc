"""What gateways ask for people who change their own password or second factor in a browser.

A session alone changes nothing: the password and a code are asked for again, and count as
failed logins where they are wrong. So a browser that was left open, or a stolen cookie, is
no way to an account.
"""

from __future__ import annotations

from typing import Any, Final

from tlsgate.auth.bodies import WebPassword, WebProof
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.verbs_apps import logged_in

#: How long the link is good to which a browser is sent at once.
LINK_SECONDS: Final = 900.0


async def _password(call: Call) -> Any:
    body: WebPassword = call.body
    person = await logged_in(call, body.cookie, body.bearer, body.address)
    await call.parts.users.change_password(person.name, body.old, body.new, body.otp, body.address)
    return {"user": person.name}


async def _factor(call: Call) -> Any:
    body: WebProof = call.body
    person = await logged_in(call, body.cookie, body.bearer, body.address)
    link = await call.parts.users.renew(
        person.name, body.old, body.otp, body.address, ttl_seconds=LINK_SECONDS
    )
    return {"user": person.name, "token": link.token, "expires": link.expires}


VERBS: Final = (
    Verb(
        name="web.password",
        method="POST",
        path="/v1/web/password",
        who="gateway",
        summary="Change the password of somebody who is logged in and proves it once more.",
        answer=_password,
        reply="UserNamed",
        changes=True,
        body=WebPassword,
    ),
    Verb(
        name="web.factor",
        method="POST",
        path="/v1/web/factor",
        who="gateway",
        summary="Make the link by which somebody who proves to be it sets up a new second factor.",
        answer=_factor,
        reply="WebLink",
        changes=True,
        body=WebProof,
    ),
)
