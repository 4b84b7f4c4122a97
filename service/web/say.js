// Words to the visitor: what changed, what is being waited for, what went wrong.
// Knows nothing about faces.

const NOTICE_SECONDS = 6;

const $ = (id) => document.getElementById(id);
let waiting = ""; // stays until it is over
let passing = ""; // goes by itself
let timer;

function render() {
  const sentence = passing || waiting;
  if ($("notice").textContent !== sentence) $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
}

/** For screen readers only: the page itself shows the change. */
export function announce(sentence) {
  $("announcement").textContent = sentence;
}

/** Something small that worked: shown for a moment and read out. */
export function notify(sentence) {
  passing = sentence;
  clearTimeout(timer);
  timer = setTimeout(() => {
    passing = "";
    render();
  }, NOTICE_SECONDS * 1000);
  render();
}

/** Why nothing happens just now; without a sentence, it does again. */
export function wait(sentence = "") {
  waiting = sentence;
  render();
}

/** One sentence about what is wrong; without one, nothing is. */
export function complain(sentence = "") {
  $("problem").textContent = sentence;
  $("problem").hidden = !sentence;
}
