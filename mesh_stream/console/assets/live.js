// The browser's half of the heart beat: no beat for some seconds, or no connection, and the page
// says that nothing on it is known. And the switch between colour schemes.
"use strict";
(() => {
  const SILENCE = 5000;
  const root = document.documentElement;
  let beat = null;
  let heard = performance.now();

  const look = () => {
    const heart = document.getElementById("beat");
    if (heart && heart.dataset.beat !== beat) {
      beat = heart.dataset.beat;
      heard = performance.now();
    }
    const away = document.getElementById("popup")?.getAttribute("aria-hidden") === "false";
    const lost = away || performance.now() - heard > SILENCE;
    const title = lost ? "unknown - mesh" : heart?.dataset.title;
    if (title && document.title !== title) document.title = title;
    if (root.classList.contains("lost") === lost) return;
    root.classList.toggle("lost", lost);
    const alarm = document.getElementById("lost");
    if (alarm) alarm.textContent = lost
      ? "The console does not answer: nothing on this page is known now. Trying to reach it again."
      : "";
  };

  const SCHEMES = ["auto", "light", "dark"];
  const kept = () => {
    try { return localStorage.getItem("scheme") ?? "auto"; } catch { return "auto"; }
  };
  let scheme = SCHEMES.includes(kept()) ? kept() : "auto";
  const dress = () => {
    root.dataset.scheme = scheme;
    const button = document.getElementById("theme");
    if (!button) return;
    const name = scheme[0].toUpperCase() + scheme.slice(1);
    button.setAttribute("aria-label", `Colour scheme: ${name}`);
    button.textContent = name;
  };
  dress();

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#theme")) return;
    scheme = SCHEMES[(SCHEMES.indexOf(scheme) + 1) % SCHEMES.length];
    try { localStorage.setItem("scheme", scheme); } catch { /* it lasts as long as the page */ }
    dress();
  });
  const start = new MutationObserver(() => {
    if (!document.getElementById("theme")) return;
    start.disconnect();
    dress();
    look();
  });
  start.observe(root, { childList: true, subtree: true });
  setInterval(look, 250);
})();
