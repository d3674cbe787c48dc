The gateway: one TLS port carries every protocol, chosen by ALPN, SNI or a protocol's first bytes; protocols are plug-ins; configuration, reload and upgrade never cost a connection.
