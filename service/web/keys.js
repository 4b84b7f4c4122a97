// Single-key shortcuts: each one presses a button that is on the page anyway.

import { stored } from "./picture.js";

const $ = (id) => document.getElementById(id);
const KEYS = new Map([
  ["n", ["another", "another face"]],
  ["k", ["keep", "keep this face, or let it go"]],
  ["m", ["pick", "morph from this face; then, on another one, to it"]],
  ["p", ["play", "play or stop the morph"]],
  ["s", ["save", "save the picture"]],
  ["l", ["copy-link", "copy the link"]],
  ["c", ["copy-curl", "copy the command for curl"]],
  ["o", ["others", "eight other neighbours"]],
  ["b", ["back", "back to the face this one is a neighbour of"]],
]);
const ALWAYS = [
  ["arrows", "move among the neighbours; Enter walks there"],
  ["/", "to the seed"],
  ["g", "to the neighbours"],
  ["?", "this list"],
];

export function bindKeys() {
  const rows = [...[...KEYS].map(([key, [, does]]) => [key, does]), ...ALWAYS];
  $("key-list").replaceChildren(...rows.map(([key, does]) => row(key, does)));
  $("single-keys").checked = stored("keys") !== "off";
  $("single-keys").addEventListener("change", () => {
    stored("keys", $("single-keys").checked ? "on" : "off");
  });
  addEventListener("keydown", press);
}

function press(event) {
  const writing = event.target.closest?.("input:not([type=checkbox], [type=range]), select, textarea");
  if (writing || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (!$("single-keys").checked) return;
  const key = event.key.toLowerCase();
  if (KEYS.has(key)) {
    const target = $(KEYS.get(key)[0]);
    if (target.hidden || target.disabled) return;
    target.click();
  } else if (key === "/") {
    $("seed").select();
    $("seed").focus();
  } else if (key === "g") {
    $("grid").querySelector("button[tabindex='0']").focus();
  } else if (key === "?") {
    $("keys").open = !$("keys").open;
    $("keys").firstElementChild.focus();
  } else {
    return;
  }
  event.preventDefault();
}

function row(key, does) {
  const made = document.createElement("div");
  const term = document.createElement("dt");
  const kbd = document.createElement("kbd");
  kbd.textContent = key;
  term.append(kbd);
  const meaning = document.createElement("dd");
  meaning.textContent = does;
  made.append(term, meaning);
  return made;
}
