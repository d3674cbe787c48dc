"""The agent's side of a stream: each rule of reuse, every pair, and both sides together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_gatewaystream import Effects as GatewayEffects
from tests.core.test_gatewaystream import numbered, status
from tlsgate.core.agentstream import AgentLife
from tlsgate.core.frames import Frame, FrameKind, message
from tlsgate.core.gatewaystream import GatewayLife
from tlsgate.core.offers import Answered, Asked
from tlsgate.core.streams import SERIALS

ASKED = Asked(kind="node", name="db1", user="alice")
NO = Answered(reason="denied", message="no")


class Effects:
    """What the machine asked for, in order."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    def take(self) -> list[str]:
        """What has been asked for since the last time."""
        taken, self.asked_for = self.asked_for, []
        return taken

    def asked(self, asked: Asked) -> None:
        """See `AgentEffects`."""
        self.asked_for.append(f"asked for {asked.user}")

    def cancel(self) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("cancel")

    def say_status(self, answered: Answered) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("yes" if answered.good else "no")

    def cut(self) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("cut")

    def say_reset(self) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("RESET")

    def say_ended(self) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("ENDED")

    def rest(self) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("rest")

    def die(self, why: str) -> None:
        """See `AgentEffects`."""
        self.asked_for.append("die")


def request(serial: object = 1) -> Frame:
    """A REQUEST."""
    whole = message(FrameKind.REQUEST, {"n": serial, "asked": ASKED.told()})
    return Frame(FrameKind.REQUEST, whole[4:])


#: Every input, by name; frames are about the present request, a REQUEST asks for the next.
INPUTS: Mapping[str, Callable[[AgentLife], None]] = {
    "REQUEST": lambda life: life.hear(request(life.serial + 1)),
    "DATA": lambda life: life.side.came(),
    "END": lambda life: life.hear(numbered(FrameKind.END, life.serial)),
    "RESET": lambda life: life.hear(numbered(FrameKind.RESET, life.serial)),
    "accept": lambda life: life.side.accept(),
    "refuse": lambda life: life.side.refuse(NO),
    "our END": lambda life: life.side.target_end(),
    "leave": lambda life: life.side.leave(),
    "break off": lambda life: life.side.break_off("a doubt"),
}

#: How each state is reached.
WAYS: Mapping[str, tuple[str, ...]] = {
    "new": (),
    "idle": ("REQUEST", "accept", "our END", "END", "leave"),
    "owing": ("REQUEST", "refuse"),
    "asked": ("REQUEST",),
    "open": ("REQUEST", "accept"),
    "gateway ended": ("REQUEST", "accept", "END"),
    "target ended": ("REQUEST", "accept", "our END"),
    "both": ("REQUEST", "accept", "END", "our END"),
    "cut": ("REQUEST", "accept", "RESET"),
    "broken": ("REQUEST", "accept", "leave"),
    "over": ("break off",),
}

ASK = ["asked for alice"]
DEAD = ["die"]
DEAD_ASKED = ["cancel", "die"]
CUT = ["cut", "die"]
DONE = ["ENDED", "rest"]
_ODD = ("REQUEST", "break off")

