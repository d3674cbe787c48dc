"""The table in docs/alpn.md, made from `TOKENS`: `python -m tests.alpn_page` writes it."""

from __future__ import annotations

from pathlib import Path

from tlsgate.core.tokens import TOKENS, Token

PAGE = Path(__file__).parents[1] / "docs" / "alpn.md"
BEGIN, END = "<!-- made by `python -m tests.alpn_page` -->\n", "<!-- end -->\n"


def table() -> str:
    """The table of every token that the gateway knows by itself."""
    head = "| token | inside | client certificate | the gateway shows |\n|---|---|---|---|\n"
    return head + "".join(map(_row, TOKENS))


def made(page: str) -> str:
    """*page* with the table as it has to be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def _row(token: Token) -> str:
    values = ", ".join(f"`{value.decode()}`" for value in token.values)
    holders = f" ({' or '.join(token.holders)})" if token.holders else ""
    shows = token.presents if token.presents == "by name" else f"{token.presents} certificate"
    return f"| {values} | {token.inside} | {token.client_cert}{holders} | {shows} |\n"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text()))
