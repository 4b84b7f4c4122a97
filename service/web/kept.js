// The strip of kept faces.

import { fillCell } from "./cells.js";
import { $, button, make } from "./dom.js";
import { same, title, token } from "./face.js";

let items = new Map(); // token → its <li>
let asked = new WeakSet(); // cells whose picture is there or on its way
let bound;

/** `go(face)` shows one, `remove(face)` keeps it no longer. */
export function bindKept({ go, remove }) {
  bound = { go, remove };
}

/** Bring the strip up to date; pictures that are there stay. */
export function drawKept(kept, current) {
  $("nothing-kept").hidden = kept.length > 0;
  $("strip").hidden = kept.length === 0;
  const before = items;
  items = new Map(kept.map((face) => [token(face), before.get(token(face)) ?? itemOf(face)]));
  [...before].forEach(([key, item], index) => {
    if (items.has(key)) return;
    const focused = item.contains(document.activeElement);
    item.remove();
    if (focused) stayNear(index);
  });
  for (const face of kept) {
    const item = items.get(token(face));
    if (!item.isConnected) $("strip").append(item);
    const cell = item.firstChild;
    cell.setAttribute("aria-current", same(face, current));
    if (!asked.has(cell)) picture(face, cell);
  }
}

/** Show the pictures anew, at the size that now fits. */
export function redrawKept() {
  asked = new WeakSet();
}

/** Whoever removes a face by keyboard goes on at the next one. */
function stayNear(index) {
  const left = [...items.values()];
  if (left.length) left[Math.min(index, left.length - 1)].lastChild.focus();
  else $("keep").focus();
}

function itemOf(face) {
  return make(
    "li",
    {},
    button({ ariaLabel: title(face), onclick: () => bound.go(face) }),
    make("span", {}, face.seed),
    button(
      { className: "remove", ariaLabel: `Remove seed ${face.seed}`, onclick: () => bound.remove(face) },
      "×",
    ),
  );
}

async function picture(face, cell) {
  asked.add(cell);
  try {
    cell.ariaLabel = title(face, await fillCell(cell, face));
    cell.title = "";
  } catch (error) {
    asked.delete(cell);
    cell.title = error.message; // an address may name what this server does not know
  }
}
