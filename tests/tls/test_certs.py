"""Tests for `tls.certs` and `tls.keypair`."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tlsgate.config.settings import KeyPair
from tlsgate.errors import BadKeyPair, BadSettings
from tlsgate.tls.authority import Pair, self_signed
from tlsgate.tls.certs import CertificateStore, expiry_notice
from tlsgate.tls.keypair import load_pair

DAY = 86400.0


class Folder(SynchronousTestCase):
    """Files of a test's own."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self._tick = 0

    def put(self, name: str, pair: Pair) -> KeyPair:
        """Write *pair*; every call leaves another modification time."""
        files = KeyPair(
            cert_file=self.folder / f"{name}.pem", key_file=self.folder / f"{name}-key.pem"
        )
        pair.write(files.cert_file, files.key_file)
        self._tick += 1
        for file in (files.cert_file, files.key_file):
            os.utime(file, ns=(0, self._tick * 10**9))
        return files


class PickTests(Folder):
    """Tests for `CertificateStore.pick`."""

    def test_exact_wildcard_default(self) -> None:
        """The exact name wins over the wildcard, and the first pair serves the rest."""
        certs = pki()
        special = certs.ca.issue("q", dns=("q.gw.test",), server=True)
        store = CertificateStore.load(
            [certs.keypair("server"), certs.keypair("server-b"), self.put("q", special)]
        )
        for name, first in (
            ("gw.test", "gw.test"),
            ("x.gw.test", "gw.test"),
            ("x.y.gw.test", "gw.test"),  # the default: a wildcard stands for one label
            ("b.test", "b.test"),
            ("deep.b.test", "b.test"),
            ("q.gw.test", "q.gw.test"),
            ("unknown.example", "gw.test"),
            (None, "gw.test"),
        ):
            self.assertEqual((name, store.pick(name).names[0]), (name, first))
        self.assertIs(store.pick(None), store.pick("gw.test"))

    def test_ecdsa_and_rsa_side_by_side(self) -> None:
        """Pairs of two kinds for one name go into one set, in the order of the file."""
        certs = pki()
        store = CertificateStore.load([certs.keypair("server-rsa"), certs.keypair("server")])
        for name in ("gw.test", "x.gw.test", None):
            self.assertEqual([pair.kind for pair in store.pick(name).pairs], ["rsa", "ec"])

    def test_wildcard_of_another_kind_goes_beside_an_exact_name(self) -> None:
        """An RSA wildcard serves clients without ECDSA under an exact ECDSA name."""
        certs = pki()
        exact = self.put("exact", certs.ca.issue("x", dns=("x.gw.test",), server=True))
        wild = self.put("wild", certs.ca.issue("w", dns=("*.gw.test",), server=True, key="rsa"))
        store = CertificateStore.load([exact, wild])
        self.assertEqual([pair.kind for pair in store.pick("x.gw.test").pairs], ["ec", "rsa"])

    def test_the_first_of_a_kind_wins(self) -> None:
        """Of two pairs of one kind for one name the one that stands first is shown."""
        again = self.put("again", pki().ca.issue("again", dns=("gw.test",), server=True))
        store = CertificateStore.load([pki().keypair("server"), again])
        self.assertEqual(len(store.pick("gw.test").pairs), 1)
        self.assertEqual(store.pick("gw.test").pairs[0].files, pki().keypair("server"))

    def test_names_are_in_lower_case(self) -> None:
        """A certificate for GW.Test serves gw.test."""
        files = self.put("upper", pki().ca.issue("u", dns=("Upper.TEST",), server=True))
        store = CertificateStore.load([pki().keypair("server"), files])
        self.assertEqual(store.pick("upper.test").names, ("upper.test",))


