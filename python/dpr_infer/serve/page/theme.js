// Light or dark: the system's choice until the button is pressed. A plain script, so that it runs before the first paint.
(() => {
  const NAME = "dpr-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function kept() {
    try {
      const theme = localStorage.getItem(NAME);
      return theme === "dark" || theme === "light" ? theme : null;
    } catch {
      return null; // storage is switched off
    }
  }

  function keep(theme) {
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      // then it holds until the page is left
    }
  }

  const chosen = kept();
  if (chosen) root.dataset.theme = chosen;
  addEventListener("DOMContentLoaded", () => {
    const button = /** @type {HTMLElement} */ (document.getElementById("theme"));
    const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    const show = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      keep(root.dataset.theme);
      show();
    });
    dark.addEventListener("change", show);
    show();
  });
})();
