// What was said, turn by turn, and what was understood: chips that can be flipped and taken back.

import { byId, el, mark, spoken } from "./dom.js";
import { turnText } from "./wording.js";

/** @typedef {import("./view_state.js").Turn} Turn */

/**
 * @param {Turn[]} turns
 * @param {{tag: string, refused: boolean}[] | null} wishes null while they are not known.
 * @param {{remove: (at: number) => void, restart: () => void, say: (turn: Turn) => void}} act
 */
export function showConversation(turns, wishes, act) {
  const home = byId("conversation");
  const focused = home.contains(document.activeElement)
    ? document.activeElement?.getAttribute("data-focus")
    : null;
  home.hidden = turns.length === 0;
  home.replaceChildren(
    el("h3", {}, "You said"),
    el("ol", { class: "turns" }, ...turns.map((turn, at) => turnLine(turn, at, act))),
    el("button", { type: "button", class: "text-button restart", on: { click: act.restart } }, "Start over"),
    el("h3", {}, "Understood"),
    understood(wishes, act),
  );
  if (focused) refocus(home, focused);
}

function turnLine(turn, at, { remove }) {
  const text = turnText(turn);
  const said = el("span", { class: typeof turn === "string" ? "turn-text" : "turn-text by-button" }, text);
  const cross = {
    type: "button",
    class: "cross",
    "aria-label": `Remove turn ${at + 1}: ${text}`,
    "data-focus": `turn-${at}`,
    on: { click: () => remove(at) },
  };
  return el("li", { class: "turn" }, said, el("button", cross, mark("×")));
}

function understood(wishes, { say }) {
  if (wishes === null) return el("p", { class: "understood-note" }, "Waiting for the answer.");
  if (!wishes.length) return el("p", { class: "understood-note" }, "No wish about a tag stands.");
  return el("ul", { class: "chips" }, ...wishes.map((wish) => chip(wish, say)));
}

function chip({ tag, refused }, say) {
  const flip = refused ? "ask" : "refuse";
  const flipLabel = refused ? `Ask for ${tag} instead` : `Refuse ${tag} instead`;
  return el(
    "li",
    { class: `chip ${refused ? "refused" : "asked"}` },
    el(
      "span",
      { class: "chip-text" },
      spoken(refused ? "refused: " : "asked for: "),
      mark(refused ? "−\u2009" : "+\u2009"),
      refused ? el("s", {}, tag) : tag,
    ),
    button(`flip-${tag}`, flipLabel, "⇄", () => say({ [tag]: flip })),
    button(`drop-${tag}`, `Take back ${tag}`, "×", () => say({ [tag]: "release" })),
  );
}

const button = (name, label, sign, click) =>
  el(
    "button",
    {
      type: "button",
      class: "chip-button",
      "aria-label": label,
      title: label,
      "data-focus": name,
      on: { click },
    },
    mark(sign),
  );

/** The focus stays where it was; where that is gone, on the next like it, else on the prompt. */
function refocus(home, name) {
  const all = [...home.querySelectorAll("[data-focus]")];
  const same = all.find((node) => node.getAttribute("data-focus") === name);
  const kin = all.filter((node) => node.getAttribute("data-focus")?.startsWith(name.split("-")[0]));
  (same ?? kin.at(-1) ?? byId("prompt")).focus();
}
