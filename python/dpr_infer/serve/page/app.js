// The page: holds the view, asks the server, hands what comes back to the parts. The latest question wins.

import { readAnswer } from "./answer.js";
import { ApiError, call, setKeyDialog } from "./api.js";
import { showConversation } from "./conversation.js";
import { byId, debounced } from "./dom.js";
import { askForKey } from "./key_dialog.js";
import { showLatency } from "./latency.js";
import { Lists } from "./lists.js";
import { isStill } from "./motion.js";
import { clearNotice, remark, showEmptiness, showError } from "./notices.js";
import { Profile } from "./profile.js";
import { PromptBox } from "./prompt_box.js";
import { showSettings, watchSettings } from "./settings.js";
import { suggest } from "./suggestions.js";
import { fromHash, plainView, toHash } from "./view_state.js";
import { announcement, modelText, titles } from "./wording.js";

/** @typedef {import("./view_state.js").View} View @typedef {import("./view_state.js").Item} Item */

const SLIDE_PAUSE_MS = 110;
const MOST_TRIES = 5;
const MOST_WAIT_S = 30;
const DEFAULT_WAIT_S = 2;

class Page {
  constructor() {
    /** @type {View} */
    this.view = plainView();
    /** @type {Item[]} What view.own names. */
    this.own = [];
    /** @type {{name: string, items: Item[]}[]} */
    this.examples = [];
    /** What the server said of its model. */
    this.model = { tags: /** @type {string[]} */ ([]), version: "", mostTurns: 0 };
    this.wishes = null;
    this.question = new AbortController();
    this.tries = 0;
    this.showsChange = false;
    this.lists = new Lists(byId("lists"));
    this.prompt = new PromptBox((text) => this.say(text));
    this.profile = new Profile({
      choose: (example) => this.chooseProfile(example),
      change: (items) => this.changeHistory(items),
    });
    this.talk = {
      say: (turn) => this.say(turn),
      remove: (at) => this.change({ turns: this.view.turns.filter((_, n) => n !== at) }),
      restart: () => this.change({ turns: [] }),
    };
    const settle = () => {
      this.keep("replaceState"); // not while it slides: browsers limit how often
      void this.ask();
    };
    const settleSoon = debounced(settle, SLIDE_PAUSE_MS);
    watchSettings((change, kind) => {
      this.view = { ...this.view, ...change };
      showSettings(this.view);
      if (kind === "slide") settleSoon();
      else if (kind === "choice") settle();
      else {
        this.lists.arrange(this.view.shown);
        this.keep("replaceState");
      }
    });
    addEventListener("popstate", () => void this.follow(fromHash(location.hash)));
  }

  /** Learn the model and the examples, then show what the URL asks for. */
  async start() {
    showSettings(this.view);
    this.profile.wait();
    this.lists.showSkeleton(this.view.k);
    try {
      await this.learn();
    } catch (error) {
      this.lists.clear();
      this.fail(error, () => void this.start());
      return;
    }
    this.tries = 0;
    await this.follow(fromHash(location.hash));
    if (matchMedia("(pointer: fine)").matches) byId("prompt").focus({ preventScroll: true });
  }

  async learn() {
    const [model, examples] = await Promise.all([call("v1/model"), call("v1/examples")]);
    const { model: name, tags, items, limits, licence } = model.data;
    if (!Array.isArray(tags) || !Array.isArray(examples.data.examples))
      throw new ApiError("server", "The model’s description is incomplete.");
    this.model = { tags, version: name.version, mostTurns: limits?.turns ?? Infinity };
    this.examples = examples.data.examples;
    this.profile.offer(this.examples);
    byId("model").replaceChildren(`${name.name}, ${titles(items)}`);
    byId("about").textContent = modelText(name, licence);
  }

  /** Show a view that came from outside: the URL, or the browser's back button. @param {View | null} view */
  async follow(view) {
    const known =
      view !== null && (view.example === null || this.examples.some(({ name }) => name === view.example));
    this.view = known ? view : { ...(view ?? plainView()), example: this.examples[0]?.name ?? null };
    const lost = this.view.example === null ? await this.fetchOwn() : 0;
    this.wishes = null;
    this.keep("replaceState");
    this.draw();
    await this.ask();
    if (view !== null && !known)
      remark("The user that the link names is not among the examples here; this is another one.");
    if (lost)
      remark(
        `${titles(lost)} of the history that the link names could not be had, and ${lost === 1 ? "is" : "are"} left out.`,
      );
  }

  /** Fetch the items that one's own history names. @returns {Promise<number>} How many could not be had. */
  async fetchOwn() {
    const here = new Map(this.own.map((item) => [item.id, item]));
    const found = await Promise.allSettled(
      this.view.own.map(
        async (id) => here.get(id) ?? (await call(`v1/items/${encodeURIComponent(id)}`)).data,
      ),
    );
    this.own = found.flatMap((one) => (one.status === "fulfilled" ? [itemOf(one.value)] : []));
    this.view.own = this.own.map(({ id }) => id);
    return found.length - this.own.length;
  }

  /** @param {import("./view_state.js").Turn} turn */
  say(turn) {
    if (this.view.turns.length >= this.model.mostTurns) {
      this.prompt.complain(
        `A conversation has ${this.model.mostTurns} turns at most. Remove one, or start over.`,
        typeof turn === "string" ? turn : "",
      );
      return;
    }
    this.change({ turns: [...this.view.turns, turn] });
    this.showsChange = true;
  }

  /** @param {string | null} example */
  chooseProfile(example) {
    if (example === null) this.own = [];
    this.change({ example, own: [] });
  }

