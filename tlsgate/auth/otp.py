"""One-time codes of authenticator apps: TOTP (RFC 6238), six digits, 30 s, one step of skew.

Pure besides chance. That a code is used once is the keeper's business: `match` gives the
step that the code belongs to, and takes only steps after the last one that was used.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from typing import Final

import pyotp

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SKEW_STEPS: Final = 1  #: before and after the present one

#: RFC 4226 section 4, R6: at least 128 bits, 160 recommended.
_SECRET_BYTES = 20

#: People copy the gap that apps show between the halves.
_CODE = re.compile(r"[0-9]{6}")
_WRITTEN_LONGEST = 16


def new_otp_secret() -> bytes:
    """Make the secret that an authenticator and we share."""
    return secrets.token_bytes(_SECRET_BYTES)


def base32(secret: bytes) -> str:
    """Write *secret* as people type it into an authenticator."""
    return base64.b32encode(secret).decode("ascii").rstrip("=")


def otpauth(secret: bytes, user: str, issuer: str) -> str:
    """Write the URI that an authenticator reads as a QR picture."""
    return pyotp.TOTP(base32(secret), digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(
        name=user, issuer_name=issuer
    )


def code_at(secret: bytes, step: int) -> str:
    """The code of one step."""
    return pyotp.HOTP(base32(secret), digits=DIGITS).at(step)


def step_at(now: float) -> int:
    """The step that *now* (seconds since the epoch) lies in."""
    return int(now // STEP_SECONDS)


def match(secret: bytes, code: str, now: float, used: int) -> int | None:
    """Give the step that *code* is of, or None.

    Every step that might be is worked out and compared whole, so a wrong code takes as
    long as a right one.

    Args:
        code: as it was typed; spaces are left out.
        used: the last step that was taken; only later ones are.
    """
    typed = code[:_WRITTEN_LONGEST].replace(" ", "")
    if len(code) > _WRITTEN_LONGEST or _CODE.fullmatch(typed) is None:
        typed = "no code"
    now_step, found = step_at(now), None
    for step in range(now_step - SKEW_STEPS, now_step + SKEW_STEPS + 1):
        equal = hmac.compare_digest(code_at(secret, max(step, 0)).encode(), typed.encode())
        if equal and step > used and found is None:
            found = step
    return found
