"""How the page looks, on a bright and on a dark screen."""

STYLE = """
:root { --ink: #1c2127; --soft: #5b6570; --paper: #fff; --card: #f4f6f8; --line: #d8dde2; --good: #1a7f4b;
        --weak: #c2410c; --critical: #b91c1c; --trusted: #2563a8; --rejected: #9aa3ad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa5b1; --paper: #15191d; --card: #1f252b; --line: #333c45; --good: #4cc38a;
          --weak: #fb923c; --critical: #f87171; --trusted: #6aa9e9; --rejected: #5c6670; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1.2rem; color: var(--ink); background: var(--paper);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; } h3 { font-size: 1rem; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0; }
.facts div { background: var(--card); border-radius: 8px; padding: .5rem .9rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--soft); text-align: center; }
svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; }
.camera { fill: none; stroke: #2563a8; stroke-width: 1.2; pointer-events: visiblePainted; }
.camera.weak { stroke: #ea580c; stroke-width: 2; }
line.trusted { stroke: var(--trusted); } line.critical { stroke: var(--critical); stroke-width: 3; }
line.rejected { stroke: var(--rejected); stroke-dasharray: 4 4; }
.node { fill: var(--trusted); } .node.weak { fill: var(--weak); r: 7px; }
svg text { font-size: 11px; fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.legend span { margin-right: 1.4rem; padding-left: 1.7rem; position: relative; color: var(--soft); }
.legend span::before { content: ""; position: absolute; left: 0; top: .55em; width: 1.3rem; border-top: 3px solid; }
.legend .trusted::before { color: var(--trusted); } .legend .critical::before { color: var(--critical); }
.legend .rejected::before { color: var(--rejected); border-top-style: dashed; }
.legend .weak::before { width: .7rem; height: .7rem; top: .3em; border: 0; border-radius: 50%;
                        background: var(--weak); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: .8rem; }
.card { background: var(--card); border-radius: 8px; padding: .6rem; color: var(--soft); font-size: .85rem; }
.card b { color: var(--ink); overflow-wrap: anywhere; } .card.weak { outline: 2px solid var(--weak); }
.maps { display: grid; grid-template-columns: repeat(3, 1fr); gap: 3px; } .maps img { width: 100%; border-radius: 4px; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25rem 1.2rem .25rem 0; vertical-align: top; }
th { color: var(--soft); font-weight: 500; } tbody tr { border-top: 1px solid var(--line); }
.good { color: var(--good); } ul { padding-left: 1.2rem; } li { margin: .25rem 0; }
pre { background: var(--card); padding: .8rem; border-radius: 8px; overflow-x: auto; font-size: .8rem; }
"""
