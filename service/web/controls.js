// The form that says which face: seed, attributes, and the model where there are several.
// Knows nothing about pictures.

import { $, make } from "./dom.js";
import { allModels, defaultModel, modelOf, withKnownLabels } from "./models.js";

let selects = new Map(); // attribute name → its <select>
let built = null; // the model whose attributes these are
let written = null; // the seed last put into its box
let bound;

/** `go(face)` shows a face, `current()` is the one now wanted. */
export function buildControls({ go, current }) {
  bound = { go, current };
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("seed").addEventListener("change", () => {
    if ($("seed").value) go({ ...current(), seed: $("seed").value });
    else $("seed").value = current().seed;
  });
}

/** Controls ← face. `drawn`: every label, once the server has told; "any" then says which. */
export function showControls(face, drawn) {
  build(modelOf(face));
  if (face.seed !== written || document.activeElement !== $("seed")) {
    $("seed").value = written = face.seed; // but never over what is being typed
  }
  for (const [name, select] of selects) {
    select.value = face.labels[name] ?? "";
    if (select.selectedIndex < 0) select.value = ""; // such as age=34: the server will tell
    if (drawn) select.options[0].text = select.value || !drawn[name] ? "any" : `any (${drawn[name]})`;
  }
}

function build(model) {
  if (built === model) return;
  built = model;
  const { go, current } = bound;
  selects = new Map();
  const labels = model.attributes.map(({ name, values }) => {
    const select = selectOf(name, [["any", ""], ...values.map((value) => [value, value])]);
    select.addEventListener("change", () => {
      const { [name]: _, ...others } = current().labels;
      go({ ...current(), labels: select.value ? { ...others, [name]: select.value } : others });
    });
    selects.set(name, select);
    return labelled(name, select);
  });
  if (allModels().length > 1) labels.push(labelled("model", modelSelect(model)));
  $("attributes").replaceChildren(...labels);
  $("attributes").hidden = labels.length === 0;
}

function modelSelect(model) {
  const { go, current } = bound;
  const select = selectOf("model", allModels().map(({ name }) => [name, name]));
  select.value = model.name;
  select.addEventListener("change", () => {
    const chosen = select.value === defaultModel().name ? "" : select.value;
    go(withKnownLabels({ ...current(), model: chosen }));
  });
  return select;
}

function selectOf(name, options) {
  return make("select", { name }, ...options.map(([text, value]) => new Option(text, value)));
}

const labelled = (text, control) => make("label", {}, text, control);
