"""The few pages that a browser sees at an application before the application itself.

Constant text; nothing that was sent is in them (S30). No script, no picture, no other address.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#f4f5f0;--ink:#17211c;--soft:#55625b;--accent:#0b6b4d}
@media(prefers-color-scheme:dark){:root{--ground:#0e1311;--ink:#e6ece8;--soft:#9aa8a1;
--accent:#63d2a6}}
body{margin:0;min-height:100vh;display:grid;align-content:center;background:var(--ground);
color:var(--ink);font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{box-sizing:border-box;width:100%;max-width:29rem;margin:0 auto;padding:1.5rem}
h1{margin:0;color:var(--accent);font-size:2.5rem;letter-spacing:-.03em}
p{margin:.9rem 0 0;color:var(--soft)}
a,button{display:inline-block;padding:.6rem 1.4rem;border:1px solid var(--accent);
border-radius:.6rem;background:var(--accent);color:var(--ground);font:inherit;font-weight:650;
text-decoration:none;cursor:pointer}
a:focus-visible,button:focus-visible{outline:2px solid var(--accent);outline-offset:3px}
"""

_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def policy(console: str) -> bytes:
    """What the pages may do: nothing but show themselves, and send their form.

    Args:
        console: where logging out leads; browsers hold a form's redirects to this as well.
    """
    return (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; "
        f"form-action 'self' https://{console}; frame-ancestors 'none'"
    ).encode()


def page(status: int, sentence: str, *, again: bool = False) -> bytes:
    """A page that says what is wrong; *again*: with a link to the application."""
    link = '<p><a href="/">Open the application</a></p>' if again else ""
    return _document(f"Error {status}", f"<h1>{status}</h1><p>{escape(sentence)}</p>{link}")


def question(console: str) -> bytes:
    """The page that asks whether to log out."""
    return _document(
        "Log out",
        "<h1>Log out?</h1><p>Your session ends here, at the gateway, and at all of its "
        "applications.</p>"
        '<form method="post" action="/x-tlsgate-logout"><p><button>Log out</button></p></form>'
        f"<p>Or go back to <b>{escape(console)}</b>.</p>",
    )


def _document(title: str, body: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} \u00b7 tlsgate</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    ).encode()
