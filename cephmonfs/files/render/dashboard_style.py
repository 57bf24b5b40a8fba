"""How `dashboard.html` looks: light or dark as the reader's desktop is, from a phone's width up."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --text: #1b2230; --soft: #5a6474; --rule: #e1e5eb; --track: #e6eaf0;
  --blue: #2a66b8; --area: #2a66b822; --good: #18794e; --warn: #8f5e00; --bad: #b42318; --badbg: #fdecea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151b; --card: #1a2029; --text: #e5e9ef; --soft: #9aa6b6; --rule: #2b333f; --track: #2b333f;
    --blue: #6fabf2; --area: #6fabf22a; --good: #4ec98f; --warn: #e0b040; --bad: #ff8a80; --badbg: #3a1d1d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 20px 24px 32px; max-width: 1240px; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%;
}
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; margin: 0 0 16px; }
h1 { font-size: 20px; margin: 0; }
h2 {
  font-size: 12px; margin: 0 0 12px; color: var(--soft); font-weight: 600; letter-spacing: .04em;
  text-transform: uppercase;
}
code, .num { font-variant-numeric: tabular-nums; }
code { font: 12.5px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
main { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 16px; }
section {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 18px; grid-column: span 6;
}
section.narrow { grid-column: span 4; }
section.wide { grid-column: span 8; }
section.full { grid-column: span 12; }
.alarm {
  background: var(--badbg); color: var(--bad); border: 1px solid; border-radius: 10px; padding: 10px 16px;
  margin: 0 0 16px; font-weight: 600; overflow-wrap: anywhere;
}
.stale section { opacity: .8; } .stale .good { color: var(--soft); }
.still { visibility: hidden; color: var(--bad); font-weight: 600; animation: appear 0s linear 45s forwards; }
@keyframes appear { to { visibility: visible; } }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.verdict { font-size: 24px; font-weight: 700; margin: 0 0 10px; overflow-wrap: anywhere; }
ul { list-style: none; margin: 0; padding: 0; }
ul + dl { margin-top: 14px; }
li { padding: 7px 0; border-top: 1px solid var(--rule); overflow-wrap: anywhere; }
li b { display: block; font-size: 12.5px; }
.big { font-size: 30px; font-weight: 700; line-height: 1.1; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 10px 0 14px; }
.facts div { min-width: 78px; }
.facts span { display: block; font-size: 12px; color: var(--soft); }
.facts b { font-size: 16px; font-weight: 600; }
.bar { display: block; height: 8px; border-radius: 4px; background: var(--track); overflow: hidden; min-width: 60px; }
.bar i { display: block; height: 100%; background: var(--blue); border-radius: 4px 0 0 4px; }
.bar.warn i { background: var(--warn); } .bar.bad i { background: var(--bad); }
.chart {
  display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 4px 8px; font-size: 11.5px; color: var(--soft);
}
.chart .y { display: flex; flex-direction: column; justify-content: space-between; text-align: right; margin: -8px 0; }
.chart .x { grid-column: 2; display: flex; justify-content: space-between; }
.chart svg { width: 100%; height: 150px; display: block; overflow: visible; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th {
  text-align: left; font-weight: 500; font-size: 12px; color: var(--soft); padding: 0 14px 6px 0; white-space: nowrap;
}
td { border-top: 1px solid var(--rule); padding: 7px 14px 7px 0; vertical-align: top; }
th.num, td.num { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
td.used { min-width: 130px; }
td.used .bar { margin-top: 3px; }
dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 5px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin: 18px 0 0; font-size: 12.5px; color: var(--soft); }
@media (max-width: 900px) {
  section, section.narrow, section.wide { grid-column: span 12; }
}
@media (max-width: 520px) {
  body { padding: 14px 12px 24px; } section { padding: 14px; } main { gap: 12px; }
  .phone-off { display: none; } td.used { min-width: 84px; } td, th { padding-right: 10px; }
}
"""
