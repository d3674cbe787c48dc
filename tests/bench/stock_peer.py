"""Another gateway for the bench: what Twisted gives without tlsgate.

Twisted's TLS (`TLSMemoryBIOProtocol`) in front of its port forward, each side slowing the
other; no limits, no deadlines, no logs. `python -m tests.bench.stock_peer --help`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from OpenSSL import crypto
from twisted.internet import ssl, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.protocols.portforward import ProxyClientFactory, ProxyFactory


def options(arguments: argparse.Namespace) -> ssl.CertificateOptions:
    """The server's side: its certificate, and a client certificate required."""
    pair = ssl.PrivateCertificate.loadPEM(
        arguments.key.read_bytes() + b"\n" + arguments.cert.read_bytes()
    )
    authority = crypto.load_certificate(crypto.FILETYPE_PEM, arguments.ca.read_bytes())
    return ssl.CertificateOptions(
        privateKey=pair.privateKey.original,
        certificate=pair.original,
        trustRoot=ssl.trustRootFromCertificates([ssl.Certificate(authority)]),
        raiseMinimumTo=ssl.TLSVersion.TLSv1_2,
        acceptableProtocols=[arguments.token.encode()],
    )


def main() -> None:
    """Forward until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument("--target", type=int, required=True, metavar="PORT")
    parser.add_argument("--cert", type=Path, help="without it: plain TCP")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--token", default="bench", help="the ALPN token")
    arguments = parser.parse_args()

    from twisted.internet import reactor

    forward = ProxyFactory("127.0.0.1", arguments.target)
    ProxyFactory.noisy = ProxyClientFactory.noisy = False
    backlog, interface = 4096, "127.0.0.1"
    endpoint: IStreamServerEndpoint
    if arguments.cert:
        endpoint = SSL4ServerEndpoint(
            reactor, arguments.listen, options(arguments), backlog, interface
        )
    else:
        endpoint = TCP4ServerEndpoint(reactor, arguments.listen, backlog, interface)
    task.react(lambda _: endpoint.listen(forward).addCallback(lambda port: Deferred()))


if __name__ == "__main__":
    main()
