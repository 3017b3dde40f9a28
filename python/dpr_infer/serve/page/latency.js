// The measured latency: what the server took, the round trip, and where the server's time went.

import { byId, el } from "./dom.js";
import { milliseconds } from "./wording.js";

/** @param {{tookMs: number, steps: {name: string, ms: number}[]}} answer @param {number} roundTripMs */
export function showLatency({ tookMs, steps }, roundTripMs) {
  const parts = steps.filter(({ name }) => name !== "total");
  const longest = Math.max(...parts.map(({ ms }) => ms), 1e-9);
  const summary = el(
    "summary",
    {},
    el(
      "span",
      { class: "took" },
      el("b", {}, milliseconds(tookMs)),
      " in the server, ",
      el("b", {}, milliseconds(roundTripMs)),
      " there and back",
    ),
  );
  const open = byId("latency").querySelector("details")?.open ?? false;
  const table = el(
    "table",
    {},
    el("caption", {}, "Where the server’s time went"),
    el("tbody", {}, ...parts.map((part) => line(part, longest))),
  );
  byId("latency").replaceChildren(
    parts.length ? el("details", { open }, summary, table) : el("p", {}, ...summary.childNodes),
  );
}

function line({ name, ms }, longest) {
  const bar = el("span", { class: "bar-fill" });
  bar.style.width = `${(100 * ms) / longest}%`;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name.replaceAll("_", " ")),
    el("td", { class: "bar-cell", "aria-hidden": "true" }, bar),
    el("td", { class: "ms" }, milliseconds(ms)),
  );
}
