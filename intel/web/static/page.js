// What is pleasant but not needed: the theme's button, and the key / for the search.
"use strict";
(function () {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", "Use " + (dark() ? "light" : "dark") + " colours"); };
  if (button) {
    button.hidden = false;
    label();
    system.addEventListener("change", label);
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page */ }
      label();
    });
  }
  document.addEventListener("keydown", (e) => {
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target instanceof Element && e.target.closest("input, select, textarea, [contenteditable]")) return;
    const box = document.querySelector("[data-search]") || document.querySelector("input[type=search]");
    e.preventDefault();
    if (box) { box.focus(); box.select(); } else { location.href = "/"; }
  });
})();
