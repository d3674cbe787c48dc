"""Tests for `tlsgate.core.wire.sshcert`."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.sshwire import (
    AUTHORITY,
    ED25519,
    FOREVER,
    P256,
    P384,
    RSA,
    SUFFIX,
    certificate,
    line,
    mpint,
    options,
    string,
)
from tlsgate.core.wire.sshcert import (
    CERTIFICATE_BYTES,
    Kind,
    SshCertificate,
    judge,
    key_blob,
    parse,
    parse_line,
)
from tlsgate.errors import BadBytes, Untrusted


def why(blob: bytes, outer: bytes | None = None) -> str | None:
    """Why *blob* is refused; None when it is not."""
    try:
        parse(blob, outer)
    except BadBytes as error:
        return error.why
    return None


class ParseTests(SynchronousTestCase):
    """Tests for `parse`."""

    def test_whole(self) -> None:
        """Every part is given as it stands."""
        blob = certificate(
            principals=(b"alice", b"bob"),
            critical=options((b"force-command", string(b"ls"))),
            extensions=options((b"permit-agent-forwarding", b""), (b"permit-pty", b"")),
        )
        signature = string(string(b"ssh-ed25519") + string(b"s" * 64))
        found = parse(blob)
        self.assertEqual(
            found,
            SshCertificate(
                key=P256,
                serial=7,
                kind=Kind.USER,
                key_id="alice",
                principals=("alice", "bob"),
                valid_after=1000,
                valid_before=2000,
                critical_options={"force-command": string(b"ls")},
                extensions={"permit-agent-forwarding": b"", "permit-pty": b""},
                authority=AUTHORITY,
                signed=blob[: -len(signature)],
                algorithm=b"ssh-ed25519",
                signature=b"s" * 64,
            ),
        )
        self.assertEqual(found.key_type, b"ecdsa-sha2-nistp256")
        self.assertEqual(found.authority_type, b"ssh-ed25519")
        self.assertIn(found, {found})

    def test_each_type(self) -> None:
        """The types that are taken, for the key and for the authority; outside as inside."""
        signatures = {
            ED25519: b"ssh-ed25519",
            P256: b"ecdsa-sha2-nistp256",
            P384: b"ecdsa-sha2-nistp384",
            RSA: b"rsa-sha2-512",
        }
        for key in signatures:
            for authority, algorithm in signatures.items():
                signature = string(algorithm) + string(b"s" * 64)
                blob = certificate(key=key, authority=authority, signature=signature)
                self.assertEqual(parse(blob).key, key)
                self.assertEqual(parse_line(line(blob)), parse(blob))
        for outer in (b"rsa-sha2-256", b"rsa-sha2-512", b"ssh-rsa"):
            self.assertIsNone(why(certificate(key=RSA), outer + SUFFIX))

    def test_s36_a_certificate_as_authority(self) -> None:
        """S36: a certificate in the place of the authority's key, one to three deep."""
        deep = certificate(key=AUTHORITY)
        for _ in range(3):
            deep_why = why(certificate(authority=deep))
            self.assertEqual(deep_why, "with a certificate in the place of its authority's key")
            deep = certificate(authority=deep[:2000])
        of_the_authority = certificate(key=AUTHORITY, authority=AUTHORITY)
        self.assertEqual(
            why(certificate(authority=of_the_authority)),
            "with a certificate in the place of its authority's key",
        )

    def test_s36_types_that_do_not_match(self) -> None:
        """S36: one type outside and another inside, or another curve than the type says."""
        blob = certificate()
        for outer in (
            b"ecdsa-sha2-nistp256",
            b"ssh-ed25519" + SUFFIX,
            b"ecdsa-sha2-nistp384" + SUFFIX,
            b"rsa-sha2-256" + SUFFIX,
            b"",
            b"x" * 99,
        ):
            self.assertEqual(why(blob, outer), "of another type inside than outside")
            with self.assertRaises(BadBytes):
                parse_line(line(blob, outer or b"-"))
        other = string(b"ecdsa-sha2-nistp256") + string(b"nistp384") + string(b"\4" + b"k" * 96)
        self.assertEqual(
            why(certificate(key=other)), "with a key on another curve than its type says"
        )
        self.assertEqual(
            why(certificate(type_=b"ssh-ed25519" + SUFFIX)),
            "with an Ed25519 key of another length",
        )

    def test_s36_bytes_after_the_end(self) -> None:
        """S36: after the certificate, its signature, or its authority's key."""
        self.assertEqual(why(certificate(tail=b"\0")), "with bytes after its end")
        more = string(b"ssh-ed25519") + string(b"s" * 64) + b"\0"
        self.assertEqual(why(certificate(signature=more)), "with bytes after its end")
        self.assertEqual(why(certificate(authority=AUTHORITY + b"\0")), "with bytes after its end")

    def test_refused(self) -> None:
        """Whatever else is not as it must be."""
        pty = (b"permit-pty", b"")
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"type_": b"ssh-dss" + SUFFIX}, "not a certificate of a type that is taken here"),
            ({"type_": b"ecdsa-sha2-nistp256"}, "not a certificate of a type that is taken here"),
            ({"nonce": b""}, "with a nonce that is too short or too long"),
            ({"nonce": b"n" * 129}, "with a nonce that is too short or too long"),
            ({"kind": 0}, "neither of a user nor of a host"),
            ({"kind": 3}, "neither of a user nor of a host"),
            ({"key_id": b"\xff"}, "with a key id that is not UTF-8"),
            ({"key_id": b"a\nb"}, "with a key id that is empty or cannot be printed"),
            ({"key_id": b"a" * 257}, "with a part that is longer than it may be"),
            ({"principals": (b"",)}, "with a principal that is empty or cannot be printed"),
            ({"principals": (b"a\0b",)}, "with a principal that is empty or cannot be printed"),
            ({"principals": (b"a",) * 257}, "with more than 256 principals"),
            ({"critical": options(pty, pty)}, "with options that are not in order, or twice"),
            (
                {"extensions": options(pty, (b"no-touch", b""))},
                "with options that are not in order, or twice",
            ),
            (
                {"extensions": options(*((b"%02d" % one, b"") for one in range(65)))},
                "with more than 64 options",
            ),
            (
                {"extensions": options((b"", b""))},
                "with an option that is empty or cannot be printed",
            ),
            ({"critical": b"\0\0\0\1"}, "cut short"),
            ({"reserved": b"x"}, "with something in the place that is reserved"),
            (
                {"authority": string(b"ssh-dss") + string(b"x")},
                "with an authority's key of a type that is not taken here",
            ),
            ({"authority": b""}, "cut short"),
            (
                {"signature": string(b"ssh-rsa") + string(b"s")},
                "with a signature that its authority's key does not make",
            ),
            (
                {"authority": RSA, "signature": string(b"ssh-rsa") + string(b"s")},
                "with a signature that its authority's key does not make",
            ),
            (
                {"key": string(b"ssh-ed25519") + string(b"k" * 31)},
                "with an Ed25519 key of another length",
            ),
            (
                {"key": string(b"ssh-rsa") + mpint(65537) + mpint((1 << 1023) + 1)},
                "with an RSA key that is not of 2048 to 4096 bits",
            ),
            (
                {"key": string(b"ssh-rsa") + mpint(3) + mpint((1 << 2047) + 1)},
                "with an RSA key that is not of 2048 to 4096 bits",
            ),
            (
                {"key": string(b"ssh-rsa") + mpint(65538) + mpint((1 << 2047) + 1)},
                "with an RSA key that is not of 2048 to 4096 bits",
            ),
            (
                {"key": string(b"ssh-rsa") + string(b"\0\0\1\0\1") + mpint((1 << 2047) + 1)},
                "with a number that is not positive, or not in its shortest form",
            ),
            (
                {"key": string(b"ssh-rsa") + string(b"\xff") + mpint((1 << 2047) + 1)},
                "with a number that is not positive, or not in its shortest form",
            ),
            (
                {"key": P256.replace(b"\4kkk", b"\2kkk")},
                "with a point that is not whole",
            ),
        )
        for how, want in cases:
            self.assertEqual(why(certificate(**how)), want, how)
        self.assertEqual(
            why(b"\0" * (CERTIFICATE_BYTES + 1)), f"longer than {CERTIFICATE_BYTES} bytes"
        )

    def test_cut_anywhere(self) -> None:
        """A certificate that ends early is refused at each length."""
        blob = certificate(extensions=options((b"permit-pty", b"")))
        for end in range(len(blob)):
            self.assertIsNotNone(why(blob[:end]), end)

    def test_each_length_off_by_one(self) -> None:
        """A length that is one more or less is refused, or moves nothing that counts."""
        blob = certificate()
        for place in range(len(blob) - 4):
            if blob[place : place + 3] != b"\0\0\0":
                continue
            for change in (1, -1):
                count = blob[place + 3] + change
                if 0 <= count < 256:
                    changed = blob[: place + 3] + bytes((count,)) + blob[place + 4 :]
                    if why(changed) is None:  # then it was a number, not a length
                        self.assertEqual(parse(changed).principals, ("alice",))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Foreign bytes raise our error or nothing."""
        head = string(b"ssh-ed25519" + SUFFIX)
        for blob in (data, head + data, head + string(b"n" * 32) + data):
            self.assertIsNotNone(why(blob))

    @given(st.integers(0, 10_000), st.integers(0, 255))
    def test_any_byte_changed(self, place: int, value: int) -> None:
        """A changed byte is refused as ours, or read as something."""
        blob = bytearray(certificate(extensions=options((b"permit-pty", b""))))
        blob[place % len(blob)] = value
        why(bytes(blob))


class LineTests(SynchronousTestCase):
    """Tests for `parse_line` and `key_blob`."""

    def test_lines(self) -> None:
        """With a comment or without, as text or bytes."""
        blob = certificate()
        text = line(blob)
        for one in (text, text.encode(), text.removesuffix(" comment") + "\n"):
            self.assertEqual(parse_line(one), parse(blob))

    def test_no_lines(self) -> None:
        """What is not one line of a certificate is refused."""
        text = line(certificate())
        for bad in ("", "x", text + "\n" + text, text[:60] + "!", "é", "x " + "A" * 99_999):
            with self.assertRaises(BadBytes):
                parse_line(bad)

    def test_keys(self) -> None:
        """An authority's line gives its blob; a certificate is none."""
        text = f"ssh-ed25519 {base64.b64encode(AUTHORITY).decode()} ca"
        self.assertEqual(key_blob(text), AUTHORITY)
        self.assertEqual(key_blob(text.encode()), AUTHORITY)
        for bad in ("", "ssh-ed25519", "ssh-ed25519 !", text.replace("ed25519", "rsa"), "é é"):
            with self.assertRaises(BadBytes):
                key_blob(bad)
        with self.assertRaises(BadBytes):
            key_blob(line(certificate()))