#: What each input does in each state, where it does something.
SAID: Mapping[str, Mapping[str, list[str]]] = {
    "new": {**dict.fromkeys(("DATA", "END", "RESET", "break off"), DEAD), "REQUEST": ASK},
    "idle": {**dict.fromkeys(("DATA", "END", "break off"), DEAD), "REQUEST": ASK},
    "owing": {
        **dict.fromkeys(("DATA", "END", "break off"), DEAD),
        "REQUEST": ASK,
        "RESET": ["ENDED"],
    },
    "asked": {
        **dict.fromkeys((*_ODD, "DATA", "END"), DEAD_ASKED),
        "RESET": ["cancel", *DONE],
        "accept": ["yes"],
        "refuse": ["no", "rest"],
    },
    "open": {**dict.fromkeys(_ODD, CUT), "RESET": ["cut"], "leave": ["RESET"]},
    "gateway ended": {
        **dict.fromkeys((*_ODD, "DATA", "END"), CUT),
        "RESET": ["cut"],
        "leave": ["RESET"],
    },
    "target ended": {**dict.fromkeys(_ODD, CUT), "RESET": ["cut"], "leave": ["RESET"]},
    "both": {**dict.fromkeys((*_ODD, "DATA", "END"), CUT), "RESET": ["cut"], "leave": DONE},
    "cut": {**dict.fromkeys((*_ODD, "DATA", "END", "RESET"), CUT), "leave": DONE},
    "broken": {**dict.fromkeys(_ODD, DEAD), "RESET": DONE},
    "over": {},
}


class AgentLifeTests(SynchronousTestCase):
    """Tests for `AgentLife`."""

    def setUp(self) -> None:
        """A stream at its beginning."""
        self.effects = Effects()
        self.life = AgentLife(self.effects)

    def go(self, *names: str) -> list[str]:
        """Put in all of *names*; what the last one did."""
        for name in names:
            self.effects.take()
            INPUTS[name](self.life)
        return self.effects.take()

    def test_every_pair(self) -> None:
        """Each input in each state does what the table says, and nothing where it says nothing."""
        for state, way in WAYS.items():
            for name in INPUTS:
                self.setUp()
                self.go(*way)
                self.assertEqual(self.go(name), SAID[state].get(name, []), f"{name} in {state}")

    def test_whatever_has_no_place_ends_it_for_good(self) -> None:
        """After a doubt nothing is said or asked any more."""
        for state, said in SAID.items():
            for name, effects in said.items():
                if effects[-1] != "die":
                    continue
                self.setUp()
                self.go(*WAYS[state], name)
                for after in INPUTS:
                    self.assertEqual(self.go(after), [], f"{after} after {name} in {state}")

    # -- the rules of reuse ------------------------------------------------------------

    def test_rule_ended_is_said_after_both_ends_and_the_relay(self) -> None:
        """Not before the target's relay is over; then the next request may come."""
        self.assertEqual(self.go("REQUEST", "accept", "END", "our END"), [])
        self.assertEqual(self.go("leave"), DONE)
        self.assertEqual((self.go("REQUEST"), self.life.serial), (ASK, 2))

    def test_rule_a_reset_cancels_the_dial(self) -> None:
        """Nobody waits for the answer: it is not said, and ENDED is."""
        self.assertEqual(self.go("REQUEST", "RESET"), ["cancel", *DONE])
        self.assertEqual(self.go("accept"), [])

    def test_rule_a_reset_is_answered_once_the_target_is_over(self) -> None:
        """The target is cut first; ENDED says that nothing of it can come any more."""
        self.assertEqual(self.go("REQUEST", "accept", "RESET"), ["cut"])
        self.assertEqual(self.go("leave"), DONE)

    def test_rule_a_reset_that_crosses_a_refusal_is_answered(self) -> None:
        """Once, for the gateway waits for ENDED; a second one means nothing."""
        self.assertEqual(self.go("REQUEST", "refuse", "RESET"), ["ENDED"])
        self.assertEqual(self.go("RESET"), [])

    def test_rule_a_reset_that_crosses_ended_is_ignored(self) -> None:
        """ENDED has been said, and is said once."""
        self.assertEqual(self.go(*WAYS["idle"], "RESET"), [])

    def test_rule_a_broken_target_resets_and_waits_for_the_answer(self) -> None:
        """What the client still sent is dropped until the gateway's RESET."""
        self.assertEqual(self.go("REQUEST", "accept", "leave"), ["RESET"])
        self.assertEqual(self.go("DATA", "DATA", "END"), [])
        self.assertEqual(self.go("RESET"), DONE)

    def test_rule_another_requests_frame_ends_it(self) -> None:
        """A number that is not the present one, or not the next of a REQUEST, is a doubt."""
        for state in WAYS:
            if state == "over":
                continue
            for kind in (FrameKind.END, FrameKind.RESET):
                for serial in (0, 2, SERIALS):
                    self.setUp()
                    self.go(*WAYS[state])
                    self.life.hear(numbered(kind, serial))
                    self.assertEqual(self.effects.take()[-1:], ["die"], (state, kind, serial))
        for serials in ((0,), (2,), (1, 1), (1, 3), (-1,), (SERIALS + 1,)):
            self.setUp()
            for serial in serials:
                self.life.hear(request(serial))
                self.life.side.refuse(NO)
            self.assertEqual(self.effects.take()[-1], "die", serials)

    def test_rule_the_numbers_end(self) -> None:
        """After the last number that four bytes hold there is none."""
        self.life.serial = SERIALS
        self.life.hear(request(SERIALS + 1))
        self.assertEqual(self.effects.take(), ["die"])

    # -- frames ------------------------------------------------------------------------

    def test_frames_without_a_place(self) -> None:
        """What belongs to control connections, or comes from an agent only, ends it."""
        for kind in (FrameKind.HELLO, FrameKind.STATUS, FrameKind.ENDED, FrameKind.PONG):
            self.setUp()
            self.life.hear(Frame(kind, b"\0\0\0\0"))
            self.assertEqual(self.effects.take(), ["die"])

    def test_a_request_that_cannot_be_read(self) -> None:
        """It is a doubt."""
        for body in (b"{", b"{}", b'{"n":1,"asked":{}}', b'{"n":1,"asked":null}'):
            self.setUp()
            self.life.hear(Frame(FrameKind.REQUEST, body))
            self.assertEqual(self.effects.take(), ["die"])


