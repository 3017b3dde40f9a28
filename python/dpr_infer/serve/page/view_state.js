// What the page shows, apart from answers: whose history, turns, settings. It lives in the URL's hash too, so that a
// view can be shared; what comes from there is checked like any other input.

export const COUNTS = [5, 10, 20, 50];
export const MOST_STRENGTH = 2;
const MOST_TURNS = 32;
const MOST_TEXT = 4000;
const MOST_ITEMS = 200;
const WISHES = ["ask", "refuse", "release"];

/**
 * @typedef {string | Record<string, "ask" | "refuse" | "release">} Turn
 * @typedef {{id: string, title: string, tags: string[]}} Item
 * @typedef {object} View
 * @property {string | null} example Name of the example whose history it is; null for one's own.
 * @property {string[]} own Item ids of one's own history, oldest first.
 * @property {Turn[]} turns
 * @property {number} strength
 * @property {"soft" | "strict"} steer
 * @property {number} k
 * @property {"both" | "steered"} shown
 */

/** @returns {View} */
export const plainView = () => ({
  example: null,
  own: [],
  turns: [],
  strength: 1,
  steer: "soft",
  k: 10,
  shown: "both",
});

/** The view as a URL's hash; what is at its default is left out. @param {View} view */
export function toHash(view) {
  const said = new URLSearchParams();
  if (view.example === null) said.set("h", JSON.stringify(view.own.slice(-MOST_ITEMS)));
  else said.set("u", view.example);
  if (view.turns.length) said.set("t", JSON.stringify(view.turns));
  if (view.strength !== 1) said.set("s", String(view.strength));
  if (view.steer !== "soft") said.set("steer", view.steer);
  if (view.k !== 10) said.set("k", String(view.k));
  if (view.shown !== "both") said.set("show", view.shown);
  return `#${said}`;
}

/** The view that a hash tells of; null if it tells of none. Parts that make no sense are passed over. @returns {View | null} */
export function fromHash(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  if (!said.has("u") && !said.has("h")) return null;
  const view = plainView();
  view.example = said.has("h") ? null : said.get("u");
  view.own = list(said.get("h")).filter(isText).slice(-MOST_ITEMS);
  view.turns = /** @type {Turn[]} */ (list(said.get("t")).filter(isTurn).slice(-MOST_TURNS));
  const strength = Number(said.get("s") ?? 1);
  if (strength >= 0 && strength <= MOST_STRENGTH) view.strength = strength;
  if (said.get("steer") === "strict") view.steer = "strict";
  if (COUNTS.includes(Number(said.get("k")))) view.k = Number(said.get("k"));
  if (said.get("show") === "steered") view.shown = "steered";
  return view;
}

function list(text) {
  try {
    const found = JSON.parse(text ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

const isText = (value) => typeof value === "string" && value.length > 0 && value.length <= MOST_TEXT;

function isTurn(value) {
  if (isText(value)) return true;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const wishes = Object.values(value);
  return wishes.length > 0 && wishes.every((wish) => WISHES.includes(wish));
}
