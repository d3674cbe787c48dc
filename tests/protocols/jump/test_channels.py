"""Tests for `tlsgate.protocols.jump.channels`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.client import first_string
from tests.protocols.jump.rig import Connected, JumpRig, MemoryEnd
from tests.support.sshwire import string
from tlsgate.core.wire.sshmessages import Message, numbers
from tlsgate.errors import AgentRefused, AuditFailed
from tlsgate.protocols.jump.channels import CHANNELS, REACH_SECONDS, REFUSALS

PROXY = string(b"proxy:db1:22")
#: S40: what is asked, by whom that has no role that allows a node, by whom that has one.
TABLE = (
    ("session", "opens", "opens"),
    ("direct-tcpip", "refused", "opens"),
    ("direct-streamlocal@openssh.com", "refused", "refused"),
    ("forwarded-tcpip", "refused", "refused"),
    ("forwarded-streamlocal@openssh.com", "refused", "refused"),
    ("x11", "refused", "refused"),
    ("auth-agent", "refused", "refused"),
    ("auth-agent@openssh.com", "refused", "refused"),
    ("tun@openssh.com", "refused", "refused"),
    ("request: subsystem proxy:db1:22", "refused", "opens"),
    ("request: subsystem proxy:db1:22@gw.test", "refused", "opens"),
    ("request: subsystem proxy:db1:22@default@gw.test", "refused", "opens"),
    ("request: subsystem proxy:db1:22@other", "refused", "refused"),
    ("request: subsystem sftp", "refused", "refused"),
    ("request: subsystem proxysites", "refused", "refused"),
    ("request: exec", "refused", "refused"),
    ("request: shell", "refused", "refused"),
    ("request: env", "refused", "refused"),
    ("request: pty-req", "refused", "refused"),
    ("request: x11-req", "refused", "refused"),
    ("request: auth-agent-req@openssh.com", "refused", "refused"),
    ("request: window-change", "refused", "refused"),
    ("request: signal", "refused", "refused"),
    ("global: tcpip-forward", "refused", "refused"),
    ("global: cancel-tcpip-forward", "refused", "refused"),
    ("global: streamlocal-forward@openssh.com", "refused", "refused"),
    ("global: hostkeys-prove-00@openssh.com", "refused", "refused"),
    ("global: keepalive@openssh.com", "refused", "refused"),
)


class TableTests(SynchronousTestCase):
    """S40: everything that may be asked for."""

    def test_s40_the_whole_table(self) -> None:
        """S40: role by kind of channel, request and subsystem: this, and nothing else."""
        for what, *expected in TABLE:
            found = [self.outcome(what, allowed=allowed) for allowed in (False, True)]
            self.assertEqual(found, expected, what)

    def outcome(self, what: str, *, allowed: bool) -> str:
        """Ask for *what*."""
        rig = JumpRig()
        rig.cluster.allow = lambda identity, target: allowed
        alice = rig.alice()
        word, _, rest = what.partition(": ")
        if word == "global":
            alice.client.send(Message.GLOBAL_REQUEST, string(rest.encode()) + b"\1" + bytes(20))
            found = alice.client.pump()
        elif word == "request":
            (_, opened), *_ = alice.client.open(b"session")
            name, _, argument = rest.partition(" ")
            channel = int.from_bytes(opened[4:8], "big")
            content = string(argument.encode()) if argument else bytes(16)
            found = alice.client.request(channel, name.encode(), content)
        else:
            rest_of = string(b"db1") + numbers(22) + string(b"") + numbers(0)
            found = alice.client.open(what.encode(), rest_of)
        for reach in rig.tunnels.reaches:
            reach.reached(MemoryEnd())
        found += alice.client.pump()
        self.assertFalse(alice.over, what)
        kinds = {number for number, _ in found} - {95, 96, 97, 98}
        self.assertEqual(len(kinds), 1, (what, found))
        good = kinds <= {91, 99}
        self.assertTrue(good or kinds <= {82, 92, 100}, what)
        self.assertEqual(bool(rig.tunnels.reaches), good and what != "session")
        return "opens" if good else "refused"


class ReachTests(SynchronousTestCase):
    """Channels to nodes."""

    def setUp(self) -> None:
        """Somebody who has logged in."""
        self.rig = JumpRig()
        self.alice = self.rig.alice()
        self.client = self.alice.client

    def refused(self, found: Any) -> tuple[int, str]:
        """The code and the sentence of the one refusal."""
        ((number, content),) = found
        self.assertEqual(number, Message.CHANNEL_OPEN_FAILURE)
        return int.from_bytes(content[4:8], "big"), first_string(content[8:]).decode()

    def test_asked(self) -> None:
        """The agent is asked with the certificate, the client's address, listener and route."""
        self.client.direct(b"DB1.gw.test", 2222)
        (reach,) = self.rig.tunnels.reaches
        asked = reach.asked
        self.assertEqual(
            (asked.kind, asked.name, asked.address, asked.user, asked.client),
            ("node", "db1", "10.0.0.5:2222", "alice", "192.0.2.7:4711"),
        )
        self.assertEqual(
            (asked.cluster, asked.listener, asked.route), ("gw.test", "ssh", "ssh-plain")
        )
        wanted = [(target.name, address) for _, target, address in self.rig.cluster.asked]
        self.assertEqual(wanted, [("db1", "192.0.2.7")])

    def test_refusals(self) -> None:
        """Each refusal reaches the user as a sentence."""
        for host, port, code, words in (
            (b"prod1", 22, 1, "no role of theirs allows it"),
            (b"db9", 22, 2, "offline"),
            (b"db1", 23, 2, "23"),
            (b"gw.test", 22, 2, "it is the gateway"),
            (b"169.254.169.254", 80, 2, "an IP address is not a name"),
            (b"::1", 22, 2, "labels"),
        ):
            found, text = self.refused(self.client.direct(host, port))
            self.assertEqual(found, code, text)
            self.assertIn(words, text)
        self.assertEqual(self.rig.tunnels.reaches, [])
        self.assertEqual({event for event, _ in self.alice.context.events}, {"session.rejected"})

    def test_refused_all_the_time(self) -> None:
        """Who asks on and on for what is refused ends, and fills no audit trail by it."""
        for _ in range(3):
            for _ in range(REFUSALS):
                self.client.direct(b"db9")
            self.assertFalse(self.alice.over)
            self.rig.clock.advance(11)
        for _ in range(2 * REFUSALS):
            self.client.direct(b"db9")
        self.assertTrue(self.alice.over)
        self.assertEqual(len(self.alice.context.events), 4 * REFUSALS + 1)

    def test_agent_refuses(self) -> None:
        """What the agent says is what the user reads."""
        self.client.direct(b"db1")
        error = AgentRefused("db1", "denied", "db1 knows nothing of that role")
        self.rig.tunnels.reaches[0].missed(error)
        code, text = self.refused(self.client.pump())
        self.assertEqual((code, text), (2, "db1 knows nothing of that role"))
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_agent_is_silent(self) -> None:
        """An agent that says nothing is waited for so long."""
        self.client.direct(b"db1")
        self.rig.clock.advance(REACH_SECONDS)
        self.assertEqual(self.refused(self.client.pump())[0], 2)
        self.assertTrue(self.rig.tunnels.reaches[0].cancelled)

    def test_certificate_ends(self) -> None:
        """A connection that outlives its certificate reaches nothing more."""
        self.rig.time = 2000.0
        self.assertIn("ended", self.refused(self.client.direct(b"db1"))[1])

    def test_closed(self) -> None:
        """While nobody may reach a target, nobody does here either."""
        self.alice.context.why = AuditFailed()
        code, text = self.refused(self.client.direct(b"db1"))
        self.assertEqual((code, text), (2, "the gateway failed; its log says why"))
        self.assertEqual(self.rig.tunnels.reaches, [])

    def test_both_ways(self) -> None:
        """Bytes go both ways; start and end are told with what was carried."""
        end, channel = self.alice.reach_node()
        self.client.data(channel, b"to the node")
        end.say(b"to the client")
        self.assertTrue(self.alice.context.occupied)
        found = self.client.pump()
        self.assertEqual(found, [(94, numbers(7) + string(b"to the client"))])
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        self.assertTrue(end.heard_end)
        end.say(b"!")
        end.say(end=True)
        kinds = [number for number, _ in self.client.pump()]
        self.assertEqual(kinds, [94, Message.CHANNEL_EOF, Message.CHANNEL_CLOSE])
        self.assertFalse(end.open or end.reset or self.alice.context.occupied)
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        (started, ended) = self.alice.context.events
        self.assertEqual((started[0], ended[0]), ("session.start", "session.end"))
        self.assertEqual(
            ended[1],
            {
                "target": "node/db1",
                "to_target": 11,
                "to_client": 14,
                "channel": channel,
                "cause": "client_ended",
            },
        )
        # Its number is nobody's now.
        self.client.data(channel, b"x")
        self.assertTrue(self.alice.over)

    def test_subsystem(self) -> None:
        """`proxy:` carries over a session, and says how it ended."""
        (_, opened), *_ = self.client.open(b"session")
        channel = int.from_bytes(opened[4:8], "big")
        self.client.data(channel, b"early ")
        self.client.request(channel, b"subsystem", string(b"proxy:db1:22@gw.test"))
        end = MemoryEnd()
        self.rig.tunnels.reaches[0].reached(end)
        self.assertEqual(self.client.pump(), [(99, numbers(7))])
        self.client.data(channel, b"late")
        self.assertEqual(end.heard, b"early late")
        # One is all.
        self.assertEqual(self.client.request(channel, b"subsystem", PROXY), [(100, numbers(7))])
        end.say(end=True)
        self.client.send(Message.CHANNEL_EOF, numbers(channel))
        kinds = [number for number, _ in self.client.pump()]
        self.assertEqual(kinds, [96, 98, 97])

    def test_subsystem_refused(self) -> None:
        """What a session hears on its standard error is why."""
        (_, opened), *_ = self.client.open(b"session")
        channel = int.from_bytes(opened[4:8], "big")
        found = self.client.request(channel, b"subsystem", string(b"proxy:prod1:22"))
        self.assertEqual([number for number, _ in found], [95, 100, 98, 96, 97])
        self.assertIn(b"no role of theirs", found[0][1])
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        self.assertFalse(self.alice.over)

    def test_a_shell_is_not_here(self) -> None:
        """Who wants a shell is told what this is."""
        (_, opened), *_ = self.client.open(b"session")
        found = self.client.request(int.from_bytes(opened[4:8], "big"), b"shell")
        self.assertEqual([number for number, _ in found], [95, 100])
        self.assertIn(b"ssh -J", found[0][1])

    def test_bounded(self) -> None:
        """Only so many channels are there at once, with those that are being opened."""
        for number in range(CHANNELS):
            kind = self.client.direct if number % 2 else self.client.open
            found = kind(b"db1" if number % 2 else b"session")
            self.assertNotIn(92, [one for one, _ in found])
        self.assertEqual(self.refused(self.client.open(b"session"))[0], 4)
        self.assertEqual(self.refused(self.client.direct(b"db1"))[0], 4)

    def test_client_closes(self) -> None:
        """A client's CLOSE without an end resets the target; one that opens is given up."""
        end, channel = self.alice.reach_node()
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        self.assertTrue(end.reset)
        self.assertEqual(self.client.pump(), [(97, numbers(7))])
        (_, opened), *_ = self.client.open(b"session")
        channel = int.from_bytes(opened[4:8], "big")
        self.client.request(channel, b"subsystem", PROXY)
        self.client.send(Message.CHANNEL_CLOSE, numbers(channel))
        self.assertTrue(self.rig.tunnels.reaches[-1].cancelled)
        self.assertFalse(self.alice.over)

    def test_gone(self) -> None:
        """When the connection goes, or a lock cuts it, so does all that it carried."""
        end, _ = self.alice.reach_node()
        self.client.direct(b"db1")
        self.alice.gone()
        self.assertTrue(end.reset)
        self.assertTrue(self.rig.tunnels.reaches[-1].cancelled)
        self.assertEqual(self.alice.context.events[-1][0], "session.end")
        self.assertFalse(self.alice.context.occupied)
        late = MemoryEnd()
        self.rig.tunnels.reaches[-1].reached(late)
        self.assertTrue(late.reset)

    def test_target_resets(self) -> None:
        """A target that breaks ends its channel, and no other."""
        one, _ = self.alice.reach_node()
        other, channel = self.alice.reach_node(number=8)
        one.open = False
        found = self.client.data(2, b"x")
        self.assertEqual(found, [(Message.CHANNEL_CLOSE, numbers(7))])
        self.client.data(channel, b"still")
        self.assertEqual(other.heard, b"still")

    def test_nonsense(self) -> None:
        """A message of no channel, cut short or never sent by clients, ends the connection."""
        for number, content in (
            (94, numbers(99) + string(b"x")),
            (93, numbers(99, 1)),
            (96, numbers(99)),
            (97, numbers(99)),
            (98, numbers(99) + string(b"shell") + b"\0"),
            (90, b""),
            (90, string(b"session")),
            (90, string(b"direct-tcpip") + numbers(1, 1 << 20, 32768) + b"x"),
            (94, b"\0"),
            (80, b""),
            *((one, b"") for one in (81, 82, 83, 89, 91, 92, 95, 99, 100)),
        ):
            alice: Connected = JumpRig().alice()
            alice.client.send(number, content)
            self.assertTrue(alice.over, number)

    def test_odd_packets(self) -> None:
        """A client that takes no packet of a size worth sending gets no channel."""
        rest = string(b"session") + numbers(7, 1 << 20, 10)
        self.client.send(Message.CHANNEL_OPEN, rest)
        self.assertEqual(self.refused(self.client.pump())[0], 1)
