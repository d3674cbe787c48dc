"""How Hypothesis runs here; each package of tests that has properties imports this.

Without a deadline, for a busy machine is no fault of the code, and with `TLSGATE_EXAMPLES`
examples a property (`etc/test.sh --slow` asks for more).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "tlsgate",
    deadline=None,
    max_examples=int(os.environ.get("TLSGATE_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tlsgate")
