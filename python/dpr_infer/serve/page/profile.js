// Whose history it is: an example user's, nobody's yet, or one built here by searching titles.

import { titleSearch } from "./combobox.js";
import { byId, el, mark } from "./dom.js";
import { titles } from "./wording.js";

const MOST_SHOWN = 60;
const NEW_USER = "new";
const OWN = "own";

/** @typedef {import("./view_state.js").Item} Item */

export class Profile {
  /** @param {{choose: (example: string | null) => void, change: (items: Item[]) => void}} act */
  constructor(act) {
    this.act = act;
    /** @type {{name: string, items: Item[]}[]} */
    this.examples = [];
    /** @type {Item[]} */
    this.items = [];
    this.editing = false;
    byId("profile").addEventListener("change", (event) => this.onChoice(event.target.value));
    byId("edit").addEventListener("click", () => this.edit(!this.editing));
    byId("editor").append(
      titleSearch((item) => this.add(item)),
      el(
        "button",
        { type: "button", class: "text-button", on: { click: () => this.act.change([]) } },
        "Remove all",
      ),
    );
  }

  /** What is there before any history is known. */
  wait() {
    byId("strip").replaceChildren(
      el(
        "ol",
        { "aria-hidden": "true" },
        ...Array.from({ length: 6 }, () => el("li", { class: "card blank-card" })),
      ),
    );
  }

  /** @param {{name: string, items: Item[]}[]} examples */
  offer(examples) {
    this.examples = examples;
    byId("profile").disabled = false;
    byId("edit").hidden = false;
  }

  /** @param {string | null} example Name of the example, or null for a history of one's own. @param {Item[]} items Oldest first. */
  show(example, items) {
    this.items = items;
    const options = this.examples.map(({ name, items }, at) =>
      el("option", { value: String(at), selected: name === example }, `${name}: ${titles(items.length)}`),
    );
    const own = example === null && items.length > 0;
    options.push(
      el("option", { value: NEW_USER, selected: example === null && !own }, "a new user: no history"),
    );
    if (own)
      options.push(
        el("option", { value: OWN, selected: true }, `a history of your own: ${titles(items.length)}`),
      );
    byId("profile").replaceChildren(...options);
    byId("taste").textContent = taste(items);
    this.drawStrip();
  }

  onChoice(value) {
    if (value === OWN) return;
    this.act.choose(value === NEW_USER ? null : this.examples[Number(value)].name);
  }

  edit(editing) {
    this.editing = editing;
    byId("editor").hidden = !editing;
    byId("edit").setAttribute("aria-expanded", String(editing));
    byId("edit").textContent = editing ? "Done" : "Edit history";
    this.drawStrip();
    if (editing) byId("search").focus();
  }

  add(item) {
    this.act.change([...this.items.filter(({ id }) => id !== item.id), item]);
    byId("strip").scrollTo({ left: 0 });
  }

  remove(at) {
    this.act.change(this.items.filter((_, n) => n !== at));
    const buttons = byId("strip").querySelectorAll("button");
    // The strip runs the other way round.
    (buttons[Math.min(this.items.length - at, buttons.length - 1)] ?? byId("search")).focus();
  }

  drawStrip() {
    const latest = this.items.map((item, at) => ({ item, at })).reverse();
    const older = latest.length - MOST_SHOWN;
    const cards = latest
      .slice(0, MOST_SHOWN)
      .map(({ item, at }) =>
        el("li", { class: "card" }, item.title || item.id, this.editing && this.removal(item, at)),
      );
    if (older > 0) cards.push(el("li", { class: "card older" }, `and ${titles(older)} before`));
    byId("strip").replaceChildren(cards.length ? el("ol", {}, ...cards) : this.emptiness());
  }

  removal(item, at) {
    const label = `Remove ${item.title || item.id} from the history`;
    return el(
      "button",
      { type: "button", class: "cross", "aria-label": label, on: { click: () => this.remove(at) } },
      mark("×"),
    );
  }

  emptiness() {
    const text = "Nothing yet: the lists below are for someone of whom nothing is known.";
    const open = el(
      "button",
      { type: "button", class: "text-button", on: { click: () => this.edit(true) } },
      "Add a first title",
    );
    return el("p", { class: "strip-empty" }, text, " ", !this.editing && open);
  }
}

/** The most frequent tags of a history. */
function taste(items) {
  const counts = new Map();
  for (const { tags } of items) for (const tag of tags ?? []) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
  return most.length ? `mostly ${most.map(([tag]) => tag).join(", ")}` : "";
}
