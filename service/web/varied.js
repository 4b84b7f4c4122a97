// One person by age, by gender, …: the same seed and labels, but for one attribute that takes each
// of its values.

import { fillCell, repeatInto } from "./cells.js";
import { $, button, make } from "./dom.js";
import { modelOf } from "./models.js";
import { complain } from "./say.js";
import { pause } from "./until.js";

const PATIENCE = 0.15; // seconds, as for the variations around a face

let filling = new AbortController();
let drawn = null; // what is drawn: {attribute, cells}; the cells stay from face to face
let shown = null; // {face, labels, picture}
let bound;

/** `go(face)` shows one; `wish()` names the attribute that is to vary, `wished(name)` says another. */
export function bindVaried({ go, wish, wished }) {
  bound = { go, wish };
  $("by").addEventListener("change", () => {
    wished($("by").value);
    draw();
  });
}

/** Draw it for `face` with all its `labels`, whose own `picture` is there already. */
export function drawVaried(face, labels, picture) {
  shown = { face, labels, picture };
  draw();
}

export const leaveVaried = () => filling.abort();

export function resumeVaried() {
  if (shown && filling.signal.aborted) draw();
}

function draw() {
  const { attributes } = modelOf(shown.face);
  const attribute = attributes.find(({ name }) => name === bound.wish()) ?? richest(attributes);
  $("varied").hidden = !attribute;
  if (!attribute) return;
  $("by").replaceChildren(...attributes.map(({ name }) => new Option(name)));
  $("by").value = attribute.name;
  if (drawn?.attribute !== attribute) build(attribute);
  fill();
}

/** The attribute with most values shows most. */
const richest = (attributes) =>
  attributes.reduce((best, each) => (each.values.length > (best?.values.length ?? 1) ? each : best), null);

function build(attribute) {
  const cells = attribute.values.map((value) =>
    button({ ariaLabel: `${attribute.name} ${value}`, onclick: () => bound.go(withValue(value)) }),
  );
  const items = cells.map((cell, n) =>
    make("li", {}, cell, make("span", { ariaHidden: "true" }, attribute.values[n])),
  );
  $("values").replaceChildren(...items);
  drawn = { attribute, cells };
}

/** The same person with this value: all labels are said, as the seed would draw the others anew. */
function withValue(value) {
  const { face, labels } = shown;
  const all = { ...labels, [drawn.attribute.name]: value };
  const inOrder = modelOf(face).attributes.map(({ name }) => [name, all[name]]);
  return { ...face, labels: Object.fromEntries(inOrder.filter(([, each]) => each)) };
}

async function fill() {
  filling.abort();
  const { signal } = (filling = new AbortController());
  const { attribute, cells } = drawn;
  const fetched = cells.map(async (cell, n) => {
    const isShown = attribute.values[n] === shown.labels[attribute.name];
    cell.setAttribute("aria-current", isShown);
    cell.classList.add("old");
    if (isShown) return repeatInto(cell, shown.face, shown.picture);
    await pause(PATIENCE, signal);
    return fillCell(cell, withValue(attribute.values[n]), signal);
  });
  try {
    await Promise.all(fetched); // the first failure is told at once: others may never come into view
  } catch (error) {
    if (!signal.aborted) complain(error.message, fill);
  }
}
