// Reads an answer of /v1/recommend: checks its shape and works out what the lists say of each item.

import { ApiError } from "./api.js";

/**
 * @typedef {{text: string, spoken: string, way: "up" | "down" | "same" | "new"}} Move
 * @typedef {object} Row
 * @property {string} id
 * @property {string} title
 * @property {{tag: string, wish: "asked" | "refused" | "none"}[]} tags Asked for, then refused, then the others.
 * @property {number} rank 1-based, in its own list.
 * @property {number | null} otherRank Its rank in the other list, as far as it is known.
 * @property {Move | null} move
 */

/**
 * @param {any} data
 * @param {boolean} prompted Whether any turn was sent.
 */
export function readAnswer(data, prompted) {
  if (!Array.isArray(data?.items) || !Array.isArray(data?.wishes))
    throw new ApiError("server", "The answer has no list of items.");
  const plain = Array.isArray(data.plain) ? data.plain : [];
  const read = data.wishes.map((wish) => ({ tag: String(wish.tag), refused: wish.refused > wish.asked }));
  const wishes = [...read.filter((wish) => !wish.refused), ...read.filter((wish) => wish.refused)];
  const steeredRank = new Map(data.items.map((item, at) => [item.id, at + 1]));
  return {
    model: data.model ?? {},
    wishes,
    steered: data.items.map((item, at) =>
      row(item, at + 1, item.plain_rank ?? null, prompted ? moved(at + 1, item.plain_rank) : null),
    ),
    plain: plain.map((item, at) => {
      const there = steeredRank.get(item.id) ?? null;
      return row(item, at + 1, there, prompted ? went(at + 1, there) : null);
    }),
    same: plain.length === data.items.length && plain.every((item, at) => item.id === data.items[at].id),
    tookMs: Number(data.took_ms),
    steps: Object.entries(data.timings_ms ?? {}).map(([name, ms]) => ({ name, ms: Number(ms) })),
    promptTruncated: data.prompt_truncated === true,
    historyTruncated: data.history_truncated === true,
  };

  /** @returns {Row} */
  function row(item, rank, otherRank, move) {
    return {
      id: String(item.id),
      title: String(item.title || item.id),
      tags: ordered(item.tags ?? [], wishes),
      rank,
      otherRank,
      move,
    };
  }
}

/** @returns {Row["tags"]} */
function ordered(tags, wishes) {
  const refused = new Map(wishes.map((wish) => [wish.tag, wish.refused]));
  const told = tags.map((tag) => ({
    tag,
    wish: !refused.has(tag) ? "none" : refused.get(tag) ? "refused" : "asked",
  }));
  return ["asked", "refused", "none"].flatMap((wish) => told.filter((one) => one.wish === wish));
}

/** How a steered item got to where it is. @returns {Move} */
function moved(rank, before) {
  if (typeof before !== "number") return { text: "new", spoken: "new: far down the plain list", way: "new" };
  const by = before - rank;
  if (by > 0) return { text: `▲${by}`, spoken: `up ${by}, from ${before}`, way: "up" };
  if (by < 0) return { text: `▼${-by}`, spoken: `down ${-by}, from ${before}`, way: "down" };
  return { text: "=", spoken: "unmoved", way: "same" };
}

/** Where a plain item went. @returns {Move} */
function went(rank, there) {
  if (there === null) return { text: "out", spoken: "not in the steered list", way: "down" };
  const way = there < rank ? "up" : there > rank ? "down" : "same";
  return { text: `→ ${there}`, spoken: `steered: ${there}`, way };
}
