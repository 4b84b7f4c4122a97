// What is known about the model that makes the face: as the server tells it, in plain words.

import { $, make } from "./dom.js";

const MEASURES = 4; // the first ones say most

/** `model` as in /v1/models. */
export function showModel({ name, resolution, latent_dim, attributes, licence, metrics, engine, digest }) {
  $("model").textContent = `About this model: ${name}, ${resolution}×${resolution} pixels`;
  const facts = [
    ["Pictures", `${resolution}×${resolution} pixels; other sizes are scaled from these`],
    ["A face", `${latent_dim} random numbers, drawn by its seed`],
    ["Can be asked for", attributes.map((each) => `${each.name} (${each.values.join(", ")})`).join("; ")],
    ["Learnt from", metrics?.dataset?.name && `photographs of the data set ${metrics.dataset.name}`],
    ["Computed by", engine],
    ["Weights", digest && `SHA-256 ${digest.slice(0, 12)}…`],
    ...measured(metrics?.measures),
    ["Licence", licence || "not stated"],
  ];
  $("facts").replaceChildren(
    ...facts
      .filter(([, fact]) => fact)
      .map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact))),
  );
}

/** Each beside the same measure of photographs, without which no number says much. */
function measured(measures) {
  if (!Array.isArray(measures)) return [];
  return measures
    .filter((each) => typeof each?.name === "string")
    .filter(({ generated, real }) => Number.isFinite(generated) && Number.isFinite(real))
    .slice(0, MEASURES)
    .map(({ name, generated, real }) => [capital(name), `${short(generated)}; photographs ${short(real)}`]);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const short = (number) => String(Number(number.toPrecision(3)));
