"""`tgsh status`: who is logged in where, until when, and in which files it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tlsgate.cli.credential import as_json, moment, read_identity
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.show import plain, span
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.home import Saved


@click.command("status")
@with_call
def command(call: Call) -> None:
    """Print the profiles, the one in use first.

    Exit code 0: its certificate is good; 1: nobody is logged in, or it has expired. The
    gateway is not asked.
    """
    if call.identity is not None:
        credential = read_identity(call.identity)
        shown = {**as_json(credential), "files": {"identity": str(call.identity)}}
        call.show(
            shown,
            lambda _: _facts(
                [("Logged in as", credential.user), *_about(credential, call.now())], ""
            ),
        )
        _end(call, credential.not_after <= call.now())
        return
    home = call.profiles()
    host = call.host()
    saved = (
        home.all()
        if call.proxy is None
        else [one for one in (home.saved(host or ""),) if one is not None]
    )
    with_certificate = [one for one in saved if one.credential is not None]
    if not with_certificate:
        raise NotLoggedIn("you are not logged in", call.login_line())
    call.show(listed(with_certificate, call), lambda _: blocks(with_certificate, call))
    first = with_certificate[0].credential
    assert first is not None
    if call.proxy is None and not with_certificate[0].active:
        raise NotLoggedIn("no profile is in use", call.login_line())
    _end(call, first.not_after <= call.now())


def _end(call: Call, expired: bool) -> None:
    if expired:
        raise NotLoggedIn("the certificate has expired", call.login_line())


def listed(saved: Sequence[Saved], call: Call) -> dict[str, Any]:
    """The profiles in JSON types, shaped as tsh's: the active one apart."""
    shown = [_profile(one, call) for one in saved]
    active = next((one for one in shown if one["active"]), None)
    return {"active": active, "profiles": [one for one in shown if one is not active]}


def _profile(saved: Saved, call: Call) -> dict[str, Any]:
    profile, credential = saved.profile, saved.credential
    assert credential is not None
    return {
        "profile_url": f"https://{profile.web_proxy_addr}",
        "username": profile.user,
        "active": saved.active,
        "expired": credential.not_after <= call.now(),
        **as_json(credential),
        "tls_routing_enabled": profile.tls_routing_enabled,
        "files": files(saved, call),
    }


def files(saved: Saved, call: Call) -> dict[str, str]:
    """The files of a profile by what they hold, as other programs are to be given them."""
    home, profile = call.profiles(), saved.profile
    host, user, cluster = profile.host, profile.user, profile.cluster
    found = {
        "key": home.key(host, user),
        "certificate": home.certificate(host, user),
        "authorities": home.authorities(host, cluster),
        "web_authorities": home.web_authorities(host),
        "ssh_certificate": home.ssh_certificate(host, user, cluster),
    }
    return {what: str(file) for what, file in found.items() if file.exists()}


def blocks(saved: Sequence[Saved], call: Call) -> str:
    """A block of lines for each profile; `>` marks the one in use."""
    return "\n\n".join(_block(one, call) for one in saved)


def _block(saved: Saved, call: Call) -> str:
    profile, credential = saved.profile, saved.credential
    assert credential is not None
    facts = [
        ("Profile URL", f"https://{profile.web_proxy_addr}"),
        ("Logged in as", profile.user),
        *_about(credential, call.now()),
    ]
    facts += [(f"  {what.replace('_', ' ')}", file) for what, file in files(saved, call).items()]
    return _facts(facts, "> " if saved.active else "  ")


def _about(credential: Any, now: float) -> list[tuple[str, str]]:
    traits = credential.traits
    groups = [*traits.get("kubernetes_groups", ()), *traits.get("kubernetes_users", ())]
    left = credential.not_after - now
    until = f"valid for {span(left)}" if left > 0 else "EXPIRED"
    return [
        ("Cluster", credential.cluster),
        ("Roles", ", ".join(credential.roles) or "-"),
        ("Logins", ", ".join(traits.get("logins", ())) or "-"),
        ("Kubernetes", f"enabled ({', '.join(groups)})" if groups else "disabled"),
        ("Valid until", f"{moment(credential.not_after)} [{until}]"),
    ]


def _facts(facts: Sequence[tuple[str, str]], mark: str) -> str:
    lines = [f"{name + ':':<20} {plain(what)}" for name, what in facts]
    pad = " " * len(mark)
    return "\n".join((mark if not number else pad) + line for number, line in enumerate(lines))