class LoadTests(Folder):
    """Tests for `CertificateStore.load` and `load_pair`."""

    def test_every_problem_at_once(self) -> None:
        """Each pair that cannot be used is named with its file and the reason."""
        certs = pki()
        good = certs.keypair("server")
        (self.folder / "empty.pem").write_bytes(b"\n")
        (self.folder / "cut.pem").write_bytes(certs.server.cert_pem[:300])
        (self.folder / "cut-chain.pem").write_bytes(certs.deep.cert_pem[:-200])
        (self.folder / "der.pem").write_bytes(b"\x30\x82\x01\x0a" * 50)
        weak = rsa.generate_private_key(65537, 1024)
        (self.folder / "weak.pem").write_bytes(der.certificate(certs.ca, key=weak).cert_pem)
        (self.folder / "weak-key.pem").write_bytes(der.key_pem(weak))
        files = [
            good,
            KeyPair(cert_file=self.folder / "none.pem", key_file=good.key_file),
            KeyPair(cert_file=self.folder / "empty.pem", key_file=good.key_file),
            KeyPair(cert_file=self.folder / "cut.pem", key_file=good.key_file),
            KeyPair(cert_file=self.folder / "cut-chain.pem", key_file=good.key_file),
            KeyPair(cert_file=self.folder / "der.pem", key_file=good.key_file),
            KeyPair(cert_file=good.cert_file, key_file=good.cert_file),
            KeyPair(cert_file=good.cert_file, key_file=certs.file("alice-key.pem")),
            KeyPair(cert_file=self.folder / "weak.pem", key_file=self.folder / "weak-key.pem"),
        ]
        error = self.assertRaises(BadSettings, CertificateStore.load, files)
        self.assertEqual(
            [(Path(one.place.file).name, one.message) for one in error.problems],
            [
                ("none.pem", "No such file or directory"),
                ("empty.pem", "is empty"),
                ("cut.pem", "holds a certificate that is broken or cut short"),
                ("cut-chain.pem", "holds a certificate that is broken or cut short"),
                ("der.pem", "holds no PEM certificate"),
                ("server.pem", "holds no PEM private key that OpenSSL knows"),
                ("alice-key.pem", f"is not the key of {good.cert_file}"),
                ("weak-key.pem", "is RSA with 1024 bits; clients demand at least 2048"),
            ],
        )

    def test_encrypted_key(self) -> None:
        """A key with a passphrase is refused with the way out."""
        files = self.put("enc", pki().server)
        key = s.load_pem_private_key(pki().server.key_pem, None)
        locked = key.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x")
        )
        files.key_file.write_bytes(locked)
        error = self.assertRaises(BadKeyPair, load_pair, files)
        self.assertIn("without a passphrase", str(error))

    def test_odd_pairs(self) -> None:
        """Keys that TLS does not use, and certificates that cannot be read, are refused."""
        old = dsa.generate_private_key(2048)
        public = old.public_key().public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)
        good = der.key_pem(ec.generate_private_key(ec.SECP256R1()))
        twice = der.certificate(
            pki().ca, extensions=(der.san((2, b"a.test")), der.san((2, b"b.test")))
        )
        unknown = der.tlv(
            der.SEQUENCE,
            der.tlv(der.SEQUENCE, der.oid("1.2.3.4")),
            der.tlv(der.BIT_STRING, b"\0\1"),
        )
        strange = der.certificate(pki().ca, public=unknown)
        for pair, why in (
            (
                Pair(der.certificate(pki().ca, key=old, public=public).cert_pem, der.key_pem(old)),
                "is of a kind that TLS does not use; take ECDSA, Ed25519 or RSA",
            ),
            (twice, "has extensions that cannot be read"),
            (Pair(twice.cert_pem, good), "has extensions that cannot be read"),
            (Pair(strange.cert_pem, good), "has a public key that cannot be read"),
        ):
            error = self.assertRaises(BadKeyPair, load_pair, self.put("odd", pair))
            self.assertEqual(error.why, why)

    def test_ed25519(self) -> None:
        """An Ed25519 pair is a kind of its own, beside ECDSA and RSA."""
        key = ed25519.Ed25519PrivateKey.generate()
        pair = der.certificate(pki().ca, key=key, extensions=(der.san((2, b"gw.test")),))
        loaded = load_pair(self.put("ed", pair))
        self.assertEqual((loaded.kind, loaded.names), ("ed", ("gw.test",)))

    def test_one_file_for_both(self) -> None:
        """Certificate and key may stand in one file."""
        both = self.folder / "both.pem"
        both.write_bytes(pki().server.key_pem + pki().server.cert_pem)
        pair = load_pair(KeyPair(cert_file=both, key_file=both))
        self.assertEqual(pair.names[0], "gw.test")
        self.assertEqual(len(pair.chain), 1)

    def test_notes(self) -> None:
        """A chain out of order, no names, or SHA-1 are odd and not wrong."""
        certs = pki()
        twisted = self.put("twisted", certs.sub_ca.issue("t", dns=("t.test",), server=True))
        one, two = (
            part + b"-----END CERTIFICATE-----\n"
            for part in twisted.cert_file.read_bytes().split(b"-----END CERTIFICATE-----\n")[:2]
        )
        twisted.cert_file.write_bytes(one + certs.other_ca.cert_pem + two)
        nameless = self.put("nameless", certs.ca.issue("n", server=True))
        old = self.put(
            "old",
            der.certificate(
                certs.ca, algorithm=der.ECDSA_SHA1, extensions=(der.san((2, b"old.test")),)
            ),
        )
        store = CertificateStore.load([twisted, nameless, old])
        self.assertEqual(
            [note.rpartition(": ")[2] for note in store.notes],
            [
                "the chain is out of order; many clients will refuse it",
                "names no host; clients look at the subject alternative name only",
                "is signed with SHA-1 or MD5; clients will refuse it",
            ],
        )

    def test_keys_are_not_shown(self) -> None:
        """The repr of a pair has no key in it."""
        self.assertNotIn("PrivateKey", repr(load_pair(pki().keypair("server"))))


