"""tlsgate: one TLS port for every protocol that people use to reach infrastructure.

The life of a connection:

1. an endpoint accepts it; limits are counted (`net.limits`);
2. its first bytes are looked at, bounded and without consuming them (`net.arrival`);
3. a PROXY header and a protocol's opening are read by pure parsers (`core`);
4. the routing table makes the one choice from listener, SNI and ALPN (`core.routing`);
5. a TLS object is made from that route's own finished context (`tls.contexts`);
6. the handshake confirms the chosen token; the certificate becomes an identity (`tls.verify`);
7. rules decide, the protocol is built on the transport, and the dispatcher is gone;
8. the relay carries bytes (`net.relay`) until both ends are done; one log line, one event.
"""

__version__ = "1.0.0"
