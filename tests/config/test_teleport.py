"""Tests with whole teleport.yaml files of our own writing, in tests/vectors/teleport.

Beside each NN-name.yaml stands NN-name.txt, checked by hand against Teleport's rules: what
it means, or what is wrong with it, a line each, in the words of `told`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.known import File
from tlsgate.config.read import read_file
from tlsgate.config.settings import Settings
from tlsgate.config.validate import patterns
from tlsgate.errors import BadSettings, Problem

VECTORS = Path(__file__).parent.parent / "vectors" / "teleport"

#: What the files name and find.
STAND_INS = ("keys/root.key", "keys/root.pem", "keys/alt.key", "keys/alt.pem")

# Every key of proxy_service that Teleport has had, and those around it that say where it
# listens; then those of the agents' blocks. "[]" is an entry of a list.
KEYS = """
version
teleport: nodename data_dir pid_file diag_addr auth_servers auth_server proxy_server auth_token
teleport: ca_pin advertise_ip storage cache ciphersuites ciphers kex_algos mac_algos
teleport.log: output severity
teleport.log.format: output extra_fields
teleport.connection_limits: max_connections max_users rates
teleport.join_params: method token_name
auth_service: enabled listen_addr cluster_name proxy_listener_mode authentication tokens
auth_service: client_idle_timeout client_idle_timeout_message web_idle_timeout
auth_service: keep_alive_interval keep_alive_count_max session_control_timeout routing_strategy
auth_service: tunnel_strategy proxy_ping_interval disconnect_expired_cert session_recording
auth_service.authentication: type second_factor webauthn passwordless connector_name local_auth
auth_service.authentication: locking_mode require_session_mfa
auth_service.authentication.webauthn: rp_id
proxy_service: enabled web_listen_addr listen_addr tunnel_listen_addr kube_listen_addr
proxy_service: mysql_listen_addr postgres_listen_addr mongo_listen_addr peer_listen_addr
proxy_service: public_addr ssh_public_addr tunnel_public_addr kube_public_addr
proxy_service: mysql_public_addr postgres_public_addr mongo_public_addr peer_public_addr
proxy_service: https_keypairs https_keypairs_reload_interval https_key_file https_cert_file
proxy_service: acme proxy_protocol kubernetes idp ui ui_config trust_x_forwarded_for
proxy_service: mysql_server_version mysql_engine_version proxy_protocol_allow_downgrade
proxy_service: automatic_upgrades_channels
proxy_service.https_keypairs[]: key_file cert_file
proxy_service.acme: enabled email uri
proxy_service.kubernetes: enabled listen_addr public_addr kubeconfig_file cluster_name
proxy_service.idp.saml: enabled base_url
proxy_service.ui: scrollback_lines show_resources
proxy_service.ui_config: scrollback_length
ssh_service: enabled listen_addr public_addr labels commands permit_user_env
ssh_service: disable_create_host_user port_forwarding ssh_file_copy enhanced_recording pam x11
ssh_service.commands[]: name command period
app_service: enabled debug_app apps resources
app_service.apps[]: name uri public_addr labels commands insecure_skip_verify rewrite
app_service.apps[]: description cloud
app_service.apps[].commands[]: name command period
app_service.apps[].rewrite: redirect headers
app_service.resources[]: labels
db_service: enabled databases resources aws azure
db_service.databases[]: name description protocol uri static_labels dynamic_labels tls mysql
db_service.databases[]: ad aws gcp
db_service.databases[].tls: mode server_name ca_cert_file
db_service.databases[].mysql: server_version
db_service.databases[].dynamic_labels[]: name command period
db_service.resources[]: labels
kubernetes_service: enabled listen_addr public_addr kubeconfig_file kube_cluster_name
kubernetes_service: labels commands resources
kubernetes_service.commands[]: name command period
kubernetes_service.resources[]: labels
windows_desktop_service: enabled listen_addr
metrics_service: enabled listen_addr
"""


def listed_keys() -> Iterator[str]:
    """The keys of `KEYS`, dotted."""
    for line in KEYS.split("\n"):
        block, colon, names = line.partition(":")
        if not colon:
            yield from filter(None, [block])
        for name in names.split():
            yield f"{block}.{name}"


def used_keys(tree: Any, at: str = "") -> Iterator[str]:
    """Every key of *tree*, dotted."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            path = f"{at}.{key}" if at else str(key)
            yield path
            yield from used_keys(value, path)
    elif isinstance(tree, list):
        for item in tree:
            yield from used_keys(item, f"{at}[]")


