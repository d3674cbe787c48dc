"""The frame of pages for people: head, style, policy, and the pieces that forms are made of.

Everything that comes from elsewhere is escaped here, and nothing that a browser sent is ever
in a page (S30): fields come back empty. No page needs a script; the one that has one, to find
things in it, names its digest in the policy.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from tlsgate.core.addresses import split
from tlsgate.protocols.web.formstyle import FORM_STYLE
from tlsgate.protocols.web.picture import ICON, MARK
from tlsgate.protocols.web.style import STYLE

_STYLE = STYLE + FORM_STYLE


def policy(*, style: str = "", script: str = "", forms: str = "") -> bytes:
    """What a page may do.

    Args:
        style: what it has beside the style of all pages.
        script: its only one; "" for none.
        forms: an origin to which the answer to its form may lead, beside our own: browsers hold
            the redirects that follow a form to the policy as well.
    """
    run = f"script-src '{_digest(script)}'; " if script else ""
    return (
        f"default-src 'none'; style-src '{_digest(_STYLE + style)}'; {run}img-src data:; "
        f"base-uri 'none'; form-action 'self'{forms and ' ' + forms}; frame-ancestors 'none'"
    ).encode()


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


POLICY = policy()

_SIGNS = {
    "": '<path d="M12 8v5M12 16.5v.1"/>',
    "good": '<path d="m8 12.5 2.8 2.8L16 9.5"/>',
}


def document(
    title: str,
    body: str,
    *,
    name: str = "",
    kind: str = "",
    style: str = "",
    script: str = "",
    refresh: str = "",
) -> bytes:
    """A whole page.

    Args:
        title: of the tab; it never has anything of the address in it.
        body: HTML below the header.
        name: of the cluster.
        kind: "slim" for a narrow page with one form, "board" for a wide one.
        style, script: as of `policy`.
        refresh: a path of ours where the browser goes on to by itself.
    """
    on = f'<meta http-equiv="refresh" content="0;url={escape(refresh)}">' if refresh else ""
    end = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{on}'
        f'<link rel="icon" href="{ICON}"><title>{escape(title)} \u00b7 tlsgate</title>'
        f"<style>{_STYLE}{style}</style></head><body>"
        f'<header><a href="/">{MARK}<b>tlsgate</b></a><span>{escape(name)}</span></header>'
        f"<main{kind and f' class={kind}'}>{body}</main>{end}</body></html>\n"
    ).encode()


def problem(code: int, sentence: str) -> bytes:
    """The page for an error that no form can mend: its number and a sentence."""
    body = f'<div class="error"><h1>{code}</h1></div><p class="lead">{escape(sentence)}</p>'
    return document(f"Error {code}", body, kind="slim")


def note(sentence: str, kind: str = "") -> str:
    """A sentence that is read out at once; *kind* "" for a problem, or "good"."""
    if not sentence:
        return ""
    role = "status" if kind else "alert"
    return (
        f'<div class="note {kind}" role="{role}"><svg viewBox="0 0 24 24" aria-hidden="true" '
        'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round">'
        f'<circle cx="12" cy="12" r="9.5"/>{_SIGNS[kind]}</svg><p>{escape(sentence)}</p></div>'
    )


def field(
    name: str,
    label: str,
    attributes: str,
    *,
    hint: str = "",
    wrong: str = "",
    first: bool = False,
    form: str = "",
) -> str:
    """A field with its label, what is right for it, and what is wrong with it.

    Args:
        name: in the form.
        attributes: constant HTML.
        hint, wrong: sentences; "" for none.
        first: where a reader begins to type.
        form: which one it is of, where the page has several with such a field.
    """
    ident = f"{form}-{name}" if form else name
    about = [f"{ident}-{part}" for part, text in (("wrong", wrong), ("hint", hint)) if text]
    marks = f' aria-describedby="{" ".join(about)}"' if about else ""
    marks += ' aria-invalid="true"' if wrong else ""
    marks += " autofocus" if first else ""
    said = f'<p class="wrong" id="{ident}-wrong">{escape(wrong)}</p>' if wrong else ""
    said += f'<p class="hint" id="{ident}-hint">{escape(hint)}</p>' if hint else ""
    return (
        f'<label for="{ident}">{escape(label)}</label>'
        f'<input id="{ident}" name="{name}" {attributes}{marks}>{said}'
    )


def hidden(name: str, value: str) -> str:
    """A field that nobody sees."""
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def commands(lines: Iterable[tuple[str, str]]) -> str:
    """Commands to run, each under what it does."""
    parts = "\n\n".join(f"<i># {escape(what)}</i>\n{escape(line)}" for what, line in lines)
    return f'<div class="card"><pre>{parts}</pre></div>'


def reached(address: str | None) -> str | None:
    """An address as a client's command takes it: "host:port"; None where that is not known."""
    if address is None:
        return None
    host, port = split(address)
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"[{host}]:{port or 443}" if ":" in host else f"{host}:{port or 443}"