class JudgeTests(SynchronousTestCase):
    """Tests for `judge`."""

    def judged(self, *, trusted: tuple[bytes, ...] = (AUTHORITY,), **how: Any) -> str | None:
        """Why a certificate is refused for alice at 1500."""
        allowed = how.pop("allowed", ())
        now = how.pop("now", 1500.0)
        try:
            judge(parse(certificate(**how)), trusted, Kind.USER, now, "alice", options=allowed)
        except Untrusted as error:
            return error.why
        return None

    def test_good(self) -> None:
        """A user's certificate of the authority, in its time, with any extensions."""
        self.assertIsNone(self.judged())
        self.assertIsNone(self.judged(extensions=options((b"what@example.com", b"x"))))
        self.assertIsNone(self.judged(principals=(b"bob", b"alice"), trusted=(P256, AUTHORITY)))

    def test_s36_a_host_as_user(self) -> None:
        """S36: a host's certificate is no user's, nor the other way round."""
        self.assertEqual(self.judged(kind=2), "it is a host's, not a user's")
        with self.assertRaises(Untrusted):
            judge(parse(certificate()), (AUTHORITY,), Kind.HOST, 1500, "alice")

    def test_s36_no_principals(self) -> None:
        """S36: no principal must not mean every principal."""
        self.assertIn("names no principal", str(self.judged(principals=())))

    def test_s36_unknown_critical_option(self) -> None:
        """S36: a condition that nobody here would hold the holder to."""
        critical = options((b"force-command", string(b"ls")), (b"x@example.com", b""))
        want = "its critical option 'force-command' is not known here"
        self.assertEqual(self.judged(critical=critical), want)
        self.assertEqual(
            self.judged(critical=critical, allowed=("force-command",)),
            "its critical option 'x@example.com' is not known here",
        )
        self.assertIsNone(
            self.judged(critical=critical, allowed=("force-command", "x@example.com"))
        )

    def test_s36_without_an_end(self) -> None:
        """S36: ValidBefore of 2^64-1 is for ever, and nothing is."""
        self.assertEqual(self.judged(valid=(0, FOREVER)), "it never ends")
        self.assertIsNone(self.judged(valid=(0, FOREVER - 1)))

    def test_times(self) -> None:
        """The first moment counts, the last is the one before."""
        for now, good in ((999.9, False), (1000.0, True), (1999.9, True), (2000.0, False)):
            self.assertEqual(self.judged(now=now) is None, good, now)
        self.assertIsNotNone(self.judged(valid=(2000, 1000)))
        self.assertIsNotNone(self.judged(now=float("nan")))

    def test_another_authority(self) -> None:
        """Trust is by all bytes of the key."""
        want = "it is signed by no authority that is trusted here"
        for trusted in ((), (ED25519,), (AUTHORITY[:-1],), (AUTHORITY + b"\0",)):
            self.assertEqual(self.judged(trusted=trusted), want)

    def test_another_principal(self) -> None:
        """Names are compared whole."""
        for name in (b"bob", b"Alice", b"alice2", b"*", b"alice,bob"):
            self.assertEqual(self.judged(principals=(name,)), "it is not for 'alice'")
