// Moves a list's items from where they are seen now to where they belong (FLIP), unless the reader prefers stillness.

const DURATION_MS = 620;
const STAGGER_MS = 14;
const EASING = "cubic-bezier(.22, .8, .24, 1)";
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** @returns {boolean} */
export const isStill = () => still.matches;

/**
 * Put `rows` into `list`, in that order; rows that are in it and not among them leave.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} rows
 * @param {HTMLElement} ghosts Where leaving rows fade: it lies over the list and is hidden from screen readers.
 */
export function reorder(list, rows, ghosts) {
  const moving = !isStill() && list.childElementCount > 0 && document.visibilityState === "visible";
  const before = moving ? places(list) : new Map(); // where they are seen, be it half-way
  for (const row of before.keys()) for (const old of row.getAnimations()) old.cancel();
  list.replaceChildren(...rows);
  ghosts.replaceChildren();
  if (!moving) return;
  const after = places(list);
  rows.forEach((row, at) => {
    const from = before.get(row);
    if (!from) return enter(row, at);
    const by = from.top - (after.get(row)?.top ?? from.top);
    if (Math.abs(by) > 0.5) travel(row, by, at);
  });
  for (const [row, from] of before) if (!after.has(row)) leave(row, from, ghosts);
}

/** Where rows are, relative to the list, so that what happens above it does not count. */
function places(list) {
  const origin = list.getBoundingClientRect();
  return new Map(
    [...list.children].map((row) => {
      const box = row.getBoundingClientRect();
      return [row, { top: box.top - origin.top, width: box.width }];
    }),
  );
}

function travel(row, by, at) {
  const zIndex = by > 0 ? 3 : 2; // what rises passes over what falls
  row.animate(
    [
      { transform: `translateY(${by}px)`, zIndex },
      { transform: "none", zIndex },
    ],
    timing(at),
  );
}

function enter(row, at) {
  row.animate(
    [
      { transform: "translateY(48px)", opacity: 0 },
      { transform: "none", opacity: 1 },
    ],
    timing(at + 4),
  );
}

function leave(row, from, ghosts) {
  const ghost = /** @type {HTMLElement} */ (row.cloneNode(true));
  ghost.style.top = `${from.top}px`;
  ghost.style.width = `${from.width}px`;
  ghosts.append(ghost);
  const fade = ghost.animate([{ opacity: 0.7 }, { transform: "translateY(20px)", opacity: 0 }], {
    duration: DURATION_MS * 0.4,
    easing: "ease-out",
  });
  fade.finished.then(
    () => ghost.remove(),
    () => ghost.remove(),
  );
}

const timing = (at) => ({
  duration: DURATION_MS,
  easing: EASING,
  delay: at * STAGGER_MS,
  fill: /** @type {const} */ ("backwards"),
});
