// Takes the theme that was chosen before the page is drawn, so that it does not flash. Without a choice the system's holds.
"use strict";
(function () {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch { /* no storage, no choice */ }
})();