class _AtGateway(GatewayEffects):
    """The gateway's shell, as far as frames go."""

    def __init__(self, both: Both) -> None:
        super().__init__()
        self.both = both

    def reach(self) -> None:
        self.both.client = self.both.gateway.serial

    def say_reset(self) -> None:
        self.both.to_agent.append(numbered(FrameKind.RESET, self.both.gateway.serial))

    def rest(self) -> None:
        self.both.resting = True

    def die(self, why: str) -> None:
        raise AssertionError(f"gateway: {why}")


class _AtAgent(Effects):
    """The agent's shell, as far as frames go."""

    def __init__(self, both: Both) -> None:
        super().__init__()
        self.both = both

    def asked(self, asked: Asked) -> None:
        self.both.dialling = True

    def cancel(self) -> None:
        self.both.dialling = False

    def say_status(self, answered: Answered) -> None:
        self.both.dialling = False
        self.both.to_gateway.append(status(answered, self.both.agent.serial))

    def say_reset(self) -> None:
        self.both.to_gateway.append(numbered(FrameKind.RESET, self.both.agent.serial))

    def say_ended(self) -> None:
        self.both.to_gateway.append(numbered(FrameKind.ENDED, self.both.agent.serial))

    def die(self, why: str) -> None:
        raise AssertionError(f"agent: {why}")


