// Talks to the server: time limit, API key, and one kind of error for whatever goes wrong.

const TIMEOUT_MS = 10_000;
const KEY_NAME = "dpr-api-key";

/** What went wrong, in a word that the page knows how to show. */
export class ApiError extends Error {
  /**
   * @param {"offline" | "timeout" | "key" | "invalid" | "busy" | "missing" | "server"} kind
   * @param {string} detail What the server said of it, if it did.
   * @param {{status?: number, retryAfterS?: number}} [more]
   */
  constructor(kind, detail, { status = 0, retryAfterS = 0 } = {}) {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * Asks for a key, and gives it, or null if there will be none. The dialog stands here.
 * @type {(refused: boolean) => Promise<string | null>}
 */
let askForKey = async () => null;

/** @param {(refused: boolean) => Promise<string | null>} ask */
export function setKeyDialog(ask) {
  askForKey = ask;
}

/**
 * Ask the server, and ask again with a key if it wants one.
 * @param {string} path Relative to the page, so that it works below any prefix.
 * @param {{body?: object, signal?: AbortSignal}} [options] A body makes it a POST.
 * @returns {Promise<{data: any, roundTripMs: number}>}
 * @throws {ApiError} or the AbortError of the caller's own signal
 */
export async function call(path, options = {}) {
  for (;;) {
    const key = keptKey();
    try {
      return await once(path, options, key);
    } catch (error) {
      if (!(error instanceof ApiError) || error.kind !== "key") throw error;
      // Another call may have been given a key meanwhile.
      if (keptKey() !== key) continue;
      const given = await askForKey(key !== null);
      options.signal?.throwIfAborted();
      if (given === null) throw error;
      keepKey(given);
    }
  }
}

/** @param {string} path @param {{body?: object, signal?: AbortSignal}} options @param {string | null} key */
async function once(path, { body, signal }, key) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIMEOUT_MS);
  const began = performance.now();
  try {
    const response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: headers(body, key),
      body: body ? JSON.stringify(body) : undefined,
      signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
      cache: "no-store",
      credentials: "same-origin",
    });
    if (!response.ok) throw await problem(response);
    const text = await response.text();
    return { data: JSON.parse(text), roundTripMs: roundTrip(response.url, began) };
  } catch (error) {
    throw meaning(error, signal, limit.signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Milliseconds from the question to the last byte of the answer, as the browser's network saw them: what the page
 * itself was busy with meanwhile is no latency.
 */
function roundTrip(url, began) {
  const entry = performance.getEntriesByName(url, "resource").at(-1);
  performance.clearResourceTimings(); // a full list takes no more
  return entry && entry.startTime >= began ? entry.duration : performance.now() - began;
}

function meaning(error, signal, limit) {
  if (error instanceof ApiError || signal?.aborted) return error;
  if (limit.aborted) return new ApiError("timeout", "");
  if (error instanceof SyntaxError) return new ApiError("server", "The answer was not JSON.");
  if (error instanceof TypeError) return new ApiError("offline", ""); // what fetch throws when nothing answers
  return error;
}

function headers(body, key) {
  const found = { Accept: "application/json" };
  if (body) found["Content-Type"] = "application/json";
  if (key) found.Authorization = `Bearer ${key}`;
  return found;
}

/** The error that an answer of 4xx or 5xx tells of. @param {Response} response */
async function problem(response) {
  const told = await response.json().catch(() => null);
  const detail = typeof told?.detail === "string" ? told.detail : "";
  const { status } = response;
  const kinds = { 401: "key", 404: "missing", 503: "busy", 504: "timeout" };
  const kind = kinds[status] ?? (status < 500 ? "invalid" : "server");
  return new ApiError(kind, detail, { status, retryAfterS: seconds(response.headers.get("Retry-After")) });
}

/** Seconds to wait by a Retry-After header, which holds seconds or a date. */
function seconds(header) {
  if (!header) return 0;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(wait) && wait > 0 ? wait : 0;
}

let spareKey = null; // for when storage is switched off

function keptKey() {
  try {
    return sessionStorage.getItem(KEY_NAME);
  } catch {
    return spareKey;
  }
}

function keepKey(key) {
  spareKey = key;
  try {
    sessionStorage.setItem(KEY_NAME, key);
  } catch {
    // then it holds until the page is left
  }
}
