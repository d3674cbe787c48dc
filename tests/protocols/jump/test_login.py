"""Tests for `tlsgate.protocols.jump.login`."""

from __future__ import annotations

import itertools
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.jump.client import sign
from tests.protocols.jump.rig import ALICE, AUTHORITY, KEYS, NOW, Authority, JumpRig, line_of
from tests.support.sshwire import (
    FOREVER,
    SUFFIX,
    blob_of,
    certificate,
    ed25519_signer,
    options,
    string,
)
from tlsgate.core.wire.sshmessages import Message
from tlsgate.protocols.jump.login import FAILURES, REQUESTS
from tlsgate.protocols.jump.transport import Phase

ED25519 = b"ssh-ed25519" + SUFFIX


class LoginTests(SynchronousTestCase):
    """Who may come in."""

    def setUp(self) -> None:
        """A jump host."""
        self.rig = JumpRig()

    def shaken(self) -> Any:
        """A client that may log in."""
        connected = self.rig.connect()
        connected.client.shake().service()
        connected.client.pump()
        return connected

    def test_every_kind(self) -> None:
        """RSA, ECDSA and Ed25519 certificates log in; the agent gets the line."""
        for plain, key in KEYS.items():
            blob = AUTHORITY.certify(key)
            names = [plain] if plain != b"ssh-rsa" else [b"rsa-sha2-256", b"rsa-sha2-512"]
            for name in names:
                connected = self.shaken()
                found = connected.client.log_in(key, blob, name + SUFFIX)
                self.assertEqual(found, [(Message.USERAUTH_SUCCESS, b"")])
                self.assertIs(connected.protocol.phase, Phase.OPEN)
                (identity,) = connected.context.identities
                self.assertEqual(identity.name, "alice")
                connected.client.direct(b"db1")
                self.assertEqual(self.rig.tunnels.reaches[-1].asked.ssh_certificate, line_of(blob))

    def test_asked_first(self) -> None:
        """A question whether a key would do is answered, and is no login."""
        connected = self.shaken()
        blob = AUTHORITY.certify(ALICE)
        connected.client.ask(blob, ED25519)
        found = connected.client.pump()
        self.assertEqual(found, [(Message.USERAUTH_PK_OK, string(ED25519) + string(blob))])
        self.assertIs(connected.protocol.phase, Phase.LOGIN)

    def test_other_methods(self) -> None:
        """No method but a key is there, and no plain key does."""
        connected = self.shaken()
        client = connected.client
        for method in (b"none", b"password", b"keyboard-interactive", b"hostbased"):
            content = string(b"alice") + string(b"ssh-connection") + string(method)
            client.send(Message.USERAUTH_REQUEST, content)
            self.assertEqual(client.pump(), [(51, string(b"publickey") + b"\0")])
        for plain, key in KEYS.items():
            found = client.log_in(key, blob_of(key), plain)
            self.assertEqual(found, [(51, string(b"publickey") + b"\0")])
        self.assertEqual(connected.context.identities, [])

    def test_s36_odd_certificates(self) -> None:
        """S36: a nested, foreign or odd certificate logs nobody in, and says why."""
        inner = AUTHORITY.certify(ALICE)
        other = Authority()
        sha1 = ed25519_signer(AUTHORITY.key)
        odd: dict[str, dict[str, Any]] = {
            "a certificate as the authority's key": {"authority": inner},
            "another authority": {"authority": other.blob, "signature": ed25519_signer(other.key)},
            "signed by another one": {"signature": ed25519_signer(other.key)},
            "a host's": {"kind": 2},
            "no principals": {"principals": ()},
            "an unknown critical option": {"critical": options((b"force-command", string(b"x")))},
            "for ever": {"valid": (1000, FOREVER)},
            "over": {"valid": (1000, NOW)},
            "not yet": {"valid": (NOW + 1, NOW + 2)},
            "trailing bytes": {"tail": b"x"},
            "another type inside": {"type_": b"ecdsa-sha2-nistp256" + SUFFIX},
            "an odd signature": {"signature": lambda signed: sha1(signed)[:-1]},
        }
        for what, fields in odd.items():
            connected = self.shaken()
            found = connected.client.log_in(ALICE, AUTHORITY.certify(ALICE, **fields), ED25519)
            self.assertEqual([number for number, _ in found], [53, 51], what)
            self.assertEqual(connected.context.identities, [], what)
        nested = inner
        for _ in range(3):
            nested = AUTHORITY.certify(ALICE, authority=nested)
            connected = self.shaken()
            connected.client.log_in(ALICE, nested, ED25519)
            self.assertEqual(connected.context.identities, [])

    def test_s37_the_key_that_signed(self) -> None:
        """S37: whoever was asked about before, the key that signs says who it is."""
        people = {name: ed25519.Ed25519PrivateKey.generate() for name in (b"a", b"b", b"c")}
        blobs = {name: AUTHORITY.certify(key, name) for name, key in people.items()}
        orders = [order for size in range(1, 4) for order in itertools.product(people, repeat=size)]
        tried = 0
        for order in orders[:32]:
            for signer in people:
                connected = self.shaken()
                for name in order:
                    connected.client.ask(blobs[name], ED25519)
                found = connected.client.log_in(people[signer], blobs[signer])
                self.assertEqual(found[-1], (Message.USERAUTH_SUCCESS, b""))
                self.assertEqual(
                    [one.name for one in connected.context.identities], [signer.decode()]
                )
                tried += 1
        self.assertGreaterEqual(tried, 32)

    def test_s37_anothers_key(self) -> None:
        """S37: a certificate that was asked about is nothing without its own key."""
        mallory = ed25519.Ed25519PrivateKey.generate()
        connected = self.shaken()
        blob = AUTHORITY.certify(ALICE)
        connected.client.ask(blob, ED25519)
        found = connected.client.log_in(mallory, blob, ED25519)
        self.assertEqual(found[-1][0], Message.USERAUTH_FAILURE)
        self.assertEqual(connected.context.identities, [])

    def test_signature_of_another_kind(self) -> None:
        """SHA-1, and a signature of another kind than was said, are refused."""
        key = KEYS[b"ssh-rsa"]
        blob = AUTHORITY.certify(key)
        for outer, inner in (
            (b"ssh-rsa", b"ssh-rsa"),
            (b"rsa-sha2-512", b"rsa-sha2-256"),
            (b"rsa-sha2-512", b"ssh-rsa"),
            (b"ssh-ed25519", b"ssh-ed25519"),
        ):
            connected = self.shaken()
            connected.client.log_in(key, blob, outer + SUFFIX, signed_as=inner)
            self.assertEqual(connected.context.identities, [], outer)

    def test_signature_of_another_session(self) -> None:
        """What was signed for another connection is nothing here."""
        connected = self.shaken()
        client = connected.client
        client.session = b"x" * 32
        found = client.log_in(ALICE, AUTHORITY.certify(ALICE))
        self.assertEqual(found[-1][0], Message.USERAUTH_FAILURE)

    def test_malformed(self) -> None:
        """What cannot be read ends the connection."""
        client = self.shaken().client
        good = client.asking(AUTHORITY.certify(ALICE), ED25519, b"alice", signs=True)
        good += string(sign(ALICE, b"ssh-ed25519", b"x"))
        for content in (good[:-1], good + b"x", good[:20], b"\xff" * 40):
            connected = self.shaken()
            connected.client.send(Message.USERAUTH_REQUEST, content)
            self.assertTrue(connected.over)
        connected = self.shaken()
        content = string(b"alice") + string(b"ssh-userauth") + string(b"none")
        connected.client.send(Message.USERAUTH_REQUEST, content)
        self.assertTrue(connected.over)

    def test_bounded(self) -> None:
        """Only so many keys are asked about, and fewer may fail."""
        connected = self.shaken()
        for _ in range(REQUESTS):
            self.assertFalse(connected.over)
            connected.client.ask(AUTHORITY.certify(ALICE), ED25519)
        self.assertTrue(connected.over)
        self.assertIn("too many keys", connected.last_words())
        connected = self.shaken()
        for _ in range(FAILURES):
            self.assertFalse(connected.over)
            connected.client.log_in(ALICE, certificate(key=blob_of(ALICE)), ED25519)
        self.assertTrue(connected.over)
