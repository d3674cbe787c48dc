"""The look of the launcher, and its script: finding by typing, and copying.

Without the script all is there: every target, every command, to be read and selected. It asks
for nothing and changes nothing but what is shown.
"""

from __future__ import annotations

BOARD_STYLE = """
[hidden]{display:none!important}
.board,header:has(+.board){max-width:64rem}
.board .lead{max-width:none}
.find{position:sticky;top:0;z-index:1;display:flex;align-items:center;gap:.8rem;
margin:1.8rem -1.5rem 0;padding:.7rem 1.5rem;background:var(--ground)}
.find label{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.find input{flex:1;min-width:0;background:var(--card)}
.find output{color:var(--soft);font-size:.875rem;white-space:nowrap}
.find output:empty{display:none}
kbd{padding:.05rem .5rem;border:1px solid var(--line);border-radius:.35rem;color:var(--soft);
background:var(--card);font:.8125rem/1.5 ui-monospace,Menlo,Consolas,monospace}
.board section{margin-top:2.4rem}
.board h2{display:flex;align-items:baseline;gap:.6rem;margin:0 0 .9rem}
.board h2 small{color:var(--soft);font-weight:500;font-size:.875rem}
.tiles,.rows{margin:0;padding:0;list-style:none}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:.8rem}
.tile{display:flex;flex-direction:column;height:100%;padding:1rem 1.15rem;border-radius:.8rem;
border:1px solid var(--line);background:var(--card);color:inherit;text-decoration:none}
a.tile:hover,a.tile:focus-visible{border-color:var(--accent)}
a.tile:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.tile b{font-weight:650;font-size:1.0625rem;overflow-wrap:anywhere}
a.tile b{display:flex;justify-content:space-between;gap:.6rem}
a.tile b::after{content:"\\2197\\FE0E";color:var(--accent);font-weight:500}
.about{margin:.1rem 0 0;color:var(--soft);font-size:.9375rem;overflow-wrap:anywhere}
.tile .where{margin:.35rem 0 0;color:var(--soft);font-size:.8125rem;overflow-wrap:anywhere}
.labels{display:flex;flex-wrap:wrap;gap:.3rem;margin:.6rem 0 0;font-size:.8125rem}
.tile .labels{margin-top:auto;padding-top:.7rem}
.labels span{padding:.02rem .55rem;border-radius:1rem;color:var(--soft);background:var(--code);
overflow-wrap:anywhere}
.rows{border:1px solid var(--line);border-radius:.8rem;background:var(--card);overflow:hidden}
.rows>li{padding:1rem 1.15rem;border-top:1px solid var(--line)}
.rows>li:first-child,.rows>li[hidden]:first-child+li{border-top:0}
.title{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .7rem}
.title .labels{margin:0 0 0 auto}
.title h3{margin:0;font-size:1.0625rem;font-weight:650;overflow-wrap:anywhere}
.line{display:flex;align-items:stretch;gap:.5rem;margin:.6rem 0 0}
.line code{flex:1;min-width:0;padding:.42rem .8rem;border-radius:.5rem;background:var(--code);
font-size:.875rem;overflow-wrap:anywhere;user-select:all}
.line code span{display:inline-block;max-width:100%}
.tile .line code{padding-inline:.6rem;font-size:.8125rem}
.tile button.copy{min-width:0;padding-inline:.6rem}
.line code i{color:var(--soft);user-select:none}
button.copy{flex:none;min-width:5.2rem;padding:.2rem .8rem;border:1px solid var(--line);
border-radius:.5rem;background:none;color:var(--accent);font-size:.875rem;font-weight:550}
button.copy:hover{border-color:var(--accent);filter:none}
.why{margin:.55rem 0 0;color:var(--soft);font-size:.875rem}
.why+.line{margin-top:.25rem}
details{margin:.7rem 0 0}
summary{display:inline-block;cursor:pointer;border-radius:.3rem;color:var(--accent);
font-size:.875rem}
summary::before{content:"\\25B8";display:inline-block;width:1.1em}
[open]>summary::before{content:"\\25BE"}
summary::-webkit-details-marker{display:none}
.more{margin:3.2rem 0 4rem;padding-top:1.1rem;border-top:1px solid var(--line)}
.more>summary{font-size:1rem;font-weight:600}
.more h2{margin-top:1.9rem}
[data-part=nodes] .rows{display:grid;gap:0 1px;background:var(--line);
grid-template-columns:repeat(auto-fit,minmax(min(27rem,100%),1fr))}
[data-part=nodes] .rows>li{border:0;box-shadow:0 1px var(--line);background:var(--card)}
.none{margin:0;padding:1.1rem 1.15rem;border:1px dashed var(--line);border-radius:.8rem;
color:var(--soft)}
@media(max-width:40rem){
.find{margin-inline:-1.1rem;padding-inline:1.1rem}
.find kbd{display:none}
.title .labels{margin:.15rem 0 0;flex-basis:100%}
.line button.copy{width:auto;min-width:0;padding-inline:.7rem}
.tile,.rows>li{padding:.9rem 1rem}}
"""

BOARD_SCRIPT = """
(() => {
"use strict";
const all = (where, what) => Array.from(where.querySelectorAll(what));
const items = all(document, "[data-words]"), box = document.querySelector(".find");
if (box) {
  const find = box.querySelector("input"), told = box.querySelector("output");
  const nothing = document.querySelector(".none.nobody");
  const shown = () => items.filter((one) => !one.hidden);
  const look = () => {
    const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const one of items)
      one.hidden = !words.every((word) => one.dataset.words.includes(word));
    for (const part of all(document, "section[data-part]"))
      part.hidden = words.length > 0 && !all(part, "[data-words]").some((one) => !one.hidden);
    nothing.hidden = words.length === 0 || shown().length > 0;
    told.textContent = words.length ? `${shown().length} of ${items.length}` : "";
  };
  box.hidden = false;
  look();
  find.addEventListener("input", look);
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { find.value = ""; look(); }
    if (event.key === "Enter" && find.value.trim()) {
      const first = shown()[0], to = first && first.querySelector("a,button,summary");
      if (to && to.matches("a")) to.click(); else if (to) to.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input,textarea,select");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    find.focus();
    find.select();
  });
}
if (navigator.clipboard)
  for (const button of all(document, "button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentNode.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.dataset.text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
"""