class ReloadTests(Folder):
    """Tests for `CertificateStore.reload`."""

    def setUp(self) -> None:
        """Serve two pairs from files of our own."""
        super().setUp()
        self.one = self.put("one", pki().ca.issue("one", dns=("one.test",), server=True))
        self.two = self.put("two", pki().ca.issue("two", dns=("two.test",), server=True))
        self.store = CertificateStore.load([self.one, self.two])

    def test_nothing_changed(self) -> None:
        """Without a change every set stays the same object."""
        before = self.store.pick("one.test")
        self.assertFalse(self.store.reload())
        self.assertIs(self.store.pick("one.test"), before)

    def test_a_new_certificate(self) -> None:
        """A file that changed is shown from now on; the other set is not touched."""
        two = self.store.pick("two.test")
        fresh = pki().ca.issue("one", dns=("one.test", "new.test"), server=True)
        self.put("one", fresh)
        self.assertTrue(self.store.reload())
        self.assertEqual(self.store.trouble, ())
        self.assertEqual(self.store.pick("new.test").pairs[0].chain_pem, fresh.cert_pem)
        self.assertIs(self.store.pick("two.test"), two)

    def test_a_broken_file_keeps_the_last_good(self) -> None:
        """A broken pair stays as it was, says why, and the other one is renewed."""
        before = self.store.pick("one.test").pairs
        self.one.cert_file.write_bytes(b"oops")
        fresh = pki().ca.issue("two", dns=("two.test",), server=True)
        self.put("two", fresh)
        self.assertTrue(self.store.reload())
        self.assertEqual(
            self.store.trouble,
            (f"{self.one.cert_file}: holds no PEM certificate; the certificate in memory stays",),
        )
        self.assertEqual(self.store.pick("one.test").pairs, before)
        self.assertEqual(self.store.pick("two.test").pairs[0].chain_pem, fresh.cert_pem)

    def test_gone_files_keep_the_last_good(self) -> None:
        """Deleted files change nothing but the message."""
        self.one.key_file.unlink()
        self.assertFalse(self.store.reload())
        self.assertIn("No such file or directory", self.store.trouble[0])
        self.assertEqual(self.store.pick("one.test").names, ("one.test",))

    def test_half_a_change_is_waited_out(self) -> None:
        """A new certificate whose key has not arrived is taken once it has."""
        fresh = pki().ca.issue("one", dns=("one.test",), server=True)
        self.one.cert_file.write_bytes(fresh.cert_pem)
        self.assertFalse(self.store.reload())
        self.assertIn("is not the key of", self.store.trouble[0])
        self.put("one", fresh)
        self.assertTrue(self.store.reload())
        self.assertEqual(self.store.trouble, ())

    def test_an_expired_file_keeps_the_last_good(self) -> None:
        """An expired certificate does not replace one that is still good."""
        self.put("one", pki().ca.issue("one", dns=("one.test",), server=True, days=-1))
        self.assertFalse(self.store.reload())
        self.assertIn("has expired", self.store.trouble[0])

    def test_an_expired_file_may_follow_an_expired_one(self) -> None:
        """What is expired already may be replaced by anything that can be read."""
        old = self.put("old", pki().ca.issue("old", dns=("a.test",), server=True, days=-1))
        store = CertificateStore.load([old])
        self.put("old", pki().ca.issue("old", dns=("b.test",), server=True, days=-1))
        self.assertTrue(store.reload())
        self.assertEqual(store.pick(None).names, ("b.test",))


