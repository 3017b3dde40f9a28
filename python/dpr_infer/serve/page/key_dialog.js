// The dialog that asks for an API key. Calls that wait for one share it.

import { byId } from "./dom.js";

const PRINTABLE = /^[\x21-\x7e]+$/; // what may stand in a header

let waiting = null;

/**
 * Show the dialog, or join the one that is open.
 * @param {boolean} refused Whether a key was sent and not accepted.
 * @returns {Promise<string | null>} The key, or null if the dialog was left.
 */
export function askForKey(refused) {
  waiting ??= open(refused).finally(() => {
    waiting = null;
  });
  return waiting;
}

function open(refused) {
  const dialog = byId("key");
  const input = byId("key-input");
  const say = (text) => {
    byId("key-problem").textContent = text;
    input.toggleAttribute("aria-invalid", text !== "");
    if (text) input.setAttribute("aria-invalid", "true");
  };
  say(refused ? "The server did not accept that key." : "");
  input.value = "";
  return new Promise((resolve) => {
    const over = new AbortController();
    const finish = (key) => {
      over.abort();
      dialog.close();
      resolve(key);
    };
    const listen = (node, type, act) => node.addEventListener(type, act, { signal: over.signal });
    listen(byId("key-form"), "submit", (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (PRINTABLE.test(key)) finish(key);
      else
        say(
          key ? "A key has letters, digits and signs, without spaces." : "Type the key, or choose “Not now”.",
        );
    });
    listen(byId("key-cancel"), "click", () => finish(null));
    listen(dialog, "cancel", (event) => {
      event.preventDefault();
      finish(null);
    });
    dialog.showModal();
    input.focus();
  });
}
