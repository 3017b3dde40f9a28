// What stands above the lists when something is wrong, or when there is nothing to list.

import { byId, el, mark, spoken } from "./dom.js";
import { errorText } from "./wording.js";

let countdown = 0;

/** Take the notice away. */
export function clearNotice() {
  clearInterval(countdown);
  byId("notice").replaceChildren();
}

/**
 * @param {import("./api.js").ApiError} error
 * @param {() => void} retry
 * @param {number} waitS Seconds until it is tried again unasked; 0 if it is not.
 */
export function showError(error, retry, waitS) {
  clearNotice();
  const { title, detail, action } = errorText(error);
  const wait = el("span", { class: "notice-wait", "aria-hidden": "true" });
  byId("notice").append(
    el(
      "div",
      { class: `notice ${error.kind}`, role: "alert" },
      mark("!", "notice-sign"),
      el(
        "div",
        {},
        el("p", { class: "notice-title" }, title),
        el("p", {}, sentence(detail), waitS > 0 && spoken(" The page will try again by itself."), wait),
      ),
      el("button", { type: "button", class: "solid", on: { click: retry } }, action),
    ),
  );
  if (waitS > 0) count(wait, Math.ceil(waitS), retry);
}

/** @param {string} title @param {string} text @param {{label: string, click: () => void}[]} offers */
export function showEmptiness(title, text, offers) {
  clearNotice();
  const buttons = offers.map(({ label, click }) =>
    el("button", { type: "button", class: "text-button", on: { click } }, label),
  );
  byId("notice").append(
    el(
      "div",
      { class: "notice empty" },
      el("div", {}, el("p", { class: "notice-title" }, title), el("p", {}, text)),
      el("div", {}, ...buttons),
    ),
  );
}

/** @param {string} text A remark that does not stop anything. */
export function remark(text) {
  byId("notice").append(el("p", { class: "remark" }, text));
}

function count(node, seconds, retry) {
  const show = () => {
    node.textContent = ` Trying again in ${seconds} s.`;
  };
  show();
  countdown = setInterval(() => {
    seconds -= 1;
    if (seconds > 0) return show();
    clearInterval(countdown);
    retry();
  }, 1000);
}

const sentence = (text) => (!text || /[.!?]$/.test(text) ? text : `${text}.`);
