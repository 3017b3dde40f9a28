// Makes elements. Text only ever becomes text: nothing here, or anywhere in the page, parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, listeners and children.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on` holds listeners; false, null and undefined leave an attribute out.
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  fill(node, attributes);
  append(node, children);
  return node;
}

/** The same in the SVG namespace. @returns {any} */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  fill(node, attributes);
  append(node, children);
  return node;
}

/** Text that only screen readers meet. @param {string} text */
export const spoken = (text) => el("span", { class: "vh" }, text);

/** What is seen but not spoken. @param {string} text */
export const mark = (text, className = "") =>
  el("span", { "aria-hidden": "true", class: className || null }, text);

/** The element of that id, which index.html is sure to have. @returns {any} */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** A function that runs once calls have paused. @param {(...args: any[]) => void} call @param {number} ms */
export function debounced(call, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(call, ms, ...args);
  };
}

function fill(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

function append(node, children) {
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : String(child));
  }
}
