// A search box with a list of titles below it: the combobox pattern, with the focus staying in the box.

import { ApiError, call } from "./api.js";
import { debounced, el } from "./dom.js";

const LIMIT = 8;
const PAUSE_MS = 160;

/**
 * @param {(item: import("./view_state.js").Item) => void} choose
 * @returns {HTMLElement}
 */
export function titleSearch(choose) {
  const list = el("ul", {
    id: "found",
    class: "found",
    role: "listbox",
    "aria-label": "Titles",
    hidden: true,
  });
  const told = el("p", { class: "found-note", role: "status" });
  const input = el("input", {
    id: "search",
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-expanded": "false",
    "aria-controls": "found",
    "aria-autocomplete": "list",
    placeholder: "Part of a title",
  });
  let items = [];
  let at = -1;
  let search = new AbortController();

  const look = debounced(() => void find(input.value.trim()), PAUSE_MS);
  input.addEventListener("input", look);
  input.addEventListener("keydown", onKey);
  input.addEventListener("blur", close);
  input.addEventListener("focus", () => input.value.trim() && look());
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", (event) =>
    take([...list.children].indexOf(event.target.closest("[role=option]"))),
  );
  return el(
    "div",
    { class: "search" },
    el("label", { for: "search" }, "Add a title"),
    el("div", { class: "search-box" }, input, list),
    told,
  );

  async function find(text) {
    search.abort();
    search = new AbortController();
    const { signal } = search;
    if (!text) return close();
    try {
      const { data } = await call(`v1/items?q=${encodeURIComponent(text)}&limit=${LIMIT}`, { signal });
      if (!signal.aborted && document.activeElement === input) show(data.items ?? [], text);
    } catch (error) {
      if (signal.aborted) return;
      close();
      told.textContent =
        error instanceof ApiError && error.kind === "invalid"
          ? error.detail
          : "The search did not answer. Type on to try again.";
    }
  }

  function show(found, text) {
    items = found;
    list.replaceChildren(
      ...found.map((item, n) =>
        el("li", { id: `found-${n}`, role: "option", "aria-selected": "false" }, option(item)),
      ),
    );
    told.textContent = found.length ? "" : `No title has “${text}” in it.`;
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(found.length > 0));
    point(-1);
  }

  function option(item) {
    return el(
      "span",
      {},
      el("span", { class: "found-title" }, item.title || item.id),
      " ",
      el("span", { class: "found-tags" }, (item.tags ?? []).join(", ")),
    );
  }

  function point(to) {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = to;
    const option = list.children[at];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function onKey(event) {
    if (event.isComposing) return;
    const open = !list.hidden;
    if (event.key === "Escape" && (open || input.value)) {
      if (!open) input.value = "";
      close();
    } else if (event.key === "ArrowDown" && !open) look();
    else if (event.key === "ArrowDown") point((at + 1) % items.length);
    else if (event.key === "ArrowUp" && open) point((at <= 0 ? items.length : at) - 1);
    else if (event.key === "Enter") take(open ? Math.max(at, 0) : -1);
    else return;
    event.preventDefault();
  }

  function take(index) {
    const item = items[index];
    if (list.hidden || !item) return;
    input.value = "";
    close();
    choose(item);
  }

  function close() {
    search.abort();
    items = [];
    list.hidden = true;
    list.replaceChildren();
    told.textContent = "";
    input.setAttribute("aria-expanded", "false");
    point(-1);
  }
}
