// Single-key shortcuts: each one presses a button that is on the page anyway.

import { $, make, stored } from "./dom.js";

const KEYS = new Map([
  ["n", ["another", "a new face"]],
  ["k", ["keep", "keep this face, or remove it"]],
  ["m", ["pick", "morph from this face; then, on another one, to it"]],
  ["p", ["play", "play or stop the morph"]],
  ["s", ["save", "save the picture"]],
  ["l", ["copy-link", "copy the link"]],
  ["c", ["copy-curl", "copy the command for curl"]],
  ["o", ["others", "eight more variations"]],
  ["w", ["hang", "a wall of random faces"]],
  ["b", ["back", "back to the face this one is a variation of"]],
]);
const ALWAYS = [
  ["arrows", "move among the variations; Enter picks one"],
  ["/", "to the seed"],
  ["g", "to the variations"],
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

const row = (key, does) =>
  make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, does));
