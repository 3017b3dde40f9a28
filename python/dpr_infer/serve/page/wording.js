// How the page words turns, tags and errors.

/** A tag as one would write it within a sentence: "Sci-Fi" -> "sci-fi"; "RPG" and "iOS" stay. @param {string} tag */
export const plainForm = (tag) =>
  /^\p{Lu}[\p{Ll}'’]*([\s/-]\p{Lu}?[\p{Ll}'’]*)*$/u.test(tag) ? tag.toLowerCase() : tag;

/** A turn in words; one that was said by a button says what the button did. @param {import("./view_state.js").Turn} turn */
export function turnText(turn) {
  if (typeof turn === "string") return turn;
  const verbs = { ask: "ask for", refuse: "refuse", release: "take back" };
  return Object.entries(turn)
    .map(([tag, wish]) => `${verbs[wish]} ${tag}`)
    .join(", ");
}

/** "1 title", "1,682 titles" @param {number} count */
export const titles = (count) => `${count.toLocaleString("en")} ${count === 1 ? "title" : "titles"}`;

/** What serves, and where its data are from. @param {{name: string, version: string}} model */
export function modelText({ name, version }, licence) {
  const data = typeof licence?.data === "string" && licence.data !== "" ? ` Data: ${licence.data}` : "";
  return `Model ${name}, version ${version}.${data}`;
}

/** Milliseconds to two significant digits. @param {number} ms */
export const milliseconds = (ms) => `${ms >= 10 ? Math.round(ms) : Number(ms.toPrecision(2))} ms`;

/** A heading and a sentence for an error, and what its button says. @param {import("./api.js").ApiError} error */
export function errorText(error) {
  const texts = {
    offline: [
      "The server can’t be reached",
      "Check that it runs and that you are online. What you see may be out of date.",
      "Try again",
    ],
    timeout: ["That took too long", "The server did not answer in time.", "Try again"],
    key: ["An API key is needed", "This server answers only to those who have a key.", "Enter a key"],
    busy: ["The server is busy", error.detail, "Try now"],
    invalid: ["The server could not use that", error.detail, "Try again"],
    missing: ["Not found", error.detail, "Try again"],
    server: ["Something went wrong on the server", error.detail, "Try again"],
  };
  const [title, detail, action] = texts[error.kind];
  return { title, detail, action };
}

/** What a screen reader hears when a new list has come. */
export function announcement({ steered, plain, wishes, same }, prompted) {
  if (!steered.length) return "No title is left to recommend.";
  const first = `First: ${steered[0].title}.`;
  if (!prompted) return `${titles(steered.length)}. ${first}`;
  if (same) return `The list did not change. ${first}`;
  const tags = (refused) =>
    wishes
      .filter((wish) => wish.refused === refused)
      .map((wish) => wish.tag)
      .join(", ");
  const asked = tags(false) && `Asked for: ${tags(false)}.`;
  const refused = tags(true) && `Refused: ${tags(true)}.`;
  const before = new Set(plain.map((row) => row.id));
  const fresh = steered.filter((row) => !before.has(row.id)).length;
  return [`${titles(steered.length)}, ${fresh} of them not in the plain list.`, first, asked, refused]
    .filter(Boolean)
    .join(" ");
}
