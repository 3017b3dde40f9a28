// Composes prompts worth trying from the catalogue's own tags and from what is on the list.

import { plainForm } from "./wording.js";

/**
 * @param {string[]} tags All tags of the catalogue.
 * @param {{tags: {tag: string}[]}[]} rows What is recommended now.
 * @param {{tag: string, refused: boolean}[]} wishes What stands.
 * @returns {string[]} At most four, each another.
 */
export function suggest(tags, rows, wishes) {
  const usable = tags.filter((tag) => /\p{L}/u.test(tag) && !/^\(|^(unknown|other|none)$/i.test(tag));
  const spoken = new Set(wishes.map((wish) => wish.tag));
  const free = usable.filter((tag) => !spoken.has(tag));
  const counts = count(rows);
  // "no children's" is hardly English: such a tag is offered only where there are few others.
  const awkward = (tag) => Number(/['’]s$/.test(tag));
  const inOrder = (sign) =>
    [...free]
      .sort((a, b) => awkward(a) - awkward(b) || sign * ((counts.get(b) ?? 0) - (counts.get(a) ?? 0)))
      .map(plainForm);
  const [common, rare] = [inOrder(1), inOrder(-1)];
  const offers = wishes.length ? next(wishes, common, rare) : first(common, rare);
  return [...new Set(offers)].slice(0, 4);
}

/** A first turn: take away what there is most of, ask for what is missing, and both at once. */
function first(common, rare) {
  const offers = [];
  if (common.length > 0) offers.push(`no ${common[0]}, please`);
  if (rare.length > 1) offers.push(`something with ${rare[0]}`);
  if (rare.length > 2 && common.length > 2) offers.push(`${rare[1]}, but no ${common[1]}`);
  if (common.length > 3) offers.push(`more ${common[0]}, less ${common[2]}`);
  return offers;
}

/** A later turn: take one thing back, add to it, begin anew. */
function next(wishes, common, rare) {
  const offers = [];
  const refused = wishes.find((wish) => wish.refused);
  if (refused) offers.push(`actually, ${plainForm(refused.tag)} is fine`);
  if (common.length > 0) offers.push(`and no ${common[0]}`);
  if (rare.length > 1) offers.push(`maybe ${rare[0]}, too`);
  offers.push("forget all that");
  return offers;
}

function count(rows) {
  const counts = new Map();
  for (const { tags } of rows) for (const { tag } of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  return counts;
}