class ExpiryTests(Folder):
    """Tests for the notices before a certificate ends."""

    def test_marks(self) -> None:
        """A notice comes with a third and a tenth of the lifetime left, and at the end."""
        for now, notice in (
            (0, None),
            (19.9, None),
            (20, "third"),
            (26.9, "third"),
            (27, "tenth"),
            (29.9, "tenth"),
            (30, "expired"),
            (99, "expired"),
        ):
            self.assertEqual((now, expiry_notice(0, 30, now)), (now, notice))

    def test_notices(self) -> None:
        """Only the pairs that are near their end are named, with their file and mark."""
        long = self.put("long", pki().ca.issue("l", dns=("l.test",), server=True, days=300))
        short = self.put("short", pki().ca.issue("s", dns=("s.test",), server=True, days=30))
        store = CertificateStore.load([long, short])
        now = time.time()
        self.assertEqual(store.notices(now), [])
        [(life, notice)] = store.notices(now + 21 * DAY)
        self.assertEqual(
            (life.names, life.file, notice), (("s.test",), str(short.cert_file), "third")
        )
        self.assertEqual([n for _, n in store.notices(now + 31 * DAY)], ["expired"])
        self.assertEqual([n for _, n in store.notices(now + 280 * DAY)], ["tenth", "expired"])

    def test_expiries(self) -> None:
        """Names and ends come in the order of the file; a chain ends with its first."""
        brief = pki().ca.intermediate("brief", days=3)
        pair = self.put("below", brief.issue("b", dns=("below.test",), server=True, days=30))
        store = CertificateStore.load([pki().keypair("server"), pair])
        ends = store.expiries()
        self.assertEqual([names[0] for names, _ in ends], ["gw.test", "below.test"])
        self.assertEqual([round((end - time.time()) / DAY) for _, end in ends], [365, 3])


