"""Finished contexts: one for each TLS policy and certificate set, built once.

A context never changes after its first connection, and a connection never changes
its context: verify modes do not follow a context switch (F1), so the policy is
chosen from the peeked hello and the TLS object is made from that policy's own.

More than 400 lines: contexts of every side share their trust, their pairs and their last calls.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Sequence

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from tlsgate.core.routing import CertRule
from tlsgate.errors import BadKeyPair, BadSettings
from tlsgate.tls import binding, reasons, verify
from tlsgate.tls.authority import PrivateKey
from tlsgate.tls.certs import CertificateStore, CertSet, problem
from tlsgate.tls.keypair import LoadedPair, read_certificates
from tlsgate.tls.select import confirm

#: Forward secrecy and AEAD only (F19). AES-128 first: a fifth cheaper a byte than AES-256.
_TLS12 = b":".join(
    (
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
        # No SHA-1 signatures and no RSA below 2048 bits in any chain (S10).
        b"@SECLEVEL=2",
    )
)
_TLS13 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

#: The post-quantum group is worth a second round trip; among the others the one that the
#: client has sent a share for wins ("/" parts the ranks, OpenSSL 3.5 and later).
_GROUPS = b"X25519MLKEM768/X25519:P-256:P-384"
_GROUPS_BEFORE_PQ = b"X25519:P-256:P-384"

_OPTIONS = (
    SSL.OP_NO_TICKET  # F2: a ticket of one policy must not open another
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
)
#: SSL_OP_PRIORITIZE_CHACHA, which pyOpenSSL does not name: a client without AES hardware
#: puts ChaCha20 first, and gets it in spite of our order.
_PRIORITIZE_CHACHA = 1 << 21

_MODES = (
    SSL.MODE_RELEASE_BUFFERS  # an idle connection holds no record buffers
    # pyOpenSSL sets these two as well; the relay relies on them.
    | 0x1  # SSL_MODE_ENABLE_PARTIAL_WRITE
    | 0x2  # SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
)

#: Certificates between a leaf and its anchor (S15).
_DEPTH = 4

#: More names than this do not go into the request for a certificate: it would not help a
#: client to choose, and in TLS 1.2 it is sent before the client has shown anything.
_CA_NAME_BYTES = 8192


@frozen(cache_hash=True)
class TlsPolicy:
    """What a handshake demands of the client.

    Attributes:
        client_cert: the rule.
        ca_files: PEM files; who is trusted to issue client certificates. Without
            meaning where the rule is `none`.
        cluster: show the cluster's certificate, not the web one.
    """

    client_cert: CertRule
    ca_files: tuple[str, ...] = ()
    cluster: bool = False


@frozen(eq=False)
class _Trust:
    """The certificates of some CA files that may be trusted now."""

    anchors: tuple[x509.Certificate, ...]
    notes: tuple[str, ...] = field(default=())


class ContextStore:
    """All contexts of one configuration.

    Args:
        certificates: what the web and static routes show.
        cluster: what policies with `cluster` show; None: no such policy comes.

    Attributes:
        notes: what is odd about the CA files and not wrong, as sentences.
    """

    def __init__(
        self, certificates: CertificateStore, cluster: CertificateStore | None = None
    ) -> None:
        self._certificates = certificates
        self._cluster = cluster
        self._contexts: dict[tuple[TlsPolicy, CertSet], SSL.Context] = {}
        self._clients: dict[tuple[tuple[str, ...], tuple[bytes, ...]], SSL.Context] = {}
        self._trusts: dict[tuple[str, ...], _Trust] = {}
        self._generation = self._newest()

    def server(self, policy: TlsPolicy, server_name: str | None) -> SSL.Context:
        """The context for a connection that asked for *server_name* (normalised).

        Set the app data of the connection (`select.Confirm`) before its handshake.

        Raises:
            BadKeyPair: a CA file cannot be used; never after `prepare`.
        """
        store = self._certificates
        if policy.cluster:
            assert self._cluster is not None
            store = self._cluster
        chosen = store.pick(server_name)
        context = self._contexts.get((policy, chosen))
        if context is None:
            context = self._add(policy, chosen)
        return context

    def prepare(self, policies: Iterable[TlsPolicy]) -> None:
        """Build what *policies* need, so that no connection can find a fault.

        CA files are read once, here; a change of theirs needs a new store.

        Raises:
            BadSettings: with a problem for each file that cannot be used.
        """
        found: dict[str, BadKeyPair] = {}
        for policy in dict.fromkeys(policies):
            try:
                for file in policy.ca_files:
                    self._trust((file,))
                self.server(policy, None)
            except BadKeyPair as error:
                found.setdefault(error.file, error)
        scratch = SSL.Context(SSL.TLS_SERVER_METHOD)
        scratch.set_cipher_list(_TLS12)  # its security level decides what a pair may be
        for pair in {pair for chosen in self._sets() for pair in chosen.pairs}:
            try:
                _use_pair(scratch, pair)
            except BadKeyPair as error:
                found.setdefault(error.file, error)
        if found:
            raise BadSettings([problem(error) for error in found.values()])

    def client(self, ca_files: tuple[str, ...] = (), alpn: Sequence[bytes] = ()) -> SSL.Context:
        """The context to dial a `tls:` target with.

        It verifies the chain; the name is for `verify.check_server`, after the handshake
        and before the first byte. Send the name with `set_tlsext_host_name`.

        Args:
            ca_files: whom to trust; the system's CAs when there is none.
            alpn: what to offer.

        Raises:
            BadKeyPair: a CA file cannot be used.
        """
        key = (tuple(ca_files), tuple(alpn))
        if (context := self._clients.get(key)) is None:
            trust = self._trust(key[0]) if key[0] else None
            context = self._clients[key] = _client_context(trust, key[1])
        return context

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the CA files and not wrong, as sentences."""
        return tuple(dict.fromkeys(note for one in self._trusts.values() for note in one.notes))

    def _add(self, policy: TlsPolicy, chosen: CertSet) -> SSL.Context:
        if self._generation != self._newest():
            self._generation = self._newest()
            live = self._sets()
            for key in [key for key in self._contexts if key[1] not in live]:
                del self._contexts[key]  # a reload has replaced its certificate
        trust = _Trust(())
        if policy.client_cert is not CertRule.NONE:
            if not policy.ca_files:
                raise BadKeyPair("client_ca_files", "is empty, and client certificates are asked")
            trust = self._trust(policy.ca_files)
        context = _server_context(policy, chosen, trust)
        self._contexts[policy, chosen] = context
        return context

    def _newest(self) -> tuple[int, int]:
        cluster = self._cluster
        return self._certificates.generation, 0 if cluster is None else cluster.generation

    def _sets(self) -> frozenset[CertSet]:
        cluster = self._cluster
        return self._certificates.sets() | (frozenset() if cluster is None else cluster.sets())

    def _trust(self, files: tuple[str, ...]) -> _Trust:
        if (trust := self._trusts.get(files)) is None:
            trust = self._trusts[files] = _read_trust(files)
        return trust