class Both:
    """Gateway and agent, with the frames that are under way between them.

    A DATA frame's body is the number of the request that it was sent for; an end that is in
    use takes it, or nobody does. `client` and `target` are the numbers of the ends in use.
    """

    def __init__(self) -> None:
        self.to_agent: deque[Frame] = deque()
        self.to_gateway: deque[Frame] = deque()
        self.gateway = GatewayLife(_AtGateway(self))
        self.agent = AgentLife(_AtAgent(self))
        self.resting = True
        self.dialling = False
        self.client = self.target = 0
        self.said: set[str] = set()  # END of whom, for the present request
        self.broken: set[str] = set()
        self.served = 0

    def step(self, number: int) -> None:
        """Do the *number*th of what can happen now."""
        steps = self._possible()
        if steps:
            steps[number % len(steps)]()

    def _possible(self) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = []
        if self.resting:
            steps.append(self._ask)
        elif not self.client and not self.said:
            steps.append(self._cancel)
        if self.to_agent:
            steps.append(self._agent_hears)
        if self.to_gateway:
            steps.append(self._gateway_hears)
        if self.dialling:
            steps += [self._accept, self._refuse]
        if self.client:
            steps += [self._client_says, self._client_ends, self._client_leaves]
        if self.target:
            steps += [self._target_says, self._target_ends, self._target_leaves]
        return steps

    def _ask(self) -> None:
        self.resting = False
        self.said.clear()
        self.gateway.ask()
        self.to_agent.append(request(self.gateway.serial))

    def _cancel(self) -> None:
        self.said.add("cancelled")
        self.gateway.side.leave()

    def _accept(self) -> None:
        self.target = self.agent.serial
        self.agent.side.accept()

    def _refuse(self) -> None:
        self.agent.side.refuse(NO)

    def _client_says(self) -> None:
        if "client" not in self.said:
            self.to_agent.append(Frame(FrameKind.DATA, bytes([self.client % 256])))

    def _client_ends(self) -> None:
        if "client" not in self.said:
            self.said.add("client")
            self.to_agent.append(numbered(FrameKind.END, self.client))
            self.gateway.side.client_end()

    def _client_leaves(self) -> None:
        self.client = 0
        self.said.add("left")
        self.gateway.side.leave()

    def _target_says(self) -> None:
        if "target" not in self.broken:
            self.to_gateway.append(Frame(FrameKind.DATA, bytes([self.target % 256])))

    def _target_ends(self) -> None:
        if "target" not in self.broken:
            self.broken.add("target")
            self.to_gateway.append(numbered(FrameKind.END, self.target))
            self.agent.side.target_end()

    def _target_leaves(self) -> None:
        self.target = 0
        self.broken.clear()
        self.agent.side.leave()

    def _gateway_hears(self) -> None:
        frame = self.to_gateway[0]
        ends = self.client and frame.kind in (FrameKind.RESET, FrameKind.ENDED)
        if ends and frame.kind is FrameKind.ENDED:
            return  # the end in use does not read on after the agent's END
        self.to_gateway.popleft()
        if frame.kind is FrameKind.DATA:
            self.gateway.side.came()
            if self.client:
                self.served += 1
                assert frame.body[0] == self.client % 256, "another target's bytes"
            return
        self.gateway.hear(frame)
        if ends:
            self._client_leaves()

    def _agent_hears(self) -> None:
        frame = self.to_agent.popleft()
        if frame.kind is FrameKind.DATA:
            self.agent.side.came()
            if self.target:
                self.served += 1
                assert frame.body[0] == self.target % 256, "another client's bytes"
            return
        self.agent.hear(frame)
        if frame.kind is FrameKind.RESET and self.target:
            self._target_leaves()


class BothTests(SynchronousTestCase):
    """Gateway and agent together."""

    @given(st.lists(st.integers(0, 60), min_size=20, max_size=400))
    def test_any_interleaving(self, numbers: list[int]) -> None:
        """Whatever happens in whatever order, all of it has a place, and no byte a wrong one."""
        both = Both()
        for number in numbers:
            both.step(number)
        # Whoever is still there leaves; then it serves again.
        for _ in range(2_000):
            if both.resting and not both.to_agent and not both.to_gateway:
                break
            if both.client:
                both._client_leaves()
            elif both.to_agent:
                both._agent_hears()
            elif both.to_gateway:
                both._gateway_hears()
            elif both.dialling:
                both._refuse()
            elif both.target:
                both._target_leaves()
        self.assertTrue(both.resting)
        self.assertEqual((both.client, both.target, both.dialling), (0, 0, False))
        both._ask()
        both._agent_hears()
        both._accept()
        self.assertEqual(both.target, both.gateway.serial)
