"""The look of the gate's pages, as one style sheet that stands in each of them.

Two palettes by the reader's own choice of light or dark; contrast of text is at least
4.5:1 in both (WCAG 2.2, 1.4.3). Below 40 rem the table becomes a list of cards.
Below 34 rem the left of the drawing, where clients come from, is cut off.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;
--ground:#f4f5f0;--card:#fdfdfb;--ink:#17211c;--soft:#55625b;--line:#d9dfd8;--accent:#0b6b4d;
--wash:#e3efe8;--warn:#8a4b06;--warnwash:#f7ebd8;--blue:#2b5797;--bluewash:#e4ecf7;--code:#eceee8}
@media(prefers-color-scheme:dark){:root{
--ground:#0e1311;--card:#151c19;--ink:#e6ece8;--soft:#9aa8a1;--line:#28332e;--accent:#63d2a6;
--wash:#143026;--warn:#f0b561;--warnwash:#33260f;--blue:#93b8ee;--bluewash:#182740;
--code:#0b100e}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main,header,footer{max-width:54rem;margin:0 auto;padding:0 1.5rem}
header{display:flex;align-items:center;gap:.65rem;padding-top:1.6rem;color:var(--soft);
font-size:.9375rem}
header svg{width:1.75rem;height:1.75rem;color:var(--accent);flex:none}
header b{color:var(--ink);font-weight:650;letter-spacing:-.01em}
header span{margin-left:auto}
header .login{border:1px solid var(--line);border-radius:.5rem;padding:.25rem .7rem;
color:var(--ink);background:var(--card);text-decoration:none}
header .login:hover,header .login:focus-visible{border-color:var(--accent);color:var(--accent)}
h1{margin:3.4rem 0 .3rem;font-size:clamp(2rem,7vw,3.25rem);line-height:1.08;font-weight:700;
letter-spacing:-.032em;overflow-wrap:anywhere;text-wrap:balance}
.lead{max-width:36rem;margin:.9rem 0 0;color:var(--soft);font-size:1.125rem}
.address{display:inline-flex;flex-wrap:wrap;align-items:baseline;gap:.2rem .7rem;margin:1.6rem 0 0;
padding:.5rem .9rem;border:1px solid var(--line);border-radius:.6rem;background:var(--card)}
.address span{color:var(--soft);font-size:.8125rem}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.address code{font-size:1rem;overflow-wrap:anywhere}
.picture{margin:2.2rem 0 0;overflow:hidden}
.picture svg{display:block;width:100%;height:auto}
.picture text{font:500 14.5px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
fill:var(--ink)}
.picture .quiet{fill:var(--soft);font-weight:400}
.picture .way{fill:none;stroke:var(--accent);stroke-width:1.75;stroke-linecap:round;opacity:.8}
.picture .in{fill:none;stroke:var(--soft);stroke-width:1.25;stroke-linecap:round;opacity:.55}
.picture .gate{fill:none;stroke:var(--accent);stroke-width:5.5;stroke-linecap:round}
.picture .end{fill:var(--accent)}
h2{margin:3.2rem 0 .2rem;font-size:1.25rem;letter-spacing:-.015em;font-weight:650}
h2+p{margin:.15rem 0 1.1rem;color:var(--soft)}
.card{border:1px solid var(--line);border-radius:.8rem;background:var(--card);overflow:hidden}
table{width:100%;border-collapse:collapse}
th,td{padding:.72rem 1.1rem;text-align:left;vertical-align:baseline;
border-top:1px solid var(--line)}
thead th{border-top:0;padding-block:.55rem;color:var(--soft);font-size:.8125rem;font-weight:500}
tbody th{font-weight:600;white-space:nowrap}
td code{font-size:.875rem;overflow-wrap:anywhere}
.who{display:inline-block;padding:.08rem .6rem;border-radius:1rem;font-size:.8125rem;
font-weight:550;white-space:nowrap;color:var(--accent);background:var(--wash)}
.who.plain{color:var(--soft);background:var(--code)}
.who.open{color:var(--warn);background:var(--warnwash)}
.who.behind{color:var(--blue);background:var(--bluewash)}
pre{margin:0;padding:1rem 1.15rem;background:var(--code);overflow-x:auto;font-size:.875rem;
line-height:1.75;tab-size:2}
pre i{color:var(--soft);font-style:normal}
dl{margin:0;display:grid;grid-template-columns:max-content 1fr}
dt,dd{margin:0;padding:.62rem 1.1rem;border-top:1px solid var(--line)}
dt:first-of-type,dt:first-of-type+dd{border-top:0}
dt{font-weight:600;padding-right:1.6rem}
dd{color:var(--soft)}
dd code{color:var(--ink);font-size:.875rem}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:.18em}
a:hover{text-decoration-thickness:2px}
a:focus-visible{outline:2px solid var(--accent);outline-offset:3px;border-radius:3px}
footer{margin-top:4rem;padding-block:1.3rem 2.6rem;color:var(--soft);font-size:.875rem}
footer p{margin:0;padding-top:1.2rem;border-top:1px solid var(--line)}
.alone{min-height:70vh;display:grid;align-content:center}
.alone h1{margin:0;color:var(--accent)}
@media(max-width:40rem){
main,header,footer{padding-inline:1.1rem}
h1{margin-top:2.3rem}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,tbody th,td{display:block}
tr{padding:.85rem 1.1rem;border-top:1px solid var(--line)}
tbody tr:first-child{border-top:0}
tbody th,td{padding:.1rem 0;border:0}
td{color:var(--soft)}
td code{color:var(--ink)}
.who{margin-top:.3rem}
dl{display:block}
dt{padding-bottom:0}
dd{padding-top:0;border-top:0}
dt:first-of-type+dd{border-top:0}}
@media(max-width:34rem){
.picture{margin-top:1.6rem}
.picture svg{width:166%;margin-left:-66%}}
@media print{body{background:none}.card{break-inside:avoid}}
"""
