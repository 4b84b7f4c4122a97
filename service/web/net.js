// Requests that wait when the server says so, and until it can be reached again.
// Knows nothing about what is asked for, but which weights made it and which are in use.

import { keyHeaders, useKey } from "./key.js";
import { wait } from "./say.js";
import { pause, until } from "./until.js";

const BUSY = [429, 502, 503, 504];
const LONGEST_WAIT = 60; // seconds

let resumeAt = 0; // no request leaves before this time
const inUse = new Map(); // model → its identity `name@digest12`, as in X-Model

/** From now on pictures by other weights of these models are out of date. */
export const using = (identities) => identities.forEach((each) => inUse.set(modelIn(each), each));

const modelIn = (identity) => identity.split("@")[0];

/**
 * Fetch; busy servers and lost connections are waited for, a refusal is an Error in its words and
 * with its `status`. After so many `attempts` a server that was busy or silent counts as one.
 */
export async function ask(url, { attempts = Infinity, ...options } = {}) {
  const { signal } = options;
  for (let failures = 0; ; failures++) {
    await pause((resumeAt - Date.now()) / 1000, signal);
    let response;
    try {
      response = await send(url, options);
    } catch (error) {
      signal?.throwIfAborted();
      if (failures + 1 >= attempts) throw givenUp("The server did not answer, or took too long.");
      await connection(failures, signal);
      continue;
    }
    if (response.ok) {
      const maker = response.headers.get("X-Model");
      if (isOutOfDate(maker)) {
        // Browsers keep pictures for a year, under addresses that outlive a model's weights.
        if (options.cache !== "reload") return ask(url, { attempts, ...options, cache: "reload" });
        using([maker]); // the server itself says so: it has loaded others since this page was opened
      }
      if (Date.now() >= resumeAt) wait();
      return response;
    }
    const { detail } = await response.json().catch(() => ({}));
    signal?.throwIfAborted();
    if (!BUSY.includes(response.status) || failures + 1 >= attempts) {
      throw givenUp(detail ?? `The server answers ${response.status}.`, response.status);
    }
    hold(Number(response.headers.get("Retry-After")) || 1, detail ?? "The server is busy.");
  }
}

const send = (url, options) =>
  fetch(url, { ...options, headers: { ...options.headers, ...keyHeaders() } });

export const REFUSED_KEY = "visage:refused-key"; // an event: a key is wanted, or this one is none

/** What is thrown when it is given up: nothing is waited for any more. */
function givenUp(sentence, status) {
  wait();
  if (status === 401) {
    useKey("");
    dispatchEvent(new Event(REFUSED_KEY));
  }
  return Object.assign(new Error(sentence), { status });
}

/** Whether its model is loaded, with other weights than these. */
function isOutOfDate(identity) {
  const present = identity && inUse.get(modelIn(identity));
  return Boolean(present) && present !== identity;
}

/** Fill the browser's cache with what may be wanted next; whatever goes wrong does not matter. */
export async function prefetch(url, signal) {
  if (Date.now() < resumeAt || !navigator.onLine) return false;
  try {
    const response = await send(url, { signal, priority: "low" });
    await response.blob();
    return response.ok;
  } catch {
    return false;
  }
}

/** Let no request leave for so long; the longest such wish counts. */
function hold(seconds, reason) {
  const whole = Math.ceil(Math.min(seconds, LONGEST_WAIT));
  resumeAt = Math.max(resumeAt, Date.now() + whole * 1000);
  wait(`${reason} Trying again in ${whole} second${whole === 1 ? "" : "s"}.`);
}

async function connection(failures, signal) {
  if (navigator.onLine) {
    hold(Math.min(2 ** failures, 15), "The server does not answer.");
    return;
  }
  wait("You are offline. This goes on by itself when you are back.");
  await until((done) => {
    addEventListener("online", done);
    return () => removeEventListener("online", done);
  }, signal);
}

addEventListener("offline", () => wait("You are offline. What has been seen is still here."));
addEventListener("online", () => wait());