class SelfSignedTests(Folder):
    """Tests for the certificate that is made when none is configured."""

    NAMES = ("Gate.example", "127.0.0.1", "*.gate.example")

    def start(self, now: float = 0.0) -> CertificateStore:
        """A start of the daemon, *now* seconds from the present."""
        return CertificateStore.self_signed(self.NAMES, self.folder, now=lambda: time.time() + now)

    def test_survives_a_restart(self) -> None:
        """The second start shows the certificate of the first."""
        first = self.start().pick(None).pairs[0]
        self.assertEqual(first.chain_pem, self.start().pick(None).pairs[0].chain_pem)
        self.assertEqual(first.names, ("gate.example", "*.gate.example"))
        self.assertEqual(first.addresses, ("127.0.0.1",))
        mode = stat.S_IMODE((self.folder / "self-signed-key.pem").stat().st_mode)
        self.assertEqual(mode, 0o600)

    def test_renewed_on_the_same_key(self) -> None:
        """With a third of its life left it is made again, on its key, without a restart."""
        clock = [0.0]
        store = CertificateStore.self_signed(
            self.NAMES, self.folder, now=lambda: time.time() + clock[0]
        )
        first = store.pick(None).pairs[0]
        self.assertFalse(store.reload())
        clock[0] = 280 * DAY
        self.assertTrue(store.reload())
        second = store.pick(None).pairs[0]
        self.assertNotEqual(first.chain_pem, second.chain_pem)
        self.assertEqual(first.chain[0].public_key(), second.chain[0].public_key())

    def test_made_again_for_other_names(self) -> None:
        """A change of the public name makes another certificate."""
        first = self.start().pick(None).pairs[0]
        second = CertificateStore.self_signed(("else.example",), self.folder).pick(None).pairs[0]
        self.assertNotEqual(first.chain_pem, second.chain_pem)

    def test_a_crash_between_the_files(self) -> None:
        """A certificate that does not fit its key is made again."""
        self.start()
        other = self_signed("x", dns=("gate.example",), days=1)
        (self.folder / "self-signed-key.pem").write_bytes(other.key_pem)
        self.assertEqual(self.start().pick(None).names, ("gate.example", "*.gate.example"))

    def test_a_folder_that_cannot_be_written(self) -> None:
        """An unwritable data directory is a problem of the settings."""
        self.folder = self.folder / "none"
        error = self.assertRaises(BadSettings, self.start)
        self.assertIn("cannot be written", str(error))

    def test_starts_at_once(self) -> None:
        """Workers that start together show one certificate."""
        starts = [threading.Thread(target=self.start) for _ in range(6)]
        for start in starts:
            start.start()
        for start in starts:
            start.join(30)
        self.assertEqual(self.start().notices(time.time()), [])
        self.assertEqual(
            sorted(file.name for file in self.folder.iterdir()),
            ["self-signed-key.pem", "self-signed.pem"],
        )

    def test_a_renewal_that_cannot_be_written(self) -> None:
        """A data directory that went away is said, and the certificate serves on."""
        clock = [0.0]
        store = CertificateStore.self_signed(
            self.NAMES, self.folder, now=lambda: time.time() + clock[0]
        )
        shutil.rmtree(self.folder)
        self.assertFalse(store.reload())
        self.assertIn(
            "the self-signed certificate cannot be written: No such file or directory",
            store.trouble,
        )
        self.assertEqual(store.pick(None).names, ("gate.example", "*.gate.example"))

    def test_applications(self) -> None:
        """What is made covers the names of applications, and says which names it is not for."""
        store = CertificateStore.self_signed(("gw.test", "localhost"), self.folder)
        self.assertEqual(store.pick(None).names, ("gw.test", "localhost", "*.gw.test"))
        for name, covered in (
            ("gw.test", True),
            ("grafana.gw.test", True),
            ("a.b.gw.test", False),
            ("x.localhost", False),
            ("wiki.example.net", False),
        ):
            self.assertEqual(store.covers(name), covered, name)

    def test_addresses_alone(self) -> None:
        """A gateway that is known by address only has a certificate too."""
        store = CertificateStore.self_signed(("::1",), self.folder)
        self.assertEqual(store.pick(None).pairs[0].addresses, ("::1",))
        again = CertificateStore.self_signed(("::1",), self.folder)
        self.assertEqual(store.pick(None).pairs[0].chain_pem, again.pick(None).pairs[0].chain_pem)
