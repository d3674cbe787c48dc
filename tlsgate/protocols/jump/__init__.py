"""The jump host: SSH for clients that dial a port of its own, or that are known by "SSH-".

1. `host.Jump.build` makes a `transport.JumpTransport` for one connection; who is behind an
   address that has misbehaved is told so instead.
2. The transport exchanges keys (Conch) strictly, and seals and opens packets (`packets`).
3. `login.Logins` takes an OpenSSH certificate of one of the cluster's users, and nothing else.
4. `channels.Channels` takes `direct-tcpip`, and the subsystem `proxy:host:port` of a session;
   the node is decided about and reached as behind `tlsgate-ssh`.
5. A `channel.ChannelEnd` is coupled with the agent's end by the relay's own `Pair`.

Nothing here runs a program, opens a file of the gateway, or dials by itself.
"""

from __future__ import annotations
