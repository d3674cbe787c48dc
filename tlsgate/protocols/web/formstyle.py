"""The look of pages with forms, after the style that every page of the gate has.

The borders of fields are as dark as text that is read, since they alone say where to type
(WCAG 2.2, 1.4.11). Nothing depends on colour alone: what is wrong has a sign and words.
"""

from __future__ import annotations

FORM_STYLE = """
main,header,footer{max-width:44rem}
header a{display:flex;align-items:center;gap:.65rem;color:inherit;text-decoration:none}
header span{overflow-wrap:anywhere;text-align:right}
h1{margin-top:2.8rem;font-size:clamp(1.75rem,5.5vw,2.5rem)}
.slim,.slim+footer,header:has(+.slim){max-width:29rem}
.lead{font-size:1.0625rem}
.lead b{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
form{margin:1.9rem 0 0}
.step{padding:1.3rem 1.5rem 1.6rem;margin:0 0 1.1rem}
.step h2{display:flex;align-items:baseline;gap:.7rem;margin:0 0 .2rem;font-size:1.125rem}
.step h2 i{flex:none;width:1.65rem;height:1.65rem;border-radius:50%;background:var(--wash);
color:var(--accent);font:600 .875rem/1.65rem system-ui,sans-serif;text-align:center}
.step h2+p{margin:.3rem 0 0}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:0 1.1rem}
label{display:block;margin:1.05rem 0 .35rem;font-weight:600;font-size:.9375rem}
input{width:100%;padding:.62rem .8rem;border:1px solid var(--soft);border-radius:.55rem;
background:var(--ground);color:var(--ink);font:inherit}
input:focus-visible,button:focus-visible,summary:focus-visible{outline:2px solid var(--accent);
outline-offset:2px}
input[readonly]{border-style:dashed;color:var(--soft)}
input[aria-invalid]{border-color:var(--warn);box-shadow:inset 0 0 0 1px var(--warn)}
.code{max-width:12rem;font:500 1.25rem/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
letter-spacing:.18em}
.hint{margin:.4rem 0 0;color:var(--soft);font-size:.875rem}
.wrong{margin:.4rem 0 0;color:var(--warn);font-size:.9375rem;font-weight:550}
.note{display:flex;gap:.75rem;margin:1.6rem 0 0;padding:.85rem 1.1rem;border-radius:.7rem;
border:1px solid currentColor;color:var(--warn);background:var(--warnwash);font-weight:550}
.note.good{color:var(--accent);background:var(--wash)}
.note svg{flex:none;width:1.25rem;height:1.25rem;margin-top:.18rem}
.note p{margin:0}
button{padding:.7rem 1.5rem;border:1px solid var(--accent);border-radius:.6rem;
background:var(--accent);color:var(--ground);font:inherit;font-weight:650;cursor:pointer}
button:hover{filter:brightness(1.08)}
button.quiet{padding:.38rem .95rem;background:none;color:var(--accent);font-size:.9375rem}
.send{margin:1.5rem 0 0}
form+.hint{margin-top:1rem}
.error h1{color:var(--accent)}
.slim button{width:100%}
.scan{display:grid;grid-template-columns:max-content 1fr;gap:1.5rem;margin-top:1rem;
align-items:start}
.qr{display:block;width:12.5rem;height:12.5rem;border-radius:.5rem;border:1px solid var(--line)}
.scan ul{margin:0;padding:0;list-style:none;color:var(--soft)}
.scan li+li{margin-top:.8rem}
.secret{display:block;max-width:15.5rem;margin-top:.35rem;padding:.5rem .8rem;border-radius:.5rem;
background:var(--code);color:var(--ink);font-size:.9375rem;letter-spacing:.04em;
word-spacing:.15em;user-select:all;overflow-wrap:anywhere}
.who+.who{margin-left:.35rem}
.top{display:flex;flex-wrap:wrap;align-items:end;justify-content:space-between;gap:.5rem 1.5rem}
.top form{margin:0 0 .35rem}
.card+.hint{margin-top:.8rem}
@media(max-width:40rem){
.step{padding:1.1rem 1.1rem 1.3rem}
.pair{display:block}
.scan{grid-template-columns:1fr;justify-items:center}
.scan ul{justify-self:stretch}
form button{width:100%}
.top form button{width:auto}}
@media(forced-colors:active){.note,.qr{border:1px solid}}
"""
