"""Tests for `tlsgate.auth.authorities` and `tlsgate.auth.authority`."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import CLUSTER, Cluster, now_of
from tlsgate.auth.authorities import PREFIX, SECRETS, Authorities
from tlsgate.auth.authority import JWT, SSH_TYPES, TYPES, X509_TYPES, SshAuthority
from tlsgate.auth.rotation import Phase
from tlsgate.auth.seal import KEY_FILE, Seal
from tlsgate.core.keeping import Change, Delete, Put
from tlsgate.errors import BadAsk, BadName, BadSeal, Conflict, NoSuch
from tlsgate.store.memory import MemoryStore


class StartTests(SynchronousTestCase):
    """Tests for `Authorities.start`."""

    def test_made_in_one_commit(self) -> None:
        """The first start makes all five, and the next one takes them as they are."""
        cluster = Cluster()
        self.assertEqual(now_of(cluster.store.revision()), 1)
        kept = [item.key for item in now_of(cluster.store.scan(PREFIX))]
        self.assertEqual(kept, sorted(PREFIX + kind for kind in TYPES))
        self.assertEqual(cluster.another().public(), cluster.authorities.public())
        self.assertEqual(now_of(cluster.store.revision()), 1)

    def test_two_processes_at_once(self) -> None:
        """Whoever is second takes what the first has made, all of it."""
        cluster = Cluster()
        first: list[Authorities] = []

        class Racing(MemoryStore):
            """Lets another process start just before the first commit."""

            async def commit(self, changes: Any) -> int:
                if not first:
                    other = Authorities(self, cluster.seal, cluster.clock, CLUSTER)
                    first.append(other)
                    await other.start()
                return await super().commit(changes)

        second = Authorities(Racing(), cluster.seal, cluster.clock, CLUSTER)
        now_of(second.start())
        self.assertEqual(second.public(), first[0].public())

    def test_never_ending_race(self) -> None:
        """Tries are counted."""

        class Taken(MemoryStore):
            """A store in which somebody else is always faster."""

            async def commit(self, changes: Any) -> int:
                raise Conflict("authorities/user")

        cluster = Cluster()
        with self.assertRaises(Conflict):
            now_of(Authorities(Taken(), cluster.seal, cluster.clock, CLUSTER).start())

    def test_cluster_names(self) -> None:
        """A name that no certificate carries is refused before anything is made."""
        cluster = Cluster()
        for name in ("", "a" * 65, "a\nb"):
            with self.assertRaises(BadName):
                Authorities(cluster.store, cluster.seal, cluster.clock, name)

    def test_another_key_file(self) -> None:
        """A store without its key file does not start, and says which file that is."""
        cluster = Cluster()
        (cluster.folder / KEY_FILE).unlink()
        seal = Seal.open(cluster.folder)
        with self.assertRaises(BadSeal) as caught:
            now_of(Authorities(cluster.store, seal, cluster.clock, CLUSTER).start())
        self.assertIn(f"{cluster.folder / KEY_FILE} is not the key file", str(caught.exception))

    def test_what_is_kept_makes_no_sense(self) -> None:
        """Each part that was changed is found, and nothing else than BadSeal is raised."""
        cluster = Cluster()
        place = PREFIX + "user"
        item = now_of(cluster.store.get(place))
        assert item is not None
        good = json.loads(item.value)
        other = json.loads(now_of(cluster.store.get(PREFIX + "host")).value)  # type: ignore[union-attr]
        key = good["keys"][0]
        for bad in (
            b"",
            b"[]",
            b"{}",
            {**good, "phase": "later"},
            {**good, "keys": []},
            {**good, "keys": [key, key, key]},
            {**good, "keys": [{**key, "id": 7}]},
            {**good, "keys": [{**key, "certificate": "x"}]},
            {**good, "keys": [{**key, "certificate": other["keys"][0]["certificate"]}]},
            {**good, "keys": [{"id": key["id"]}]},
        ):
            value = bad if isinstance(bad, bytes) else json.dumps(bad).encode()
            now_of(cluster.store.commit([Put(place, value)]))
            with self.assertRaises(BadSeal, msg=value):
                cluster.another()

    def test_a_key_of_another_kind(self) -> None:
        """A key that was sealed for the place, and is of the wrong kind, is refused."""
        cluster = Cluster()
        own = cluster.authorities.current("user")
        place = f"{SECRETS}user/{own.id}"
        for secret in (cluster.authorities.current("ssh_user").secret, b"nonsense"):
            now_of(cluster.store.commit([Put(place, cluster.seal.close(secret, place))]))
            with self.assertRaises(BadSeal):
                cluster.another()


class KeysTests(SynchronousTestCase):
    """What the authorities are."""

    def test_x509(self) -> None:
        """P-256, for leaves only, named after the cluster, good for its purpose."""
        cluster = Cluster()
        client, server = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
        for kind, purposes in (
            ("user", [client]),
            ("host", [server, client]),
            ("db", [server, client]),
        ):
            authority = cluster.authorities.x509(kind)
            found = authority.certificate
            self.assertEqual(
                found.subject.rfc4514_string(),
                f"2.5.4.5={authority.id},CN={kind} authority,O={CLUSTER}",
            )
            self.assertEqual(found.public_key().curve.name, "secp256r1")  # type: ignore[union-attr]
            extensions = found.extensions
            basic = extensions.get_extension_for_class(x509.BasicConstraints)
            self.assertEqual(basic.value, x509.BasicConstraints(ca=True, path_length=0))
            self.assertTrue(basic.critical)
            usage = extensions.get_extension_for_class(x509.KeyUsage).value
            self.assertTrue(usage.key_cert_sign and usage.crl_sign)
            self.assertFalse(usage.digital_signature)
            eku = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            self.assertEqual(list(eku), purposes)
            self.assertEqual(found.not_valid_before_utc.timestamp(), cluster.now - 60)
            found.verify_directly_issued_by(found)

    def test_ssh(self) -> None:
        """Ed25519, as lines that ssh takes."""
        cluster = Cluster()
        for kind in SSH_TYPES:
            (line,) = cluster.authorities.trusted(kind)
            self.assertRegex(line, rb"^ssh-ed25519 [A-Za-z0-9+/=]+$")
            self.assertEqual(line, cluster.authorities.ssh(kind).trust)

    def test_pins_and_anchors(self) -> None:
        """The pin is the SHA-256 of the host authority's key, the anchor of its certificate."""
        cluster = Cluster()
        certificate = cluster.authorities.x509("host").certificate
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        self.assertEqual(
            cluster.authorities.pins(), (f"sha256:{hashlib.sha256(spki).hexdigest()}",)
        )
        der = certificate.public_bytes(Encoding.DER)
        self.assertEqual(
            cluster.authorities.anchors("host"), frozenset((hashlib.sha256(der).digest(),))
        )

    def test_no_such_type(self) -> None:
        """A type that there is not is said so, whoever asks."""
        cluster = Cluster()
        for ask in (cluster.authorities.current, cluster.authorities.trusted):
            with self.assertRaises(NoSuch):
                ask("windows")
        with self.assertRaises(NoSuch):
            cluster.rotate("windows", "init")

    def test_s53_no_private_key_is_shown(self) -> None:
        """S53: none is in an answer, a repr, or the store, in any of its spellings."""
        cluster = Cluster()
        cluster.rotate("host", "init")
        cluster.rotate("ssh_user", "init")
        shown = json.dumps(cluster.authorities.public()) + json.dumps(cluster.authorities.cas())
        for kind in TYPES:
            state = cluster.authorities._states[kind]
            shown += repr(state) + repr(state.keys) + repr(state.signing)
        kept = [*now_of(cluster.store.scan("")), *cluster.store._events]
        everything = repr(kept).encode() + b"".join(
            item.value for item in now_of(cluster.store.scan(""))
        )
        self.assertNotIn("PRIVATE", shown)
        for kind in TYPES:
            for key in cluster.authorities._states[kind].keys:
                secret = key.secret
                # The numbers of the key are at the end of PKCS #8, or right before the
                # public half.
                for part in (secret, secret[36:60], secret[-24:]):
                    if not isinstance(key, SshAuthority) and part == secret[-24:]:
                        continue  # the public half
                    for text in (part.hex(), base64.b64encode(part).decode(), repr(part)):
                        self.assertNotIn(text, shown)
                    self.assertNotIn(part, everything)

    def test_secrets_are_apart(self) -> None:
        """What a list of authorities reads holds no sealed key either."""
        cluster = Cluster()
        for item in now_of(cluster.store.scan(PREFIX)):
            self.assertEqual(
                set(json.loads(item.value)),
                {"phase", "since", "grace_seconds", "signed_until", "keys"},
            )


