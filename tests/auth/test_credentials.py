"""Tests for `tlsgate.auth.credentials`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.credentials import SEEN, SEEN_SECONDS, Credentials, Device, read, write
from tlsgate.errors import StoreFailed

DEVICE = Device(name="otp", sealed=b"\0canary", step=7, added=1.0, last_used=2.0)
WHOLE = Credentials(
    password="$argon2id$canary",
    devices=(DEVICE,),
    seen={"192.0.2.1": 5.0},
    link="canary",
    epoch="e",
)


class CredentialsTests(SynchronousTestCase):
    """What is kept of a user's secrets."""

    def test_what_is_written_is_read(self) -> None:
        """Nothing is lost on the way through the store."""
        for each in (WHOLE, Credentials(epoch="e"), evolve(WHOLE, devices=(DEVICE, DEVICE))):
            self.assertEqual(read("k", write(each), 9), evolve(each, revision=9))

    def test_no_secret_is_shown(self) -> None:
        """Neither a hash nor a sealed secret gets into a trace by a repr."""
        self.assertNotIn("canary", repr(WHOLE) + repr(DEVICE))

    def test_what_we_did_not_write_is_named_by_its_key_only(self) -> None:
        """A broken item is the operator's to look at, without its value in a log."""
        for value in (b"{}", b'{"password":"canary"}', write(WHOLE).replace(b'"step":7', b'"a":7')):
            error = self.assertRaises(StoreFailed, read, "secrets/users/x", value, 1)
            self.assertEqual(
                str(error),
                "the store failed: what is kept under secrets/users/x is not what we wrote",
            )

    def test_only_the_last_networks_are_remembered(self) -> None:
        """The list has an end, and what is a month old is strange again."""
        now = 1e9
        kept = Credentials()
        for number in range(SEEN + 5):
            kept = kept.remembered(f"192.0.2.{number}", now + number)
        self.assertEqual(sorted(kept.seen.values()), [now + 5 + n for n in range(SEEN)])
        self.assertTrue(kept.familiar("192.0.2.20", now + SEEN_SECONDS))
        self.assertFalse(kept.familiar("192.0.2.20", now + SEEN_SECONDS + 21))
        self.assertFalse(kept.familiar("192.0.2.0", now))
        late = kept.remembered("192.0.2.1", now + SEEN_SECONDS + 100)
        self.assertEqual(list(late.seen), ["192.0.2.1"])
