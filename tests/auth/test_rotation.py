"""Tests for `tlsgate.auth.rotation`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.authority import TYPES
from tlsgate.auth.rotation import GRACE_SECONDS, Keys, Phase, Rotation, step
from tlsgate.errors import BadAsk

STANDBY, INIT, CLIENTS, SERVERS, ROLLBACK = Phase

#: Each phase and each input, all of them: what becomes of the keys, or the refusal.
TABLE: dict[tuple[Phase, Phase], Keys | str] = {
    (STANDBY, STANDBY): "only init",
    (STANDBY, INIT): Keys.ADD,
    (STANDBY, CLIENTS): "only init",
    (STANDBY, SERVERS): "only init",
    (STANDBY, ROLLBACK): "only init",
    (INIT, STANDBY): "only update_clients or rollback",
    (INIT, INIT): "only update_clients or rollback",
    (INIT, CLIENTS): Keys.KEEP,
    (INIT, SERVERS): "only update_clients or rollback",
    (INIT, ROLLBACK): Keys.KEEP,
    (CLIENTS, STANDBY): "only update_servers or rollback",
    (CLIENTS, INIT): "only update_servers or rollback",
    (CLIENTS, CLIENTS): "only update_servers or rollback",
    (CLIENTS, SERVERS): Keys.KEEP,
    (CLIENTS, ROLLBACK): Keys.KEEP,
    (SERVERS, STANDBY): Keys.DROP_OLD,
    (SERVERS, INIT): "only standby or rollback",
    (SERVERS, CLIENTS): "only standby or rollback",
    (SERVERS, SERVERS): "only standby or rollback",
    (SERVERS, ROLLBACK): Keys.KEEP,
    (ROLLBACK, STANDBY): Keys.DROP_NEW,
    (ROLLBACK, INIT): "only standby",
    (ROLLBACK, CLIENTS): "only standby",
    (ROLLBACK, SERVERS): "only standby",
    (ROLLBACK, ROLLBACK): "only standby",
}


def walk(kind: str, *phases: Phase, grace: float | None = None) -> Rotation:
    """Take steps from standby, one a second, from the time 1000 on."""
    now = Rotation()
    for number, phase in enumerate(phases):
        now, _ = step(kind, now, phase, 1000.0 + number, grace)
    return now


class StepTests(SynchronousTestCase):
    """Tests for `step`."""

    def test_table(self) -> None:
        """Every phase answers every input, for each authority."""
        self.assertEqual(len(TABLE), len(Phase) ** 2)
        for kind in TYPES:
            for (phase, wanted), want in TABLE.items():
                now = Rotation(phase=phase, since=5.0)
                if isinstance(want, Keys):
                    moved, keys = step(kind, now, wanted, 7.0)
                    self.assertEqual((moved.phase, moved.since, keys), (wanted, 7.0, want))
                    continue
                with self.assertRaises(BadAsk) as caught:
                    step(kind, now, wanted, 7.0)
                self.assertEqual(
                    str(caught.exception),
                    f"the {kind} authority is in the phase {phase.value}: "
                    f"{wanted.value} may not follow, {want}",
                )

    def test_who_signs(self) -> None:
        """What clients present moves first, what servers present when clients know the key."""
        signs = {kind: [p for p in Phase if Rotation(phase=p).new_signs(kind)] for kind in TYPES}
        clients, servers = [CLIENTS, SERVERS], [SERVERS]
        self.assertEqual(
            signs,
            {
                "user": clients,
                "db": clients,
                "ssh_user": clients,
                "jwt": clients,
                "host": servers,
                "ssh_host": servers,
            },
        )

    def test_grace(self) -> None:
        """The old key is dropped when its last certificates have ended, counted from its last."""
        for kind, last in (("user", 1001.0), ("host", 1002.0)):
            now = walk(kind, INIT, CLIENTS, SERVERS)
            self.assertEqual(now.signed_until, last)
            with self.assertRaises(BadAsk) as caught:
                step(kind, now, STANDBY, last + GRACE_SECONDS - 1)
            self.assertEqual(
                str(caught.exception),
                f"certificates of the old key of the {kind} authority are honoured for another "
                "1 s: ask again then, or with a grace period of 0 to end them now",
            )
            moved, keys = step(kind, now, STANDBY, last + GRACE_SECONDS)
            self.assertEqual((moved, keys), (Rotation(since=last + GRACE_SECONDS), Keys.DROP_OLD))

    def test_grace_is_told_in_words(self) -> None:
        """Minutes and hours where seconds say nothing."""
        now = walk("user", INIT, CLIENTS, SERVERS)
        for left, words in ((GRACE_SECONDS, "30 h"), (3600.0, "60 min"), (90.0, "90 s")):
            with self.assertRaises(BadAsk) as caught:
                step("user", now, STANDBY, 1001.0 + GRACE_SECONDS - left)
            self.assertIn(f"for another {words}:", str(caught.exception))

    def test_a_grace_of_nothing_ends_it_now(self) -> None:
        """Said with the step, or at its beginning."""
        now = walk("user", INIT, CLIENTS, SERVERS)
        self.assertEqual(step("user", now, STANDBY, 1003.0, 0.0)[1], Keys.DROP_OLD)
        now = walk("user", INIT, CLIENTS, SERVERS, grace=0.0)
        self.assertEqual(step("user", now, STANDBY, 1003.0)[1], Keys.DROP_OLD)

    def test_grace_of_another_rotation(self) -> None:
        """Each rotation begins with the usual one."""
        now, _ = step("user", Rotation(grace_seconds=0.0), INIT, 1.0)
        self.assertEqual(now.grace_seconds, GRACE_SECONDS)

    def test_a_grace_that_is_none(self) -> None:
        """Less than nothing, more than a year and what is no number are refused."""
        for seconds in (-1.0, 367 * 86400.0, float("nan"), float("inf")):
            with self.assertRaises(BadAsk):
                step("user", Rotation(), INIT, 1.0, seconds)

    def test_rollback_waits_for_what_the_new_key_signed(self) -> None:
        """Also a rollback drops no certificate before its time."""
        now = walk("user", INIT, CLIENTS, ROLLBACK)
        self.assertEqual(now.signed_until, 1002.0)
        with self.assertRaises(BadAsk) as caught:
            step("user", now, STANDBY, 1003.0)
        self.assertIn("certificates of the new key", str(caught.exception))

    def test_rollback_of_a_key_that_has_signed_nothing(self) -> None:
        """There is nothing to wait for."""
        for kind, *phases in (("user", INIT), ("host", INIT), ("host", INIT, CLIENTS)):
            now = walk(str(kind), *(Phase(phase) for phase in phases), ROLLBACK)
            self.assertIsNone(now.signed_until)
            self.assertEqual(step(str(kind), now, STANDBY, 1003.0)[1], Keys.DROP_NEW)

    @given(st.lists(st.sampled_from(Phase), max_size=30), st.sampled_from(TYPES))
    def test_any_walk(self, phases: list[Phase], kind: str) -> None:
        """However it is driven: two keys at most, none dropped that signs, none signs untrusted."""
        now, keys = Rotation(), ["old"]
        for at, wanted in enumerate(phases):
            signer = keys[-1 if now.new_signs(kind) else 0]
            try:
                now, what = step(kind, now, wanted, float(at), 0.0)
            except BadAsk:
                continue
            if what is Keys.ADD:
                keys.append(f"new{at}")
            elif what is Keys.DROP_OLD:
                self.assertNotEqual(signer, keys.pop(0))
            elif what is Keys.DROP_NEW:
                self.assertNotEqual(signer, keys.pop())
            self.assertEqual(len(keys), 1 if now.phase is STANDBY else 2)
