// The face in the middle and eight variations of it around: pick one and walk on.
// A grid of buttons of which one is in the tab order; the arrow keys move among them.

import { emptyCell, fillCell, repeatInto } from "./cells.js";
import { $, button, make } from "./dom.js";
import { parent, variation } from "./face.js";
import { announce, complain } from "./say.js";
import { pause } from "./until.js";

const SIDE = 3;
const MIDDLE = 4;
const AROUND = SIDE * SIDE - 1;
const PATIENCE = 0.15; // seconds: who hurries through faces does not wait for their relatives
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let cells = [];
let faces = []; // what each cell stands for; null: nothing
let centre = null;
let picture = null; // of the face in the middle
let page = 0; // which eight of the endless variations
let filling = new AbortController(); // of the grid as it is now: whatever comes next ends it

export function bindNeighbours({ go }) {
  cells = Array.from({ length: SIDE * SIDE }, (_, index) =>
    button({
      disabled: true, // until there is a face in the middle
      tabIndex: index === MIDDLE ? 0 : -1,
      onclick: () => choose(index, go),
    }),
  );
  const rows = Array.from({ length: SIDE }, (_, y) => {
    const row = cells.slice(y * SIDE, (y + 1) * SIDE);
    return make("div", { role: "row" }, ...row.map((cell) => make("div", { role: "gridcell" }, cell)));
  });
  $("grid").replaceChildren(...rows);
  cells[MIDDLE].parentElement.classList.add("middle");
  $("grid").addEventListener("keydown", walk);
  $("others").addEventListener("click", others);
  $("back").addEventListener("click", () => go(parent(centre)));
}

/** Draw the neighbourhood of `face`, whose own picture is there already. */
export function drawNeighbours(face, shown) {
  if (face.seed !== centre?.seed) page = 0;
  centre = face;
  picture = shown;
  const above = parent(face);
  const left = !above && document.activeElement === $("back");
  $("back").hidden = !above;
  if (left) cells[MIDDLE].focus(); // the way back ends here
  $("back").textContent = above ? `Back to ${above.seed}` : "";
  fill();
}

/** Another face is wanted: what is still missing around this one is not. */
export const leaveNeighbours = () => filling.abort();

/** It could not be had: this one stays. */
export function resumeNeighbours() {
  if (centre && filling.signal.aborted) fill();
}

async function fill() {
  filling.abort();
  const { signal } = (filling = new AbortController());
  const around = Array.from({ length: AROUND }, (_, n) => variation(centre, page * AROUND + n + 1));
  faces = [...around.slice(0, MIDDLE), centre, ...around.slice(MIDDLE)];
  $("others").disabled = !around.some(Boolean);
  cells.forEach((cell, index) => {
    cell.disabled = !faces[index];
    cell.ariaLabel = nameOf(index);
    if (faces[index]) cell.classList.add("old");
    else emptyCell(cell);
  });
  repeatInto(cells[MIDDLE], centre, picture);
  const fetched = cells.map(async (cell, index) => {
    if (index === MIDDLE || !faces[index]) return;
    await pause(PATIENCE, signal);
    await fillCell(cell, faces[index], signal);
  });
  try {
    await Promise.all(fetched); // the first failure is told at once: others may never come into view
  } catch (error) {
    if (!signal.aborted) complain(error.message, fill);
  }
}

/** Short, as nine of them are read out; what a face is like is said once it is picked. */
function nameOf(index) {
  if (!faces[index]) return "Nobody: the seed is too long";
  if (index === MIDDLE) return `Show eight more variations of seed ${centre.seed}`;
  const nth = index < MIDDLE ? index + 1 : index;
  return `Variation ${nth} of ${AROUND}, seed ${faces[index].seed}`;
}

function choose(index, go) {
  if (index === MIDDLE) return others();
  focusOn(MIDDLE);
  return go(faces[index]);
}

function others() {
  page += 1;
  announce(`Eight more variations of seed ${centre.seed}.`);
  fill();
}

function walk(event) {
  const at = cells.indexOf(document.activeElement);
  if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  const [right, down] = STEPS[event.key] ?? [0, 0];
  const x = (at % SIDE) + right;
  const y = Math.floor(at / SIDE) + down;
  let to = x >= 0 && x < SIDE && y >= 0 && y < SIDE ? y * SIDE + x : at;
  if (event.key === "Home") to = at - (at % SIDE);
  else if (event.key === "End") to = at - (at % SIDE) + SIDE - 1;
  else if (!STEPS[event.key]) return;
  event.preventDefault();
  if (!cells[to].disabled) focusOn(to);
}

function focusOn(index) {
  for (const cell of cells) cell.tabIndex = -1;
  cells[index].tabIndex = 0;
  if ($("grid").contains(document.activeElement)) cells[index].focus();
}
