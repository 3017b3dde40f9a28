// The two lists: rows that say why, kept from answer to answer so that they can move.

import { el, mark, spoken, svg } from "./dom.js";
import { reorder } from "./motion.js";
import { drawSlopes, lightSlopes } from "./slopes.js";

/** @typedef {import("./answer.js").Row} Row */

export class Lists {
  /** @param {HTMLElement} home */
  constructor(home) {
    this.home = home;
    this.plain = column("plain", "Without a prompt");
    this.steered = column("steered", "With your prompt");
    this.canvas = svg("svg", { class: "slopes", "aria-hidden": "true", focusable: "false" });
    this.shown = { plain: [], steered: [] };
    home.append(this.steered.node, this.canvas, this.plain.node);
    new ResizeObserver(() => this.redraw(false)).observe(home);
    for (const type of ["pointerover", "pointerleave"])
      home.addEventListener(type, (event) => this.light(event));
  }

  /** @param {ReturnType<import("./answer.js").readAnswer>} answer @param {{plain: string, steered: string}} notes */
  show(answer, notes) {
    this.home.classList.toggle("prompted", answer.wishes.length > 0 || !answer.same);
    for (const side of /** @type {const} */ (["plain", "steered"])) {
      this.shown[side] = this[side].show(answer[side]);
      this[side].say(notes[side]);
    }
    this.wait(false);
    this.redraw(true);
  }

  /** Rows without content, where none have come yet. @param {number} count */
  showSkeleton(count) {
    for (const side of /** @type {const} */ (["plain", "steered"])) this[side].skeleton(count);
    this.shown = { plain: [], steered: [] };
    this.wait(true);
  }

  /** Take the rows away: what they said is not to be had any more. */
  clear() {
    this.home.hidden = true;
  }

  /** @param {boolean} waiting */
  wait(waiting) {
    this.home.hidden = false;
    this.home.classList.toggle("waiting", waiting);
    this.home.setAttribute("aria-busy", String(waiting));
  }

  /** @param {"both" | "steered"} shown */
  arrange(shown) {
    this.home.classList.toggle("alone", shown === "steered");
    this.plain.node.hidden = shown === "steered";
    this.redraw(false);
  }

  redraw(fresh) {
    drawSlopes(this.canvas, this.shown, fresh);
  }

  /** The pointer lights an item up in both lists. */
  light(event) {
    const row = event.type === "pointerover" ? event.target.closest(".row") : null;
    const id = row?.dataset.id ?? null;
    this.home.classList.toggle("lighting", id !== null);
    lightSlopes(this.canvas, id);
    for (const side of ["plain", "steered"])
      for (const { row, node } of this.shown[side]) node.classList.toggle("lit", row.id === id);
  }
}

/** One list with its heading. */
function column(name, title) {
  const note = el("p", { class: "column-note" });
  const list = el("ol", { class: "rows", "aria-labelledby": `${name}-title` });
  const ghosts = el("ol", { class: "rows ghosts", "aria-hidden": "true" });
  const node = el(
    "div",
    { class: `column ${name}` },
    el("div", { class: "column-head" }, el("h3", { id: `${name}-title` }, title), note),
    el("div", { class: "rows-frame" }, list, ghosts),
  );
  /** @type {Map<string, HTMLElement>} */
  let kept = new Map();

  function show(rows) {
    const next = new Map(
      rows.map((row) => [row.id, kept.get(row.id) ?? el("li", { class: "row", "data-id": row.id })]),
    );
    for (const row of rows) fillRow(next.get(row.id), row);
    reorder(list, [...next.values()], ghosts);
    kept = next;
    return rows.map((row) => ({ row, node: next.get(row.id) }));
  }

  function skeleton(count) {
    kept = new Map();
    ghosts.replaceChildren();
    list.replaceChildren(
      ...Array.from({ length: count }, () =>
        el("li", { class: "row blank", "aria-hidden": "true" }, el("span"), el("span")),
      ),
    );
  }

  return { node, show, skeleton, say: (text) => note.replaceChildren(text) };
}

/** @param {HTMLElement | undefined} node @param {Row} row */
function fillRow(node, row) {
  const wished = row.tags.some((tag) => tag.wish !== "none");
  node?.classList.toggle(
    "has-refused",
    row.tags.some((tag) => tag.wish === "refused"),
  );
  node?.replaceChildren(
    mark(String(row.rank), "rank"),
    el(
      "div",
      { class: "row-body" },
      titleLine(row.title),
      el("p", { class: "tags" }, ...row.tags.flatMap(tagMark)),
    ),
    row.move ? el("p", { class: `move ${row.move.way}` }, mark(row.move.text), spoken(row.move.spoken)) : "",
  );
  node?.classList.toggle("wished", wished);
}

/** A title; a year in brackets at its end is set lighter. */
function titleLine(title) {
  const [, name, year] = title.match(/^(.+?)(\s\(\d{4}\))$/) ?? [null, title, null];
  return el("p", { class: "title" }, name, year && el("span", { class: "year" }, year));
}

/** A tag as a chip; asked and refused ones have a sign and a word beside their colour. */
function tagMark({ tag, wish }, at) {
  const gap = at ? [" "] : [];
  if (wish === "asked")
    return [...gap, el("span", { class: "tag asked" }, spoken("asked for: "), mark("+\u2009"), tag)];
  if (wish === "refused")
    return [
      ...gap,
      el("span", { class: "tag refused" }, spoken("refused: "), mark("−\u2009"), el("s", {}, tag)),
    ];
  return [...gap, el("span", { class: "tag" }, tag)];
}