def told(settings: Settings, folder: Path) -> Iterator[str]:
    """What *settings* mean, a line each; files as they are written."""
    yield f"loads {settings.version} {settings.mode} {settings.cluster_name}"
    for listener in settings.listeners:
        proxied = " behind PROXY" if listener.proxy_protocol.on else ""
        yield f"listener {listener.name} {listener.endpoint}{proxied}"
    for name, addresses in asdict(settings.public).items():
        for address in addresses:
            yield f"public {name} {address}"
    for pair in settings.keypairs:
        cert, key = (os.path.relpath(file, folder) for file in (pair.cert_file, pair.key_file))
        yield f"keypair {cert} {key} every {settings.keypairs_reload_seconds:g} s"
    if settings.diag is not None:
        yield f"diag {settings.diag}"
    if settings.networking is not None:
        yield f"networking {json.dumps(settings.networking)}"
    if settings.authentication:
        yield f"authentication {json.dumps(settings.authentication)}"
    for address in settings.auth.public:
        yield f"auth public {address}"
    for token in settings.auth.tokens:
        yield f"auth token {token}"
    if settings.auth.locking_mode is not None:
        yield f"auth locking {settings.auth.locking_mode}"
    if settings.join is not None:
        yield f"joins {' '.join(settings.join.servers)} by {settings.join.token}"
    for offer in () if settings.agent is None else settings.agent.offers:
        yield f"offers {offer.kind} {offer.name} at {' '.join(offer.addresses)}"
        yield f"labels {json.dumps(dict(offer.labels))}"
        for one in offer.commands:
            yield f"label {one.name} by {' '.join(one.command)} every {one.period_seconds:g} s"
    yield from (problem_line("warning", warning) for warning in settings.warnings)


def problem_line(word: str, problem: Problem) -> str:
    """A problem without its file's name, which stands above it."""
    place = problem.place
    return f"{word} {place.line}:{place.column} {problem.path}: {problem.message}"


class VectorTests(SynchronousTestCase):
    """Tests for `read_file` with files as operators of Teleport have them."""

    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name in STAND_INS:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).touch()

    def tell(self, vector: Path) -> str:
        """What `read_file` makes of *vector*, in the words of its expectation."""
        shutil.copy(vector, self.folder)
        try:
            lines = list(told(read_file(self.folder / vector.name), self.folder))
        except BadSettings as error:
            lines = [problem_line("error", problem) for problem in error.problems]
        return "\n".join(lines).replace(f"{self.folder}/", "") + "\n"

    def test_each_file_means_what_its_expectation_says(self) -> None:
        """Every vector loads as written beside it, or says per key and place why not."""
        vectors = sorted(VECTORS.glob("*.yaml"))
        self.assertGreaterEqual(len(vectors), 14)
        self.assertEqual(
            {vector.name: self.tell(vector) for vector in vectors},
            {vector.name: vector.with_suffix(".txt").read_text() for vector in vectors},
        )

    def test_places_point_at_what_they_name(self) -> None:
        """At each expected place stands the key itself, or the value after it."""
        for vector in sorted(VECTORS.glob("*.yaml")):
            lines = vector.read_text().split("\n")
            for told_line in vector.with_suffix(".txt").read_text().splitlines():
                if not (found := re.match(r"(?:error|warning) (\d+):(\d+) (\S+): ", told_line)):
                    continue
                line, column = lines[int(found[1]) - 1], int(found[2]) - 1
                key = found[3].rpartition(".")[2].partition("[")[0]
                before = line[:column].rstrip(" [{\"'")
                self.assertTrue(
                    line[column:].startswith(key) or before.endswith(f"{key}:"),
                    f"{vector.name}: {told_line}",
                )

    def test_together_they_use_every_key(self) -> None:
        """No key that Teleport's operators know is left untried."""
        used: set[str] = set()
        for vector in VECTORS.glob("*.yaml"):
            used.update(used_keys(yaml.safe_load(vector.read_text())))
        self.assertEqual(sorted(set(listed_keys()) - used), [])

    def test_the_schema_knows_every_key(self) -> None:
        """Each listed key is a field of the schema, or is in a block that takes any."""
        known: set[str] = set()
        for pattern, block in patterns(File).items():
            at = ".".join(pattern).replace(".*", "[]")
            known.update(f"{at}.{name}" if at else name for name in block.model_fields)
        open_blocks = {"windows_desktop_service.listen_addr", "metrics_service.listen_addr"}
        self.assertEqual(sorted(set(listed_keys()) - known - open_blocks), [])
