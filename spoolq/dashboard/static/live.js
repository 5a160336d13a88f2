// A page that moves: a stream tells that there is something new, htmx fetches the page again and morphs what differs.
// Nothing is fetched while the tab is hidden, or when refreshing is off.
(function () {
  "use strict";
  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not kept, then */ } };
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const live = document.getElementById("live");
  const refresh = document.getElementById("refresh");
  const theme = document.getElementById("theme");
  for (const each of document.querySelectorAll(".needs-script")) each.hidden = false;

  // on a phone the navigation is wider than the screen
  const current = document.querySelector(".top nav [aria-current]");
  if (current) current.parentElement.scrollLeft = current.offsetLeft - (innerWidth - current.offsetWidth) / 2;

  // refresh
  let stream = null, busy = false;
  const every = () => Number(refresh.value);

  function listen() {
    if (stream) stream.close();
    stream = null;
    document.documentElement.classList.remove("deaf");
    if (!live || !live.dataset.live || !every() || document.hidden) return;
    stream = new EventSource(`${live.dataset.live}?every=${every()}`);
    stream.addEventListener("sample", fetchAgain);
    stream.addEventListener("open", () => document.documentElement.classList.remove("deaf"));
    stream.addEventListener("error", () => document.documentElement.classList.add("deaf"));
  }

  async function fetchAgain() {
    const selected = String(document.getSelection() || "") !== "";
    if (busy || selected) return; // who marks text to copy it is not to lose it
    busy = true;
    try {
      await htmx.ajax("GET", live.dataset.here, {
        source: live, target: "#live", select: "#live", selectOOB: "#health:outerMorph", swap: "outerMorph",
      });
      document.dispatchEvent(new CustomEvent("spoolq:fresh"));
    } finally {
      busy = false;
    }
  }

  if (refresh) {
    const choice = kept("spoolq-refresh");
    refresh.value = [...refresh.options].some((each) => each.value === choice) ? choice : "2";
    refresh.addEventListener("change", () => { remember("spoolq-refresh", refresh.value); listen(); });
    document.addEventListener("visibilitychange", listen);
    window.addEventListener("pagehide", () => { if (stream) stream.close(); });
    window.addEventListener("pageshow", listen);
  }

  // theme
  const order = ["auto", "light", "dark"];
  function show() { theme.textContent = `Theme: ${document.documentElement.dataset.theme || "auto"}`; }
  if (theme) {
    show();
    theme.addEventListener("click", () => {
      const now = document.documentElement.dataset.theme || "auto";
      const next = order[(order.indexOf(now) + 1) % order.length];
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      remember("spoolq-theme", next);
      show();
      document.dispatchEvent(new CustomEvent("spoolq:theme"));
    });
  }
})();
