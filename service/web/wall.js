// A wall of random faces to pick from. Their seeds follow one another, so that one number in the
// page's address is the whole wall; what is asked of the face above is asked of all of them.

import { fillCell } from "./cells.js";
import { $, button, make } from "./dom.js";
import { face as faceOf, randomSeed, same, title, token } from "./face.js";
import { announce, complain } from "./say.js";

const FACES = 24;

let filling = new AbortController();
let hung = ""; // which wall this is
let faces = [];
let bound;

/** `go(face)` shows one, `hang(first)` wants the wall that begins with this seed. */
export function bindWall({ go, hang }) {
  bound = { go };
  $("hang").addEventListener("click", () => {
    hang(randomSeed());
    announce(`${FACES} other faces.`);
  });
}

/** Bring the wall up to date with the face shown; without a `first` seed there is none. */
export function drawWall(first, shown) {
  const { labels, model } = shown;
  $("faces").hidden = !first;
  $("hang").textContent = first ? "Other faces" : `Show ${FACES} random faces`;
  if (!first) {
    filling.abort();
    hung = "";
    return;
  }
  const wanted = token(faceOf(first, labels, model));
  if (wanted !== hung) {
    hung = wanted;
    faces = Array.from({ length: FACES }, (_, n) => faceOf(Number(first) + n, labels, model));
    const cells = faces.map((face) => button({ ariaLabel: title(face), onclick: () => bound.go(face) }));
    $("faces").replaceChildren(...cells.map((cell) => make("li", {}, cell)));
    fill(cells);
  }
  [...$("faces").children].forEach((item, n) =>
    item.firstChild.setAttribute("aria-current", same(faces[n], shown)),
  );
}

async function fill(cells) {
  filling.abort();
  const { signal } = (filling = new AbortController());
  const fetched = cells.map(async (cell, n) => {
    if (!cell.firstChild) cell.ariaLabel = title(faces[n], await fillCell(cell, faces[n], signal));
  });
  try {
    await Promise.all(fetched); // the first failure is told at once: others may never come into view
  } catch (error) {
    if (!signal.aborted) complain(error.message, () => fill(cells));
  }
}

/** Show the pictures anew, at the size that now fits. */
export function redrawWall() {
  hung = "";
}
