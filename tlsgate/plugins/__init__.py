"""Where protocols are found: `builtin`, and every drop-in that Twisted would find here.

A distribution adds a protocol by shipping `tlsgate/plugins/NAME.py` without an
`__init__.py`; an operator adds one by a file in `proxy_service.plugins_dir`. Either file
holds instances that provide `IPlugin` and `IGateProtocol`. docs/plugins.md walks through one.
"""

from __future__ import annotations

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
