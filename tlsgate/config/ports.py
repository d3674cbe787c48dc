"""Teleport's default ports, so that a host without a port means what operators expect.

Source: https://goteleport.com/docs/reference/networking/
"""

from __future__ import annotations

from typing import Final

WEB: Final = 3080
SSH: Final = 3023
TUNNEL: Final = 3024
KUBE: Final = 3026
MYSQL: Final = 3036
POSTGRES: Final = 5432
MONGO: Final = 27017
PEER: Final = 3021
NODE: Final = 3022
#: Of OpenSSH, which an agent dials.
SSHD: Final = 22
AUTH: Final = 3025
KUBE_SERVICE: Final = 3027
WINDOWS_DESKTOP: Final = 3028
METRICS: Final = 3081
DIAG: Final = 3000
#: What a public web address means when the listener's own port cannot be known.
HTTPS: Final = 443