class RotateTests(SynchronousTestCase):
    """Tests for `Authorities.rotate`."""

    def test_whole(self) -> None:
        """A new key is trusted before it signs; the old one goes last, with its secret."""
        for kind in TYPES:
            cluster = Cluster()
            own = cluster.authorities
            old = own.current(kind)
            both = 2
            clients_first = kind in ("user", "db", "ssh_user", JWT)
            for phase, keys, new_signs in (
                ("init", both, False),
                ("update_clients", both, clients_first),
                ("update_servers", both, True),
                ("standby", 1, True),
            ):
                cluster.now += 10
                said = cluster.rotate(kind, phase, 0.0)
                self.assertEqual(said["phase"], phase)
                self.assertEqual(said, own.public()[kind])
                self.assertEqual(len(own.trusted(kind)), keys)
                self.assertEqual(own.current(kind).id != old.id, new_signs)
                self.assertEqual(own.trusted(kind)[0], own.current(kind).trust)
                self.assertEqual(said["signing"], own.current(kind).id)
                self.assertEqual(cluster.another().public(), own.public())
            self.assertIsNone(now_of(cluster.store.get(f"{SECRETS}{kind}/{old.id}")))
            self.assertEqual(len(now_of(cluster.store.scan(f"{SECRETS}{kind}/"))), 1)

    def test_rollback_from_each_phase(self) -> None:
        """The old key signs again, and the new one goes."""
        way = ("init", "update_clients", "update_servers")
        for steps in (1, 2, 3):
            for kind in TYPES:
                cluster = Cluster()
                before = cluster.authorities.current(kind).trust
                for phase in way[:steps]:
                    cluster.rotate(kind, phase)
                cluster.rotate(kind, "rollback")
                self.assertEqual(cluster.authorities.current(kind).trust, before)
                self.assertEqual(len(cluster.authorities.trusted(kind)), 2)
                cluster.rotate(kind, "standby", 0.0)
                self.assertEqual(cluster.authorities.trusted(kind), (before,))
                self.assertEqual(len(now_of(cluster.store.scan(f"{SECRETS}{kind}/"))), 1)

    def test_refusals_change_nothing(self) -> None:
        """A phase that may not follow, or that there is not, leaves everything as it was."""
        cluster = Cluster()
        before = cluster.authorities.public()
        for phase in ("standby", "update_clients", "rollback", "INIT", "", "x" * 9999):
            with self.assertRaises(BadAsk) as caught:
                cluster.rotate("user", phase)
            self.assertLess(len(str(caught.exception)), 250)
        self.assertEqual(cluster.authorities.public(), before)
        self.assertEqual(now_of(cluster.store.revision()), 1)

    def test_pins_while_rotating(self) -> None:
        """Both pins are told, so a login with either goes on."""
        cluster = Cluster()
        before = cluster.authorities.pins()
        cluster.rotate("host", "init")
        self.assertEqual(cluster.authorities.pins()[:1], before)
        self.assertEqual(len(cluster.authorities.pins()), 2)

    def test_two_operators_at_once(self) -> None:
        """One takes the step, the other is told to look again."""
        cluster = Cluster()
        once: list[int] = []
        commit = cluster.store.commit

        async def racing(changes: Any) -> int:
            if not once:
                once.append(1)
                cluster.rotate("user", "init")
            return await commit(changes)

        self.patch(cluster.store, "commit", racing)
        with self.assertRaises(Conflict):
            now_of(cluster.another().rotate("user", "init"))
        self.assertEqual(len(now_of(cluster.store.scan(f"{SECRETS}user/"))), 2)

    def test_another_process_follows(self) -> None:
        """Each step is heard by all, once, with the type; after `stop` no more."""
        cluster = Cluster()
        other = cluster.another()
        heard: list[str] = []
        own: list[str] = []
        other.on_change(heard.append)
        cluster.authorities.on_change(own.append)
        cluster.rotate("host", "init")
        cluster.store.turn()
        self.assertEqual((heard, own), (["host"], ["host"]))
        self.assertEqual(other.public(), cluster.authorities.public())
        other.stop()
        other.stop()
        cluster.rotate("host", "rollback")
        cluster.store.turn()
        self.assertEqual(heard, ["host"])

    def test_a_step_in_the_middle_of_a_reading(self) -> None:
        """What is read is of one moment: a key dropped meanwhile makes it read again."""
        cluster = Cluster()
        for phase in ("init", "rollback"):
            cluster.rotate("user", phase)
        other = Authorities(cluster.store, cluster.seal, cluster.clock, CLUSTER)
        get, once = cluster.store.get, [1]

        async def slow(key: str) -> Any:
            found = await get(key)
            if once:
                once.clear()
                await cluster.authorities.rotate("user", "standby")
            return found

        self.patch(cluster.store, "get", slow)
        state = now_of(other._read("user"))
        self.assertEqual((state.rotation.phase, len(state.keys)), (Phase.STANDBY, 1))

    def test_what_cannot_be_read_leaves_what_was(self) -> None:
        """A watch that brings nonsense is logged; what is known stays in force."""
        cluster = Cluster()
        before = cluster.authorities.public()
        changes: list[Change] = [Put(PREFIX + "user", b"nonsense"), Delete(PREFIX + "db")]
        now_of(cluster.store.commit([*changes, Put(PREFIX + "windows", b"{}")]))
        cluster.store.turn()
        self.assertEqual(cluster.authorities.public(), before)

    def test_a_listener_that_fails(self) -> None:
        """A bug of who listens is logged, and the new key counts all the same."""
        cluster = Cluster()
        other = cluster.another()

        def fails(_kind: str) -> None:
            raise ZeroDivisionError

        other.on_change(fails)
        cluster.rotate("user", "init")
        cluster.store.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(other.public(), cluster.authorities.public())

    def test_deleted_while_running(self) -> None:
        """A step on what somebody has deleted is refused."""
        cluster = Cluster()
        now_of(cluster.store.commit([Delete(PREFIX + "db")]))
        with self.assertRaises(NoSuch):
            cluster.rotate("db", "init")
        own = cluster.authorities.current("user")
        now_of(cluster.store.commit([Delete(f"{SECRETS}user/{own.id}")]))
        with self.assertRaises(Conflict):
            cluster.rotate("user", "init")

    def test_types(self) -> None:
        """Five that sign certificates, of two families, and one that signs tokens."""
        self.assertEqual(TYPES, (*X509_TYPES, *SSH_TYPES, JWT))
        self.assertEqual(len(TYPES), 6)
