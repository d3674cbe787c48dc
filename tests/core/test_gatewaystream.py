"""The gateway's side of a stream: each rule of reuse, and every other pair of state and input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.frames import Frame, FrameKind, message
from tlsgate.core.gatewaystream import GatewayLife
from tlsgate.core.offers import Answered

NO = Answered(reason="denied", message="no")


class Effects:
    """What the machine asked for, in order."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    def take(self) -> list[str]:
        """What has been asked for since the last time."""
        taken, self.asked_for = self.asked_for, []
        return taken

    def reach(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("reach")

    def miss(self, answered: Answered) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append(f"miss {answered.reason}")

    def died(self, why: str) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("died")

    def cut(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("cut")

    def say_reset(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("RESET")

    def wait(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("wait")

    def wait_no_more(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("wait no more")

    def rest(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("rest")

    def part(self) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("part")

    def die(self, why: str) -> None:
        """See `GatewayEffects`."""
        self.asked_for.append("die")


def numbered(kind: FrameKind, serial: int = 1) -> Frame:
    """An END, RESET or ENDED."""
    return Frame(kind, serial.to_bytes(4, "big"))


def status(answered: Answered, serial: object = 1) -> Frame:
    """A STATUS."""
    whole = message(FrameKind.STATUS, {"n": serial, "answered": answered.told()})
    return Frame(FrameKind.STATUS, whole[4:])


#: Every input, by name; frames of the first request where they have a number.
INPUTS: Mapping[str, Callable[[GatewayLife], None]] = {
    "ask": lambda life: life.ask(),
    "yes": lambda life: life.hear(status(Answered())),
    "no": lambda life: life.hear(status(NO)),
    "DATA": lambda life: life.side.came(),
    "END": lambda life: life.hear(numbered(FrameKind.END)),
    "RESET": lambda life: life.hear(numbered(FrameKind.RESET)),
    "ENDED": lambda life: life.hear(numbered(FrameKind.ENDED)),
    "our END": lambda life: life.side.client_end(),
    "leave": lambda life: life.side.leave(),
    "late": lambda life: life.side.late(),
    "retire": lambda life: life.side.retire(),
    "break off": lambda life: life.side.break_off("a doubt"),
}

#: How each state is reached.
WAYS: Mapping[str, tuple[str, ...]] = {
    "idle": ("ask", "no"),
    "asked": ("ask",),
    "open": ("ask", "yes"),
    "agent ended": ("ask", "yes", "END"),
    "client ended": ("ask", "yes", "our END"),
    "both": ("ask", "yes", "END", "our END"),
    "cut": ("ask", "yes", "RESET"),
    "finishing": ("ask", "yes", "our END", "END", "leave"),
    "leaving": ("ask", "yes", "leave"),
    "over": ("break off",),
}

DEAD = ["wait no more", "die"]
DEAD_ASKED = ["died", "die"]
DEAD_USED = ["cut", "die"]
RESET = ["RESET", "wait"]
REST = ["wait no more", "rest"]

#: What each input does in each state, where it does something.
SAID: Mapping[str, Mapping[str, list[str]]] = {
    "idle": {
        **dict.fromkeys(("yes", "no", "DATA", "END", "RESET", "ENDED", "break off"), DEAD),
        "retire": ["part"],
    },
    "asked": {
        **dict.fromkeys(("ask", "DATA", "END", "RESET", "ENDED", "break off"), DEAD_ASKED),
        "yes": ["reach"],
        "no": ["miss denied", *REST],
        "leave": RESET,
    },
    "open": {
        **dict.fromkeys(("ask", "yes", "no", "ENDED", "break off"), DEAD_USED),
        "RESET": ["cut"],
        "leave": RESET,
    },
    "agent ended": {
        **dict.fromkeys(("ask", "yes", "no", "DATA", "END", "ENDED", "break off"), DEAD_USED),
        "RESET": ["cut"],
        "leave": RESET,
    },
    "client ended": {
        **dict.fromkeys(("ask", "yes", "no", "ENDED", "break off"), DEAD_USED),
        "RESET": ["cut"],
        "leave": RESET,
    },
    "both": {
        **dict.fromkeys(("ask", "yes", "no", "DATA", "END", "ENDED", "break off"), DEAD_USED),
        "RESET": ["cut"],
        "leave": ["wait"],
    },
    "cut": {
        **dict.fromkeys(
            ("ask", "yes", "no", "DATA", "END", "RESET", "ENDED", "break off"), DEAD_USED
        ),
        "leave": RESET,
    },
    "finishing": {
        **dict.fromkeys(("ask", "yes", "no", "DATA", "END", "break off"), DEAD),
        "RESET": RESET,
        "ENDED": REST,
        "late": ["part"],
    },
    "leaving": {
        **dict.fromkeys(("ask", "break off"), DEAD),
        "ENDED": REST,
        "late": ["die"],
    },
    "over": {},
}


class GatewayLifeTests(SynchronousTestCase):
    """Tests for `GatewayLife`."""

    def setUp(self) -> None:
        """A stream at its beginning."""
        self.effects = Effects()
        self.life = GatewayLife(self.effects)

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
        """After a doubt nothing is said or given out any more."""
        for state, said in SAID.items():
            for name, effects in said.items():
                if effects[-1] != "die":
                    continue
                self.setUp()
                self.go(*WAYS[state], name)
                for after in INPUTS:
                    self.assertEqual(self.go(after), [], f"{after} after {name} in {state}")

    # -- the rules of reuse ------------------------------------------------------------

    def test_rule_only_after_both_ends_and_ended_it_serves_again(self) -> None:
        """Two ENDs, the client's leave and ENDED are all needed; then the next number is asked."""
        self.assertEqual(self.go("ask", "yes", "our END", "END", "leave", "ENDED"), REST)
        self.assertEqual(self.life.serial, 1)
        self.assertEqual((self.go("ask"), self.life.serial), ([], 2))

    def test_rule_a_reset_is_answered_by_ended(self) -> None:
        """What comes after our RESET is dropped until ENDED, then it serves again."""
        for came in (
            ("DATA", "DATA", "END", "ENDED"),
            ("RESET", "ENDED"),
            ("DATA", "RESET", "ENDED"),
            ("ENDED",),
        ):
            self.setUp()
            self.assertEqual(self.go("ask", "yes", "leave"), RESET)
            self.assertEqual(self.go(*came), REST, came)

    def test_rule_a_client_gone_before_the_status_is_reset(self) -> None:
        """Whatever the agent answered meanwhile is dropped."""
        for came in (("yes", "DATA", "ENDED"), ("no", "ENDED"), ("ENDED",)):
            self.setUp()
            self.assertEqual(self.go("ask", "leave"), RESET)
            self.assertEqual(self.go(*came), REST, came)

    def test_rule_the_agents_reset_is_answered_before_reuse(self) -> None:
        """The client is cut first, then RESET answers, and ENDED lets it serve again."""
        self.assertEqual(self.go("ask", "yes", "RESET"), ["cut"])
        self.assertEqual(self.go("leave"), RESET)
        self.assertEqual(self.go("ENDED"), REST)

    def test_rule_resets_that_cross(self) -> None:
        """Ours is on its way when the agent's comes: it is not answered a second time."""
        self.go("ask", "yes", "leave")
        self.assertEqual(self.go("RESET"), [])
        self.assertEqual(self.go("ENDED"), REST)

    def test_rule_how_the_clients_socket_ended_never_decides(self) -> None:
        """A client that leaves after both ENDs needs no reset, whatever its socket did."""
        self.assertEqual(self.go("ask", "yes", "END", "our END", "leave"), ["wait"])

    def test_rule_a_wait_that_is_over_ends_it(self) -> None:
        """Without ENDED in time it is reset; after both ENDs closed in order: nothing is lost."""
        self.assertEqual(self.go("ask", "yes", "leave", "late"), ["die"])
        self.setUp()
        self.assertEqual(self.go("ask", "yes", "END", "our END", "leave", "late"), ["part"])

    def test_rule_another_requests_frame_ends_it(self) -> None:
        """A number that is not the present one is a doubt, before and after, in every state."""
        for state in ("asked", "open", "leaving", "finishing"):
            for kind in (FrameKind.END, FrameKind.RESET, FrameKind.ENDED, FrameKind.STATUS):
                for serial in (0, 2, 0xFFFFFFFF):
                    self.setUp()
                    self.go(*WAYS[state])
                    self.life.hear(
                        status(Answered(), serial)
                        if kind is FrameKind.STATUS
                        else numbered(kind, serial)
                    )
                    self.assertEqual(self.effects.take()[-1], "die", (state, kind, serial))

    def test_rule_only_the_gateway_retires_after_the_client(self) -> None:
        """Retired while it serves, it parts when the client is over, and not before."""
        for state in ("asked", "open", "agent ended", "client ended", "both", "cut", "leaving"):
            self.setUp()
            self.go(*WAYS[state])
            self.assertEqual(self.go("retire"), [])
            if state == "asked":
                self.go("yes")
            if state != "leaving":
                self.go("leave")
            self.assertEqual(self.go("ENDED"), ["wait no more", "part"], state)

    # -- frames ------------------------------------------------------------------------

    def test_frames_without_a_place(self) -> None:
        """What belongs to control connections, or comes from a gateway only, ends it."""
        for kind in (FrameKind.HELLO, FrameKind.CONTROL, FrameKind.REQUEST, FrameKind.PING):
            self.setUp()
            self.life.hear(Frame(kind, b"{}"))
            self.assertEqual(self.effects.take(), DEAD)

    def test_a_status_that_cannot_be_read(self) -> None:
        """It is a doubt: the asker is told that the stream died."""
        for body in (b"{", b"{}", b'{"n":1,"answered":{}}', b'{"n":"1","answered":{}}'):
            self.setUp()
            self.life.ask()
            self.life.hear(Frame(FrameKind.STATUS, body))
            self.assertEqual(self.effects.take(), DEAD_ASKED)

    @given(st.lists(st.sampled_from(list(INPUTS)), max_size=30))
    def test_any_order(self, names: list[str]) -> None:
        """Whatever comes in whatever order: no client is reached or rested for twice."""
        effects = Effects()
        life = GatewayLife(effects)
        asks = 0
        for name in names:
            before = len(effects.asked_for)
            asks += name == "ask"
            INPUTS[name](life)
            assert len(effects.asked_for) - before <= 4
        done = effects.asked_for
        self.assertLessEqual(done.count("reach"), asks)
        self.assertLessEqual(done.count("rest"), asks)
        self.assertLessEqual(done.count("die") + done.count("part"), 1)
