// The controls of how it is steered and shown: strength, soft or strict, k, one list or two.

import { byId, el } from "./dom.js";
import { COUNTS } from "./view_state.js";

/** @typedef {import("./view_state.js").View} View */

/** @param {(change: Partial<View>, kind: "slide" | "choice" | "look") => void} act */
export function watchSettings(act) {
  byId("k").replaceChildren(...COUNTS.map((k) => el("option", { value: k }, k)));
  byId("k").addEventListener("change", (event) => act({ k: Number(event.target.value) }, "choice"));
  byId("strength").addEventListener("input", (event) =>
    act({ strength: Number(event.target.value) }, "slide"),
  );
  for (const radio of radios("steer"))
    radio.addEventListener("change", () =>
      act({ steer: /** @type {View["steer"]} */ (radio.value) }, "choice"),
    );
  for (const radio of radios("view"))
    radio.addEventListener("change", () =>
      act({ shown: /** @type {View["shown"]} */ (radio.value) }, "look"),
    );
  // On a narrow screen the lists are nearer than the controls.
  if (matchMedia("(max-width: 62rem)").matches) byId("tune").open = false;
}

/** @param {View} view */
export function showSettings(view) {
  byId("k").value = String(view.k);
  byId("strength").value = String(view.strength);
  byId("strength-value").textContent = view.strength.toFixed(2);
  byId("tune-now").textContent = `${view.strength.toFixed(2)}, ${view.steer}`;
  for (const radio of radios("steer")) radio.checked = radio.value === view.steer;
  for (const radio of radios("view")) radio.checked = radio.value === view.shown;
}

/** @returns {NodeListOf<HTMLInputElement>} */
const radios = (name) => document.querySelectorAll(`input[name=${name}]`);
