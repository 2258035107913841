(() => {
  const root = document.documentElement, key = "reflow-theme", toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const show = () => {
    const other = theme() === "dark" ? "light" : "dark";
    toggle.textContent = other === "dark" ? "Dark" : "Light";
    toggle.setAttribute("aria-label", `Switch to the ${other} theme`);
  };
  try { const kept = localStorage.getItem(key); if (kept) root.dataset.theme = kept; } catch { /* private window */ }
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    try { localStorage.setItem(key, root.dataset.theme); } catch { /* private window */ }
    show();
  });
  system.addEventListener("change", show);
  show();

  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* asked for permission, or no clipboard */ }
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(button.parentElement.querySelector("pre").textContent);
      button.textContent = done ? "Copied" : "Select it by hand";
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });
})();
