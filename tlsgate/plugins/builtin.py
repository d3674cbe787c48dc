"""The protocols that come with tlsgate: instances, and nothing else.

They are found as drop-ins are, and a gate starts without any of them.
"""

from __future__ import annotations

from tlsgate.protocols.raw import Raw
from tlsgate.protocols.web.protocol import Web

raw = Raw()
web = Web()