  /** @param {Item[]} items */
  changeHistory(items) {
    this.own = items;
    this.change({ example: null, own: items.map(({ id }) => id) });
  }

  /** A step that the back button takes back. @param {Partial<View>} change */
  change(change) {
    const before = this.view;
    this.view = { ...this.view, ...change };
    if (!this.view.turns.length) this.wishes = null;
    this.prompt.complain("");
    this.keep("pushState");
    void this.ask(before);
    this.draw();
  }

  /** @param {"pushState" | "replaceState"} how */
  keep(how) {
    history[how](null, "", toHash(this.view));
  }

  history() {
    return this.view.example === null
      ? this.own
      : (this.examples.find(({ name }) => name === this.view.example)?.items ?? []);
  }

  /** Show the view itself, without an answer. */
  draw() {
    this.profile.show(this.view.example, this.history());
    showConversation(this.view.turns, this.wishes, this.talk);
    showSettings(this.view);
    this.lists.arrange(this.view.shown);
  }

  /** Ask for the lists of the view. @param {View} [before] What to go back to if the server refuses. */
  async ask(before) {
    this.question.abort();
    const { signal } = (this.question = new AbortController());
    const { turns, k, strength, steer } = this.view;
    const history = this.history().map(({ id }) => id);
    const body = {
      history,
      prompt: turns.length ? turns : null,
      k,
      strength,
      steer,
      unknown_items: "skip",
      explain: true,
    };
    this.lists.wait(true);
    try {
      const { data, roundTripMs } = await call("v1/recommend", { body, signal });
      if (signal.aborted) return;
      this.tries = 0;
      this.show(readAnswer(data, turns.length > 0), roundTripMs);
    } catch (error) {
      if (signal.aborted) return;
      this.lists.wait(false);
      if (!(error instanceof ApiError && error.kind === "invalid" && before))
        this.fail(error, () => void this.ask(before));
      else this.undo(before, error);
    }
  }

  /** @param {ReturnType<typeof readAnswer>} answer @param {number} roundTripMs */
  show(answer, roundTripMs) {
    const { turns } = this.view;
    this.wishes = turns.length ? answer.wishes : null;
    clearNotice();
    showConversation(turns, this.wishes, this.talk);
    this.lists.show(answer, this.notes(answer));
    this.prompt.suggest(suggest(this.model.tags, answer.steered, answer.wishes));
    showLatency(answer, roundTripMs);
    byId("live").textContent = announcement(answer, turns.length > 0);
    if (this.showsChange) bringIntoSight();
    this.showsChange = false;
    if (!answer.steered.length) this.showNothing();
    if (answer.promptTruncated) remark("What you said is longer than the model reads: its end was left out.");
    if (answer.model.version && answer.model.version !== this.model.version)
      void this.learn().then(
        () => this.draw(),
        () => {},
      );
  }

  /** What the headings of the lists say. */
  notes({ steered, plain, same, historyTruncated }) {
    const { turns, strength } = this.view;
    const before = new Set(plain.map(({ id }) => id));
    const fresh = steered.filter(({ id }) => !before.has(id)).length;
    let note = `${fresh} of ${steered.length} are not in the plain list.`;
    if (!turns.length) note = "Nothing said yet: the same list.";
    else if (!steered.length) note = "Nothing is left.";
    else if (strength === 0) note = "Strength 0: the prompt has no say.";
    else if (same) note = "The prompt changed nothing.";
    else if (fresh === 0) note = "The same titles in another order.";
    const source = historyTruncated ? "From the newest titles of the history." : "From the history alone.";
    return { plain: this.history().length ? source : "For someone unknown.", steered: note };
  }

  showNothing() {
    const offers = [];
    if (this.view.steer === "strict")
      offers.push({ label: "Refuse softly", click: () => this.change({ steer: "soft" }) });
    if (this.view.turns.length) offers.push({ label: "Start over", click: this.talk.restart });
    showEmptiness(
      "No title is left",
      "Everything in the catalogue is in the history, or has a tag that you refused.",
      offers,
    );
  }

  /** The server could not use the last step: go back, and say why. */
  undo(before, error) {
    const turn = this.view.turns.length > before.turns.length ? this.view.turns.at(-1) : "";
    this.view = before;
    this.keep("replaceState");
    this.draw();
    this.prompt.complain(
      error.detail || "The server could not use that.",
      typeof turn === "string" ? turn : "",
    );
  }

  /** @param {unknown} error @param {() => void} again */
  fail(error, again) {
    const told =
      error instanceof ApiError ? error : new ApiError("server", "The page could not read the answer.");
    const retry = () => {
      removeEventListener("online", retry);
      clearNotice();
      again();
    };
    this.tries += 1;
    const unasked = told.kind === "busy" && this.tries <= MOST_TRIES;
    showError(told, retry, unasked ? Math.min(told.retryAfterS || DEFAULT_WAIT_S, MOST_WAIT_S) : 0);
    if (told.kind === "offline") addEventListener("online", retry, { once: true });
    if (!(error instanceof ApiError)) console.error(error);
  }
}

/** On a small screen the lists may lie below what is seen, and their motion is the point. */
function bringIntoSight() {
  if (byId("lists").getBoundingClientRect().top < innerHeight * 0.6) return;
  byId("conversation").scrollIntoView({ block: "start", behavior: isStill() ? "auto" : "smooth" });
}

const itemOf = (data) => {
  const item = data.item ?? data;
  return { id: item.id, title: item.title, tags: item.tags ?? [] };
};

setKeyDialog(askForKey);
void new Page().start();
