"""Tells twistd that there is a `tlsgate`; nothing of it is imported until it is run."""

from twisted.application.service import ServiceMaker

tlsgate = ServiceMaker(
    "tlsgate",
    "tlsgate.service.entry",
    "An access gateway: one TLS port, every protocol a plug-in.",
    "tlsgate",
)
