// The strip of kept faces.

import { describe, same, token } from "./face.js";
import { loadPicture, roomIn } from "./picture.js";

const $ = (id) => document.getElementById(id);

let items = new Map(); // token → its <li>
let bound;

/** `go(face)` shows one, `letGo(face)` keeps it no longer. */
export function bindKept({ go, letGo }) {
  bound = { go, letGo };
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
    const show = item.firstChild;
    show.setAttribute("aria-current", same(face, current));
    if (!show.firstChild) picture(face, show);
  }
}

/** Fetch the pictures anew, at the size that now fits. */
export function redrawKept() {
  for (const item of items.values()) item.firstChild.replaceChildren();
}

/** Whoever removes a face by keyboard goes on at the next one. */
function stayNear(index) {
  const left = [...items.values()];
  if (left.length) left[Math.min(index, left.length - 1)].lastChild.focus();
  else $("keep").focus();
}

function itemOf(face) {
  const item = document.createElement("li");
  const show = document.createElement("button");
  show.type = "button";
  show.setAttribute("aria-label", describe(face));
  show.addEventListener("click", () => bound.go(face));
  const name = document.createElement("span");
  name.textContent = face.seed;
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "remove";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `Let seed ${face.seed} go`);
  remove.addEventListener("click", () => bound.letGo(face));
  item.append(show, name, remove);
  return item;
}

async function picture(face, button) {
  try {
    const { image, labels } = await loadPicture(face, roomIn(button));
    image.alt = "";
    button.setAttribute("aria-label", describe(face, labels));
    button.replaceChildren(image);
  } catch (error) {
    button.title = error.message; // an address may name what this server does not know
  }
}
