// What an accessibility checker would find, as a list of sentences: labels, names, headings, language, landmarks, contrast.
(() => {
  const found = [];
  const say = (what, el) => found.push(what + ": " + el.outerHTML.slice(0, 120));
  const seen = (el) => {
    if (el.closest("[aria-hidden=true]")) return false;
    const r = el.getBoundingClientRect(), s = getComputedStyle(el);
    return r.width > 0 && r.height > 0 && s.visibility !== "hidden" && s.display !== "none" && r.right > 0;
  };
  const nameOf = (el) => {
    const by = el.getAttribute("aria-labelledby");
    if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent || "").join(" ").trim();
    const label = el.getAttribute("aria-label");
    if (label) return label.trim();
    if (el.labels && el.labels.length) return [...el.labels].map((l) => l.textContent).join(" ").trim();
    return (el.textContent || "").trim();
  };
  if (!document.documentElement.lang) found.push("no language");
  if (!document.title.trim()) found.push("no title");
  for (const mark of ["main", "header", "nav", "footer"]) {
    const n = document.querySelectorAll(mark).length;
    if (n === 0 || (mark === "main" && n > 1)) found.push(n + " of <" + mark + ">");
  }
  const navs = [...document.querySelectorAll("nav")].map((n) => n.getAttribute("aria-label") || "");
  if (navs.includes("") || new Set(navs).size !== navs.length) found.push("navigations without names of their own: " + navs);
  for (const el of document.querySelectorAll("input:not([type=hidden]), select, textarea, button, a[href], summary, [role=img], [role=region]")) {
    if (!el.hidden && !nameOf(el)) say("no name", el);
  }
  let level = 0;
  const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  for (const h of headings) {
    const l = Number(h.tagName[1]);
    if (l > level + 1) say("a heading of level " + l + " after " + level, h);
    level = l;
  }
  if (headings.filter((h) => h.tagName === "H1").length !== 1) found.push("not one h1");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) found.push("ids are there twice");
  for (const t of document.querySelectorAll("[tabindex]")) if (Number(t.getAttribute("tabindex")) > 0) say("tabindex above 0", t);
  if (document.documentElement.scrollWidth > document.documentElement.clientWidth + 1) {
    found.push("the page is wider than the window: " + document.documentElement.scrollWidth + " > " + document.documentElement.clientWidth);
  }

  // Contrast by WCAG 2.2, 1.4.3: relative luminance of text against what is painted behind it.
  const rgba = (s) => { const m = s.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const lum = (c) => { const f = [0, 1, 2].map((i) => { const v = c[i] / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const behind = (el) => {
    const stack = [];
    for (let e = el; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 0) { stack.push(c); if (c[3] === 1) break; } }
    let back = [255, 255, 255, 1];
    for (const c of stack.reverse()) back = over(c, back);
    return back;
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const el = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !seen(el) || el.closest("script, style, svg, option")) continue;
    texts++;
    const s = getComputedStyle(el), back = behind(el), front = over(rgba(s.color), back);
    const a = lum(front), b = lum(back), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(s.fontSize), large = size >= 24 || (size >= 18.66 && Number(s.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) say("contrast " + ratio.toFixed(2) + " of " + s.color + " on " + back.slice(0, 3), el);
  }
  if (texts < 10) found.push("only " + texts + " texts were looked at");
  for (const r of document.querySelectorAll("svg rect:not(.ground)")) {
    if (!seen(r)) continue;
    const ground = r.parentElement.querySelector(".ground");
    const back = ground ? rgba(getComputedStyle(ground).fill) : behind(r.closest("svg").parentElement);
    const a = lum(rgba(getComputedStyle(r).fill)), b = lum(back), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 3) { say("contrast of a mark " + ratio.toFixed(2), r); break; }
  }
  return found;
})()
