"""Tests for `tlsgate.config.agents`: what an agent's file means."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_file, read_text
from tlsgate.config.settings import AgentSettings, Join, LabelCommand, OfferSettings, Settings
from tlsgate.errors import BadSettings

EXAMPLE = Path(__file__).parents[2] / "etc" / "examples" / "agent.yaml"
PIN = "sha256:" + "ab" * 32
V3 = (
    "version: v3\nteleport: {nodename: db1, proxy_server: gate.example.com, auth_token: /t,"
    f" ca_pin: '{PIN}'}}\n"
)
OFF = "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n"


def warned(settings: Settings) -> list[str]:
    """The warnings without their places."""
    return [f"{one.path}: {one.message}" for one in settings.warnings]


def many(pattern: str) -> str:
    """One more than an offer carries, as YAML."""
    return ", ".join(pattern.format(number) for number in range(1, 66))


class AgentTests(SynchronousTestCase):
    """Tests for `agent`."""

    def problems(self, text: str) -> list[str]:
        """What is wrong with *text*."""
        problems = self.assertRaises(BadSettings, read_text, text).problems
        return [f"{one.path}: {one.message}" for one in problems]

    def test_the_example(self) -> None:
        """The example in etc/ is an agent's file, without a warning."""
        read = read_file(EXAMPLE)
        self.assertEqual(warned(read), [])
        self.assertEqual(
            (read.listeners, read.auth_enabled, read.proxy_enabled), ((), False, False)
        )
        self.assertTrue(read.is_agent and read.in_cluster)
        assert read.agent is not None and read.join is not None
        self.assertEqual(read.agent.roles, ("node",))
        self.assertEqual(read.join.servers, ("gate.example.com:443",))

    def test_everything(self) -> None:
        """An sshd and other targets, with labels; where no port is written there is one."""
        read = read_text(
            V3 + "ssh_service: {labels: {env: prod}, commands: [{name: k, command: [uname, -r]}],"
            " sshd_addr: 127.0.0.1, targets: ['[fd00::1]:2222', db.internal, 127.0.0.1]}"
        )
        offer = OfferSettings(
            kind="node",
            name="db1",
            labels={"env": "prod"},
            commands=(LabelCommand(name="k", command=("uname", "-r"), period_seconds=60.0),),
            addresses=("127.0.0.1:22", "[fd00::1]:2222", "db.internal:22"),
        )
        self.assertEqual(read.agent, AgentSettings(offers=(offer,)))
        self.assertEqual(
            read.join,
            Join(
                servers=("gate.example.com:3080",),
                cluster=None,
                token="/t",
                pins=(PIN,),
                unsafe_no_pin=False,
            ),
        )

    def test_older_versions(self) -> None:
        """Files of v1 and v2 have auth_servers, which may be a gateway's addresses too."""
        for version in ("v1", "v2"):
            read = read_text(
                f"version: {version}\nteleport: {{nodename: db1, ca_pin: '{PIN}', auth_servers: "
                f"[auth.example.com, gate.example.com:443]}}\n{OFF}ssh_service: {{enabled: yes}}"
            )
            assert read.agent is not None and read.join is not None
            self.assertEqual(read.agent.offers[0].addresses, ("127.0.0.1:22",))
            self.assertEqual(read.join.servers, ("auth.example.com:3025", "gate.example.com:443"))
            self.assertEqual(read.listeners, ())

    def test_where_the_cluster_is(self) -> None:
        """Without the address of a gateway there is nothing to dial."""
        for version, key in (("v3", "proxy_server"), ("v2", "auth_servers")):
            text = f"version: {version}\nteleport: {{nodename: a}}\n{OFF}ssh_service:"
            self.assertEqual(
                self.problems(text),
                [f"ssh_service: needs teleport.{key}, the address of a gateway"],
            )
        v3 = f"version: v3\nteleport: {{nodename: a, auth_server: a.example}}\n{OFF}ssh_service:"
        join = read_text(v3).join
        assert join is not None
        self.assertEqual(join.servers, ("a.example:3025",))

    def test_a_process_of_its_own(self) -> None:
        """Beside an auth service or a gateway an agent is refused, or named as idle."""
        (problem,) = self.problems("version: v2\nssh_service: {enabled: yes}")
        self.assertIn("ssh_service.enabled: an agent runs in a process of its own", problem)
        beside = read_text("version: v2\nssh_service:")
        self.assertIsNone(beside.agent)
        self.assertIn("ssh_service: does nothing here", warned(beside)[0])
        self.assertEqual(read_text("version: v2\nssh_service: {enabled: no}").warnings, ())
        both = V3 + "proxy_service: {enabled: yes}\nssh_service: {enabled: yes}"
        self.assertEqual(len(self.problems(both)), 2)

    def test_names(self) -> None:
        """A name that no certificate could carry is refused, with one that could."""
        for name in ("DB1", "10.0.0.1", "a b", "x" * 65):
            (problem,) = self.problems(V3.replace("db1", f"'{name}'") + "ssh_service:")
            self.assertIn("teleport.nodename: ", problem)
            self.assertIn("such as db1", problem)

    def test_labels_and_targets(self) -> None:
        """Labels have one source each, commands something to run, and all of it bounds."""
        start = V3 + "ssh_service: "
        for keys, said in (
            ("{labels: {a: b}, commands: [{name: a, command: [x]}]}", "there is a label a already"),
            ("{commands: [{name: a, command: []}]}", "commands[0].command: is empty"),
            ("{commands: [{name: a, command: [x], period: 1ms}]}", "at least 1s"),
            ("{commands: [{name: 'a b', command: [x]}]}", "letters, digits"),
            ("{targets: ['a:0']}", "port 0 cannot be dialled"),
            ("{sshd_addr: 'unix:/x'}", "ssh_service.sshd_addr"),
            (f"{{targets: [{many('a:{}')}]}}", "64 are the most"),
            (f"{{labels: {{{many('a{}: b')}}}}}", "64 are the most"),
        ):
            (problem,) = self.problems(start + keys)
            self.assertIn(said, problem)

    def test_where_sshd_logs(self) -> None:
        """In the journal, nowhere, or in a file with its whole path."""
        for written, want in (
            ("{}", "journal"),
            ("{sshd_log: none}", "none"),
            ("{sshd_log: /var/log/auth.log}", "/var/log/auth.log"),
        ):
            agent = read_text(f"{V3}ssh_service: {written}").agent
            assert agent is not None
            self.assertEqual(agent.sshd_log, want)
        self.assertEqual(
            self.problems(V3 + "ssh_service: {sshd_log: auth.log}"),
            ["ssh_service.sshd_log: is journal, none, or a file such as /var/log/auth.log"],
        )

    def test_what_sshd_does_instead(self) -> None:
        """Keys of Teleport's own SSH server are named where they count for nothing."""
        read = read_text(V3 + "ssh_service: {pam: {enabled: yes}, permit_user_env: yes}")
        self.assertEqual(
            [one.partition(":")[0] for one in warned(read)],
            ["ssh_service.pam", "ssh_service.permit_user_env"],
        )
        self.assertIn("sshd_config decides", warned(read)[0])