def _read_trust(files: tuple[str, ...]) -> _Trust:
    """The CA certificates of *files* that are valid now.

    Raises:
        BadKeyPair: a file cannot be used (S09), see `_usable`.
    """
    anchors: list[x509.Certificate] = []
    notes: list[str] = []
    for file in files:
        anchors += _usable(file, notes)
    return _Trust(tuple(dict.fromkeys(anchors)), tuple(notes))


def _usable(file: str, notes: list[str]) -> list[x509.Certificate]:
    """The CA certificates of *file*; the expired beside valid ones are left out with a note."""
    now = time.time()
    valid = []
    for certificate in read_certificates(file):
        subject = certificate.subject.rfc4514_string()
        if (why := _unfit(certificate)) is not None:
            raise BadKeyPair(file, f"holds {subject!r}, which {why}")
        if certificate.not_valid_after_utc.timestamp() <= now:
            notes.append(f"{file}: {subject!r} has expired and is not trusted")
            continue
        valid.append(certificate)
    if not valid:
        raise BadKeyPair(file, "holds only certificates that have expired")
    return valid


def _unfit(certificate: x509.Certificate) -> str | None:
    """Why *certificate* cannot be an anchor of trust, as the rest of a sentence."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        key = certificate.public_key()
    except x509.ExtensionNotFound:
        return "does not say that it is a CA (basic constraints)"
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm):
        return "cannot be read"
    if not constraints.ca:
        return "is not a CA certificate (CA:FALSE)"
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and not 2048 <= key.key_size <= 4096:
        return f"has an RSA key of {key.key_size} bits; 2048 to 4096 are allowed"
    return None


def _server_context(policy: TlsPolicy, chosen: CertSet, trust: _Trust) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    for pair in chosen.pairs:
        _use_pair(context, pair)
    if policy.client_cert is not CertRule.NONE:
        mode = SSL.VERIFY_PEER
        if policy.client_cert is CertRule.REQUIRED:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        binding.set_verify(context, mode, verify.judge_leaf, verify.judge_issuer)
        _add_anchors(context, trust)
        if sum(len(one.subject.public_bytes()) for one in trust.anchors) <= _CA_NAME_BYTES:
            for anchor in trust.anchors:
                context.add_client_ca(anchor)
    # Nothing is resumed; if something ever were, then only under the policy it was made by.
    context.set_session_id(hashlib.sha256(repr((policy, id(chosen))).encode()).digest())
    context.set_alpn_select_callback(confirm)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA)
    _finish(context)
    return context


def _client_context(trust: _Trust | None, alpn: Sequence[bytes]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_PEER)
    if trust is None:
        context.set_default_verify_paths()
    else:
        _add_anchors(context, trust)
    if alpn:
        context.set_alpn_protos(list(alpn))
    _finish(context)
    return context


@frozen(eq=False)
class Shown:
    """A certificate that is shown to a target, with its key, both from memory."""

    chain_pem: bytes = field(repr=False)
    key: PrivateKey = field(repr=False)


def target_context(
    cas: Sequence[x509.Certificate] = (),
    *,
    ca_file: str | None = None,
    system: bool = False,
    alpn: Sequence[bytes] = (),
    shown: Shown | None = None,
    unsafe_unverified: bool = False,
) -> SSL.Context:
    """The context to dial an agent's target with; it verifies the chain.

    The name is for `Handshake.check_server`, after the handshake and before the first byte.

    Args:
        cas, ca_file: whom to trust; the file in place of the others.
        system: the system's CAs as well.
        alpn: what to offer.
        shown: the certificate that is shown.
        unsafe_unverified: believe anybody.

    Raises:
        BadKeyPair: the file, or what is shown, cannot be used.
    """
    trust = _Trust(tuple(cas)) if ca_file is None else _read_trust((ca_file,))
    context = _client_context(trust, alpn)
    if system:
        context.set_default_verify_paths()
    if shown is not None:
        _show(context, shown)
    if unsafe_unverified:
        context.set_verify(SSL.VERIFY_NONE)
    return context


def member_context(
    alpn: bytes, pair: LoadedPair | None = None, *, before: bytes | None = None
) -> SSL.Context:
    """The context to dial a cluster's own process with; it verifies nothing by itself.

    Whoever uses it looks at the chain after the handshake, before the first byte
    (`dialing`): a certificate is good there by more than its chain.

    Args:
        alpn: what is spoken inside.
        pair: what is shown.
        before: offered first; it names one of several processes.

    Raises:
        BadKeyPair: *pair*, which is shown, cannot be used.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([alpn] if before is None else [before, alpn])
    if pair is not None:
        _use_pair(context, pair)
    _finish(context)
    return context


