// Light or dark before the first paint, so that nothing flashes. Without a choice the system's holds (style.css).
(function () {
  "use strict";
  let kept = null;
  try { kept = localStorage.getItem("spoolq-theme"); } catch { /* storage is switched off: the system's choice holds */ }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
