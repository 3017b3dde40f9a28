// The prompt box and the suggestions below it.

import { byId, el } from "./dom.js";

const coarse = matchMedia("(pointer: coarse)");

export class PromptBox {
  /** @param {(text: string) => void} send */
  constructor(send) {
    this.send = send;
    this.input = byId("prompt");
    byId("say").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.input.addEventListener("input", () => this.complain(""));
  }

  submit() {
    const text = this.input.value.trim();
    if (!text) return this.input.focus();
    this.input.value = "";
    if (coarse.matches)
      this.input.blur(); // the keyboard would lie over the lists
    else this.input.focus();
    this.send(text);
  }

  /** Say what is wrong with what was sent; the text comes back, to be mended. @param {string} problem @param {string} [text] */
  complain(problem, text = "") {
    byId("prompt-problem").textContent = problem;
    if (problem) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
    if (text && !this.input.value) this.input.value = text;
  }

  /** @param {string[]} texts */
  suggest(texts) {
    this.input.placeholder = texts[2] ?? texts[0] ?? "";
    const home = byId("try");
    const focused = [...home.children].indexOf(/** @type {Element} */ (document.activeElement));
    home.replaceChildren(
      ...texts.map((text) =>
        el("button", { type: "button", class: "suggestion", on: { click: () => this.send(text) } }, text),
      ),
    );
    if (focused >= 0) (home.children[Math.min(focused, home.children.length - 1)] ?? this.input).focus();
  }
}