def _finish(context: SSL.Context) -> None:
    """What both sides have in common; the ciphers come last."""
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(_MODES)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify_depth(_DEPTH)
    if not binding.set_groups(context, _GROUPS):
        binding.set_groups(context, _GROUPS_BEFORE_PQ)
    context.set_tls13_ciphersuites(_TLS13)
    context.set_cipher_list(_TLS12)


def _add_anchors(context: SSL.Context, trust: _Trust) -> None:
    """Trust exactly the certificates of *trust*, roots or not."""
    store = context.get_cert_store()
    assert store is not None
    for anchor in trust.anchors:
        store.add_cert(X509.from_cryptography(anchor))
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)


def _use_pair(context: SSL.Context, pair: LoadedPair) -> None:
    try:
        _use_chain(context, pair.chain_pem)
        context.use_privatekey(pair.key)
        context.check_privatekey()
    except SSL.Error as error:
        why = f"OpenSSL does not take it: {reasons.quoted(error)}"
        raise BadKeyPair(os.fspath(pair.files.cert_file), why) from error


def _show(context: SSL.Context, shown: Shown) -> None:
    try:
        _use_chain(context, shown.chain_pem)
        context.use_privatekey(shown.key)
        context.check_privatekey()
    except SSL.Error as error:
        why = f"OpenSSL does not take it: {reasons.quoted(error)}"
        raise BadKeyPair("the certificate for the target", why) from error


def _use_chain(context: SSL.Context, chain_pem: bytes) -> None:
    """Give *context* a chain that belongs to one pair.

    OpenSSL ties a chain to its pair only when it reads a file; the extra certificates
    that can be given from memory go out with every pair of the context.
    """
    if hasattr(os, "memfd_create"):  # Linux, where there is /proc too
        descriptor = os.memfd_create("tlsgate-chain")
        try:
            os.write(descriptor, chain_pem)
            context.use_certificate_chain_file(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # certificates only: nothing in it is secret
        file.write(chain_pem)
        file.flush()
        context.use_certificate_chain_file(file.name)
