// Draws the lines between the two lists: where each title of the plain list went, and from where the steered ones came.

import { svg } from "./dom.js";
import { isStill } from "./motion.js";

const LINE_PX = 22;
const START_PX = 6; // what stands at a plain row's end is not touched

/**
 * @param {SVGElement} canvas Lies in the gap between the lists, as high as they are.
 * @param {{plain: {row: import("./answer.js").Row, node: HTMLElement}[], steered: {row: import("./answer.js").Row, node: HTMLElement}[]}} shown
 * @param {boolean} fresh Whether to draw them in, as after an answer, or just to put them right, as after a resize.
 */
export function drawSlopes(canvas, { plain, steered }, fresh) {
  const box = canvas.getBoundingClientRect();
  canvas.replaceChildren();
  if (box.width === 0) return; // a narrow screen has no gap
  canvas.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  const there = new Map(steered.map(({ row, node }) => [row.id, firstLine(node)]));
  const lines = plain.map(({ row, node }) => {
    const to = there.get(row.id);
    return to === undefined ? away(row, firstLine(node), box) : between(row, firstLine(node), to, box);
  });
  const here = new Set(plain.map(({ row }) => row.id));
  for (const { row, node } of steered) if (!here.has(row.id)) lines.push(arrives(row, firstLine(node), box));
  canvas.append(...lines);
  if (fresh && !isStill())
    canvas.animate([{ opacity: 0 }, { opacity: 0, offset: 0.55 }, { opacity: 1 }], { duration: 900 });
}

/** Mark the lines of one item. @param {SVGElement} canvas @param {string | null} id */
export function lightSlopes(canvas, id) {
  for (const line of canvas.children) line.classList.toggle("lit", line.getAttribute("data-id") === id);
}

/** Where a row's first line of text is, from the top of both lists; not where an animation shows it. */
function firstLine(node) {
  const title = node.querySelector(".title");
  return (
    node.offsetParent.offsetTop + node.offsetTop + title.offsetTop + Math.min(title.offsetHeight, LINE_PX) / 2
  );
}

function between(row, from, to, { width }) {
  const kind = to === from ? "flat" : hue(row);
  return line(row, kind, `M${START_PX} ${from} C ${width * 0.45} ${from}, ${width * 0.55} ${to}, ${width} ${to}`);
}

/** An item that leaves falls towards the lower edge and fades. */
function away(row, from, { width, height }) {
  const end = Math.min(height, from + 64);
  return line(
    row,
    `${hue(row)} loose`,
    `M${START_PX} ${from} C ${width * 0.3} ${from}, ${width * 0.42} ${(from + end) / 2}, ${width * 0.44} ${end}`,
  );
}

/** An item from far down rises out of the lower edge. */
function arrives(row, to, { width, height }) {
  const start = Math.min(height, to + 64);
  return line(
    row,
    `${hue(row)} loose`,
    `M${width * 0.56} ${start} C ${width * 0.58} ${(to + start) / 2}, ${width * 0.7} ${to}, ${width} ${to}`,
  );
}

/** Refused is told before asked: it is why an item falls. */
function hue(row) {
  const has = (wish) => row.tags.some((tag) => tag.wish === wish);
  return has("refused") ? "refused" : has("asked") ? "asked" : "other";
}

const line = (row, kind, path) => svg("path", { class: `slope ${kind}`, d: path, "data-id": row.id });
