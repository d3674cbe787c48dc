"""The files that `tgctl init` writes: a commented configuration and a drop-in protocol."""

from __future__ import annotations

from string import Template

#: DATA/tlsgate.yaml. Everything in it is relative to its folder, which may be moved.
CONFIG = Template("""\
# A tlsgate gateway, made by `tgctl init`. After a change:
#   tgctl check $config        every problem with its place
#   tgctl reload $data         no connection is dropped
# Paths are relative to this file.

version: v2

teleport:
  data_dir: .
  # /healthz, /readyz and /metrics on a port of their own:
  # diag_addr: 127.0.0.1:3000
  log:
    output: stderr            # stderr, stdout or a file
    severity: INFO            # DEBUG, INFO, WARN, ERROR
    format: {output: text}    # text or json

# The cluster of this gateway: who may log in to it. Invite somebody with
#   tgctl users add alice --roles=access,editor
auth_service:
  cluster_name: $name
  # authentication: {second_factor: otp}

proxy_service:
  # The one port. ":443" listens on IPv4 and IPv6; "haproxy:0.0.0.0:443" takes PROXY headers.
  web_listen_addr: "127.0.0.1:$port"
  # What clients are told; the first one is advertised by /webapi/ping.
  public_addr: "$name:$port"
  # By server name: exact, wildcard, and the first pair for everything else.
  https_keypairs:
    - {cert_file: server.pem, key_file: server.key}

  # Whose client certificates count. What each may do is said by `allow` of every route.
  client_ca_files: [ca.pem]

  # Static routes: no agent, no login. Anything that opens a TLS connection to the port
  # and offers the ALPN token, or asks for the name (sni), gets to the target, provided
  # that its certificate is good and a rule names it.
  routes:
    - name: echo
      alpn: [demo-echo]
      protocol: demo-echo     # plugins/demo_echo.py, a drop-in of thirty lines
      client_cert: required   # none | optional | required
      allow:
        - cn: alice           # or {san: "spiffe://..."}, {dns: "*.ops.example.com"}

    # A server of your own behind the gateway:
    # - name: database
    #   sni: [db.example.com]
    #   target: tcp:127.0.0.1:5432
    #   protocol: postgres    # raw | postgres | ssh
    #   allow: [{cn: alice}]
    #   send_proxy: none      # none | v1 | v2

    # TLS that the target ends itself:
    # - {name: vault, sni: [vault.example.com], passthrough: true, target: tcp:10.0.0.5:8200}

  # Defaults; written out for reading, not for changing.
  # timeouts: {prelude_seconds: 5, opening_seconds: 10, dial_seconds: 10, idle_seconds: 3600}
  # limits: {unauthenticated_per_address: 64, handshakes_per_second_per_address: 50}
""")

#: DATA/plugins/demo_echo.py.
PLUGIN = '''\
"""A drop-in protocol for tlsgate: says each line back. Any route may name it.

tlsgate found this file in its plug-in folder. Change it and run `tgctl upgrade`; remove
it, with its route, and run `tgctl reload`. docs/plugins.md tells what else a protocol can do.
"""

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from tlsgate.errors import GateError
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.base import GateProtocol


class Echo(LineOnlyReceiver):
    """One connection: greets by name, says lines back, ends after `bye`."""

    delimiter = b"\\n"

    def __init__(self, name: str) -> None:
        self.name = name

    def connectionMade(self) -> None:
        self.sendLine(f"welcome, {self.name}; `bye` ends".encode())

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)
        if line.strip() == b"bye":
            self.transport.loseConnection()


class DemoEcho(GateProtocol):
    """Serves connections itself, instead of relaying them to a target."""

    name = "demo-echo"
    stands_alone = False  # only routes lead here

    def build(self, context: IRouteContext) -> Factory:
        name = "stranger" if context.identity is None else context.identity.name
        return Factory.forProtocol(lambda: Echo(name))

    def refusal(self, error: GateError) -> bytes:
        return f"refused: {error}\\n".encode()


demo_echo = DemoEcho()
'''

#: DATA/try.txt, and what `tgctl init` prints. Commands are indented by two spaces.
TRY = Template("""\
The web page that says what this gateway is:
  curl -sS --cacert $ca https://$name:$port/
The demo route, for alice alone:
  printf 'hello\\nbye\\n' | openssl s_client -quiet -verify_return_error -connect $name:$port \
-servername $name -alpn demo-echo -CAfile $ca -cert $cert -key $key
What clients are told:
  curl -sS --cacert $ca https://$name:$port/webapi/ping | $python -c \
"import json, sys; print(json.dumps(json.load(sys.stdin)['proxy'], indent=2))"
""")
