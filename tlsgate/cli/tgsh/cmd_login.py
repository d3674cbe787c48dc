"""`tgsh login`: a password and a code for a certificate of some hours.

1. The gateway is found and asked what it wants; who answers is checked (`trust`).
2. A key is made here; its private half never leaves this machine.
3. Name, password, code and public key go to the cluster; a certificate comes back.
4. Key and certificates are written, then the profile, which is taken into use.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import evolve

import tlsgate
from tlsgate.cli.faults import NotLoggedIn, TooOld
from tlsgate.cli.show import plain
from tlsgate.cli.tgsh.call import Call, with_call_and
from tlsgate.cli.tgsh.cmd_status import blocks, listed
from tlsgate.cli.tgsh.fromping import profile_from
from tlsgate.cli.tgsh.gateway import Found, parse_proxy, too_old
from tlsgate.cli.tgsh.home import Profile
from tlsgate.cli.tgsh.secrets import HELP, Secrets
from tlsgate.errors import BadAsk

if TYPE_CHECKING:
    from tlsgate.cli.api import Way
    from tlsgate.cli.issued import Issued
    from tlsgate.cli.newkey import NewKey

#: What --out writes; `cli.issued` has how.
OUT_FORMATS = ("file", "openssh", "tls", "pkcs12")
#: Hashing a password takes the cluster a while, and it does four at once.
LOGIN_SECONDS = 60.0


@click.command("login")
@click.argument("cluster", required=False)
@click.option("--ttl", type=click.IntRange(min=1), help="The certificate's life in minutes.")
@click.option("--ca-pin", multiple=True, help="sha256:… of the cluster's host CA.")
@click.option("--out", type=click.Path(path_type=Path), help="Write files of this name instead.")
@click.option("--overwrite", is_flag=True, help="Replace what --out finds.")
@click.option("--password-file", type=click.Path(path_type=Path), help=HELP + "password, code.")
@click.option("--skip-version-check", is_flag=True, help="Log in with a tgsh that is too old.")
@click.option(
    "--unsafe-send-password",
    is_flag=True,
    help="With --insecure: send the password to whoever answers.",
)
@click.option(
    "-k",
    "--add-keys-to-agent",
    type=click.Choice(("auto", "yes", "no", "only")),
    default="auto",
    envvar=["TGSH_ADD_KEYS_TO_AGENT", "TELEPORT_ADD_KEYS_TO_AGENT"],
    help="Give the key to ssh-agent [auto: where one runs]; only: no SSH certificate in a file.",
)
@with_call_and(*OUT_FORMATS)
def command(
    call: Call,
    cluster: str | None,
    ttl: int | None,
    ca_pin: tuple[str, ...],
    out: Path | None,
    out_format: str | None,
    overwrite: bool,
    password_file: Path | None,
    skip_version_check: bool,
    unsafe_send_password: bool,
    add_keys_to_agent: str,
) -> None:
    """Log in to the gateway of --proxy, or of the profile in use.

    Asks for the password and the one-time code. Without a public web certificate --ca-pin
    says whom to believe: it is in the line that `tgctl users add` prints. Where a
    certificate of the same user is still good, its profile is taken into use and nothing
    is asked; --ttl or --out always logs in anew.
    """
    if out_format is not None and out is None:
        raise BadAsk(f"--format={out_format} says what --out writes: add --out=NAME")
    if ttl is None and out is None and _already(call, cluster):
        return
    Login(call, ca_pin, ttl, unsafe_send_password, add_keys_to_agent).run(
        cluster,
        Secrets(call, password_file),
        None if out is None else (out_format or OUT_FORMATS[0], out, overwrite),
        check_version=not skip_version_check,
    )


def _already(call: Call, cluster: str | None) -> bool:
    """Whether a certificate is there already; its profile is then taken into use."""
    try:
        saved = call.logged_in()
    except NotLoggedIn:
        return False
    _, port = (None, None) if call.proxy is None else parse_proxy(call.proxy)
    profile = saved.profile
    if port is not None and not profile.web_proxy_addr.endswith(f":{port}"):
        return False
    if cluster is not None and profile.cluster != cluster:
        return False
    call.profiles().use(profile.host)
    call.show(listed([evolve(saved, active=True)], call), lambda _: blocks([saved], call))
    return True


class Login:
    """One login, from the gateway's address to the files."""

    def __init__(
        self, call: Call, pins: tuple[str, ...], ttl: int | None, unsafe: bool, agent: str
    ) -> None:
        self._call = call
        self._agent = agent
        self._pins = pins
        self._ttl_seconds = None if ttl is None else ttl * 60
        self._unsafe = unsafe

    def run(
        self,
        cluster: str | None,
        secrets: Secrets,
        out: tuple[str, Path, bool] | None,
        *,
        check_version: bool,
    ) -> None:
        """Log in, and write what is issued."""
        from tlsgate.cli.issued import check_clock, read_issued, write_out
        from tlsgate.cli.newkey import make_key
        from tlsgate.cli.tgsh.trust import find_gateway, login_way

        call = self._call
        found = find_gateway(call, self._proxy(), self._pins)
        if check_version:
            check_client(found)
        way = login_way(call, found, self._pins, self._unsafe)
        if cluster is not None and found.text("cluster_name") != cluster:
            raise BadAsk(f"{found.address} is the gateway of {found.text('cluster_name')}")
        user = self._user(found)
        password = secrets.next(f"Password of {plain(user)}")
        code = secrets.next("One-time code") if found.second_factor else None
        key = make_key()
        call.trace(f"POST /v1/login to {way.address} over {way.door}")
        answer = call.open_way(way).ask(
            "POST",
            "/v1/login",
            seconds=LOGIN_SECONDS,
            body={
                "user": user,
                "password": password,
                "otp": code,
                "tls_public_key": key.public_pem,
                "ssh_public_key": key.ssh_public,
                "ttl_seconds": self._ttl_seconds,
            },
        )
        issued = read_issued(answer, str(way.address))
        if (warning := check_clock(issued, call.now())) is not None:
            click.echo(f"tgsh: warning: {warning}", err=True)
        if out is not None:
            how, name, overwrite = out
            made = write_out(
                issued, key, how, name, overwrite=overwrite, web=self._web(how, found, way, issued)
            )
            files = [str(file) for file in made]
            call.show({"files": files}, lambda _: "\n".join(map(plain, files)))
            return
        self._save(found, way, issued, key)

    def _web(self, how: str, found: Found, way: Way, issued: Issued) -> str:
        """Who has signed the web certificate; "": the machine knows, or nobody asks."""
        from tlsgate.cli.tgsh.trust import web_authorities

        if how != "tls":
            return ""
        known = web_authorities(self._call, found, way, issued.roots, issued.cluster)
        return "" if known.strip() == b"system" else known.decode()

    def _proxy(self) -> str:
        if self._call.proxy is not None:
            return self._call.proxy
        home = self._call.profiles()
        current = home.current()
        profile = None if current is None else home.profile(current)
        if profile is None:
            raise BadAsk("name the gateway: tgsh login --proxy=HOST[:PORT]")
        return profile.web_proxy_addr

    def _user(self, found: Found) -> str:
        if self._call.user is not None:
            return self._call.user
        profile = self._call.profiles().profile(found.address.host)
        return getpass.getuser() if profile is None else profile.user

    def _save(self, found: Found, way: Way, issued: Issued, key: NewKey) -> None:
        from tlsgate.cli.tgsh.trust import web_authorities
        from tlsgate.cli.tgsh.way import kept_text

        call = self._call
        home, host, user = call.profiles(), found.address.host, issued.user
        profile = profile_of(found, user, issued.cluster)
        jump = profile.ssh_proxy_addr.rpartition(":")[0].strip("[]")
        known = home.with_known_hosts(host, issued.cluster, [*issued.ssh_host_cas], jump)
        agent = self._agent
        files = {
            home.ping(host): kept_text(str(found.address), found.ping, call.now()),
            home.web_authorities(host): web_authorities(
                call, found, way, issued.roots, issued.cluster
            ),
            home.authorities(host, issued.cluster): issued.roots.encode(),
            home.known_hosts: known,
            home.key(host, user): key.private_pem,
            home.key(host, user).with_name(f"{user}.pub"): f"{key.ssh_public}\n".encode(),
            home.certificate(host, user): issued.certificate.strip().encode() + b"\n",
        }
        if issued.ssh_certificate is not None and agent != "only":
            file = home.ssh_certificate(host, user, issued.cluster)
            files[file] = f"{issued.ssh_certificate}\n".encode()
        if agent == "only":
            home.ssh_certificate(host, user, issued.cluster).unlink(missing_ok=True)
        home.save(profile, files)
        if issued.ssh_certificate is not None:
            self._to_agent(f"tgsh:{host}:{issued.cluster}:{user}", key, issued)
        saved = home.saved(host)
        assert saved is not None
        self._call.show(listed([saved], self._call), lambda _: blocks([saved], self._call))

    def _to_agent(self, comment: str, key: NewKey, issued: Issued) -> None:
        """Give key and certificate to ssh-agent, for as long as they are good."""
        from tlsgate.cli.sshagent import add, running

        if self._agent == "no" or (self._agent == "auto" and running() is None):
            return
        life = issued.not_after - self._call.now()
        try:
            add(comment, key.private_pem, issued.ssh_certificate or "", int(life))
        except BadAsk as e:
            if self._agent != "auto":
                raise
            click.echo(f"tgsh: warning: {plain(str(e))}", err=True)


def check_client(found: Found) -> None:
    """See that this program is new enough for the gateway, before it is told anything.

    Raises:
        TooOld: it is not.
    """
    least = found.text("min_client_version")
    if too_old(tlsgate.__version__, least):
        raise TooOld(tlsgate.__version__, least)


def profile_of(found: Found, user: str, cluster: str) -> Profile:
    """The profile that the answer of a gateway makes."""
    return profile_from(found.ping, str(found.address), found.address.host, user, cluster)
