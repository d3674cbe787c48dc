"""Reverse tunnels: agents dial out, and the gateway reaches their targets through them.

Between an agent and a gateway there are one **control** connection and some **streams**, each
a TLS connection that the agent dials. Both begin with a HELLO each way (`core.greetings`) and
speak in frames (`core.frames`). What a frame may follow is decided by pure machines
(`core.gatewaystream`, `core.agentstream`); what is here has the sockets and the clocks.

Who makes whom:

- The gateway's side. `server.Tunnels` is the gateway's `ITunnels`. It makes a `door.Door` for
  each connection of an agent, which becomes a `session.Session` with a `pool.Pool`, or a
  `held.HeldStream` in the pool of its session; and a `passage.Passage` for each client.
  `agents.Agents` knows the sessions by name and by offer, `rights` what a certificate lets an
  agent say, `budget` how fast they may come, `words` what they read first. `report.Reports`
  tells the auth service who is here.
- The agent's side. `agent.Agent` has a `Route` for each gateway and each worker of one. A route
  asks for the way (`finding`), dials (`dialling`), says HELLO (`speaking`), and has a
  `tether.Tether`, which is the session seen from here. `reach` says when.
- Both sides. `link` pings the other side. A stream is a `turns.Stream`, of which `stream` has
  the gateway's kind and the agent's; `streamend` is what a relay sees of it: an `End`.

A control connection:

1. The agent dials (`dialling`), and each side looks at the other's certificate.
2. It says HELLO with what it offers; the gateway holds that against the certificate
   (`rights`), lets it wait for its turn (`budget`), and answers with the session's name. An
   older session of the same agent drains.
3. The agent opens as many streams as it was told; the gateway asks for more as clients come.
4. Either side pings. Offers, settings, and the wish to dial elsewhere are said as they change.
5. It ends: idle streams end with it, busy ones go on, and the route dials again after a wait.

A stream:

1. The agent dials it to where its control connection went; its HELLO names the session.
2. The gateway takes the socket from the connection (`held`) and puts it into the pool.
3. It serves one client after another; only the gateway closes one that is idle.
4. A frame without a place, or a write that is stuck in part, ends it: no client gets a
   stream of which anybody has a doubt.

A request:

1. A protocol has decided that its client may go there, and asks for `Tunnels.reach`.
2. The `Passage` takes a stream of the agent's pool, or waits for one, and asks: REQUEST.
3. The agent decides again with its own view of the cluster (`service.requests`), dials the
   target, and answers: STATUS. A stream that dies before that is replaced once.
4. Both sides have an `End` now and couple it with the other one by `net.relay`: DATA.
5. Each side says END when it has no more; ENDED gives the stream back. A client that goes early
   is told of by RESET, and what was still on its way is thrown away.
"""
