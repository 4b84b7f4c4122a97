// Words to the visitor: what changed, what is being waited for, what went wrong.
// Knows nothing about faces.

import { $ } from "./dom.js";

const NOTICE_SECONDS = 6;

let waiting = ""; // stays until it is over
let passing = ""; // goes by itself, or when it is closed
let closable = false;
let timer;
let retry; // what "Try again" does

function render() {
  const sentence = passing || waiting;
  if ($("notice").textContent !== sentence) $("notice").textContent = sentence;
  $("close-notice").hidden = !(passing && closable);
}

function closeNotice() {
  passing = "";
  render();
}

export function bindWords() {
  $("close-notice").addEventListener("click", closeNotice);
  $("close-problem").addEventListener("click", () => {
    complain();
    $("another").focus({ preventScroll: true }); // what had the focus is gone
  });
  $("retry").addEventListener("click", () => {
    const again = retry;
    complain();
    $("another").focus({ preventScroll: true });
    again();
  });
}

/** For screen readers only: the page itself shows the change. */
export function announce(sentence) {
  $("announcement").textContent = sentence;
}

/** Something small that worked: shown for a moment, or until it is closed, and read out. */
export function notify(sentence, { stays = false } = {}) {
  passing = sentence;
  closable = stays;
  clearTimeout(timer);
  if (!stays) timer = setTimeout(closeNotice, NOTICE_SECONDS * 1000);
  render();
}

/** Why nothing happens just now; without a sentence, it does again. */
export function wait(sentence = "") {
  waiting = sentence;
  render();
}

/** One sentence about what is wrong; without one, nothing is. `again` is offered where it may help. */
export function complain(sentence = "", again = null) {
  retry = again;
  $("problems").hidden = !sentence;
  $("retry").hidden = !again;
  if ($("problem").textContent !== sentence) $("problem").textContent = sentence;
}
