// The face in the middle and eight variations of it around: pick one and walk on.
// A grid of buttons of which one is in the tab order; the arrow keys move among them.

import { describe, parent, variation } from "./face.js";
import { loadPicture, roomIn } from "./picture.js";
import { pause } from "./net.js";
import { announce, complain } from "./say.js";

const $ = (id) => document.getElementById(id);
const SIDE = 3;
const MIDDLE = 4;
const AROUND = SIDE * SIDE - 1;
const PATIENCE = 0.15; // seconds: who hurries through faces does not wait for their relatives
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let buttons = [];
let faces = []; // what each button stands for; null: nothing
let centre = null;
let labels = {};
let page = 0; // which eight of the endless variations

export function bindNeighbours({ go }) {
  buttons = Array.from({ length: SIDE * SIDE }, (_, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.disabled = true; // until there is a face in the middle
    button.tabIndex = index === MIDDLE ? 0 : -1;
    button.addEventListener("click", () => choose(index, go));
    return button;
  });
  const rows = Array.from({ length: SIDE }, (_, y) => {
    const cells = buttons.slice(y * SIDE, (y + 1) * SIDE).map((button) => element("gridcell", button));
    return element("row", ...cells);
  });
  $("grid").replaceChildren(...rows);
  buttons[MIDDLE].parentElement.classList.add("middle");
  $("grid").addEventListener("keydown", walk);
  $("others").addEventListener("click", others);
  $("back").addEventListener("click", () => go(parent(centre)));
}

/** Draw the neighbourhood of `face`, whose labels are `drawn`; variations have the same ones. */
export async function drawNeighbours(face, drawn, signal) {
  if (face.seed !== centre?.seed) page = 0;
  centre = face;
  labels = drawn;
  const above = parent(face);
  $("back").hidden = !above;
  $("back").textContent = above ? `Back to ${above.seed}` : "";
  await fill(signal);
}

async function fill(signal) {
  const around = Array.from({ length: AROUND }, (_, n) => variation(centre, page * AROUND + n + 1));
  faces = [...around.slice(0, MIDDLE), centre, ...around.slice(MIDDLE)];
  $("others").disabled = !around.some(Boolean);
  buttons.forEach((button, index) => {
    button.classList.add("old");
    const face = faces[index];
    button.disabled = !face;
    const place = index === MIDDLE ? "In the middle, this face. " : "";
    button.setAttribute("aria-label", face ? place + describe(face, labels) : "Nobody: the seed is too long");
    if (!face) button.replaceChildren();
  });
  await draw(MIDDLE, signal); // from the cache, mostly
  await pause(PATIENCE, signal);
  const drawn = await Promise.allSettled(faces.map((_, index) => index !== MIDDLE && draw(index, signal)));
  const failed = drawn.find(({ status }) => status === "rejected");
  if (failed && !signal.aborted) complain(failed.reason.message);
}

async function draw(index, signal) {
  const face = faces[index];
  if (!face) return;
  const { image } = await loadPicture(face, roomIn(buttons[index].parentElement), signal);
  if (faces[index] !== face) return; // the grid has moved on meanwhile
  image.alt = ""; // the button is labelled
  buttons[index].replaceChildren(image);
  buttons[index].classList.remove("old");
}

function choose(index, go) {
  if (index === MIDDLE) return others();
  focusOn(MIDDLE);
  return go(faces[index]);
}

let filling = new AbortController();

async function others() {
  filling.abort();
  filling = new AbortController();
  page += 1;
  announce(`Eight other neighbours of seed ${centre.seed}.`);
  await fill(filling.signal).catch(() => {});
}

function walk(event) {
  const at = buttons.indexOf(document.activeElement);
  if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  const [right, down] = STEPS[event.key] ?? [0, 0];
  const x = (at % SIDE) + right;
  const y = Math.floor(at / SIDE) + down;
  let to = x >= 0 && x < SIDE && y >= 0 && y < SIDE ? y * SIDE + x : at;
  if (event.key === "Home") to = at - (at % SIDE);
  else if (event.key === "End") to = at - (at % SIDE) + SIDE - 1;
  else if (!STEPS[event.key]) return;
  event.preventDefault();
  if (!buttons[to].disabled) focusOn(to);
}

function focusOn(index) {
  for (const button of buttons) button.tabIndex = -1;
  buttons[index].tabIndex = 0;
  if ($("grid").contains(document.activeElement)) buttons[index].focus();
}

function element(role, ...children) {
  const made = document.createElement("div");
  made.setAttribute("role", role);
  made.append(...children);
  return made;
}
