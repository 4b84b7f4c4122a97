// All kept faces at once, as the server packs them.

import { $ } from "./dom.js";
import { modelOf } from "./models.js";
import { ask } from "./net.js";
import { complain, notify } from "./say.js";
import { saveAs } from "./share.js";

const ATTEMPTS = 3;

/** `kept()`: the faces, in the format and size that is chosen for saving one. */
export function bindZip({ kept }) {
  $("zip").addEventListener("click", async () => {
    $("zip").disabled = true;
    notify("The zip is being made.");
    try {
      for (const [model, faces] of byModel(kept())) await download(model, faces);
      notify("Downloaded.");
    } catch (error) {
      complain(`The zip could not be had: ${error.message}`, () => $("zip").click());
    }
    $("zip").disabled = false;
  });
}

export function drawZip(kept) {
  $("zip").hidden = kept.length === 0;
}

/** A request is for one model: each has a zip of its own. */
function byModel(faces) {
  const models = new Map();
  for (const face of faces) {
    const { name } = modelOf(face);
    models.set(name, [...(models.get(name) ?? []), face]);
  }
  return models;
}

async function download(model, faces) {
  const body = {
    seeds: faces.map(({ seed }) => seed),
    labels: faces.map(({ labels }) => labels),
    model,
    format: $("format").value,
  };
  if ($("size").value) body.size = Number($("size").value);
  const answer = await ask("/v1/faces", {
    ...{ method: "POST", body: JSON.stringify(body), attempts: ATTEMPTS },
    headers: { "Content-Type": "application/json" },
  });
  saveAs(`faces-${model}.zip`, await answer.blob());
}
