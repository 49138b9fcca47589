/** The report's one sheet: light and dark, readable on a phone and on paper. */
export const STYLE = `
:root{color-scheme:light dark;--paper:light-dark(#fafaf8,#0e1012);--panel:light-dark(#fff,#15181b);--ink:light-dark(#17191c,#e9ebed);--soft:light-dark(#5d636c,#99a1ab);--line:light-dark(#e2e2dc,#2a2f35);
--c1:light-dark(#4a50cf,#9499f5);--c2:light-dark(#0b7d61,#3fc39c);--c3:light-dark(#9c5b06,#e0a24a);--c4:light-dark(#bd2b2b,#f58a83);--c5:light-dark(#a0306f,#ec8fc3);--c6:light-dark(#3a6b8c,#82b9dc);
--good:light-dark(#0c7650,#55cb98);--bad:light-dark(#bd2b2b,#f58a83)}
*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:24px 20px 64px;background:var(--paper);color:var(--ink);font:15px/1.55 ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px}p{margin:8px 0;max-width:80ch}.soft,figcaption,.note{color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;margin:12px 0;background:var(--panel);font-size:13.5px}th,td{padding:7px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:600;color:var(--soft);vertical-align:bottom}th.text,td.text,.remark td{text-align:left}td:first-child{min-width:150px}.remark td{padding-top:0;max-width:0}.remark p{margin:0;position:sticky;left:10px;width:min(100%,calc(100vw - 60px));max-width:none;color:var(--soft);font-size:12.5px}tr:has(+.remark) td{border-bottom:0}a{color:var(--c1)}li{margin:4px 0;max-width:80ch}.good{color:var(--good)}.bad{color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:16px}figure{margin:0;padding:14px;background:var(--panel);border:1px solid var(--line);border-radius:10px}figcaption{font-weight:600;margin-bottom:6px}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:12px}svg .value,svg .name{fill:var(--ink)}.grid{stroke:var(--line)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}
.series polyline{fill:none;stroke:var(--c);stroke-width:2}.series circle,.series rect{fill:var(--c)}.margin{stroke:var(--c)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0;padding:0;font-size:13px}.legend span{display:inline-block;width:18px;height:3px;margin-right:6px;vertical-align:middle;background:var(--c)}.legend .marks{width:9px;height:9px;border-radius:50%}
@media(max-width:700px){svg text{font-size:16px}th:first-child:not([colspan]),tr:not(.remark)>td:first-child{position:sticky;left:0;background:var(--panel);min-width:112px}body{padding:16px 12px 48px}th,td{padding:6px 8px}}
@media print{body{max-width:none}}
`;
