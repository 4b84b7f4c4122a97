// Taking a face away: save its picture, copy its address, copy the command that fetches it.

import { $, make } from "./dom.js";
import { pictureUrl } from "./face.js";
import { hasKey } from "./key.js";
import { modelOf } from "./models.js";
import { ask } from "./net.js";
import { complain, notify } from "./say.js";

const LONG_ENOUGH = 60_000; // milliseconds until a file that was handed over is forgotten
const SIZES = [64, 128, 256, 512, 1024];

let current = null;
let offered = null; // the resolution for which sizes are offered

export function bindShare() {
  for (const id of ["format", "size"]) $(id).addEventListener("change", () => drawShare(current));
  $("copy-link").addEventListener("click", () => copy(location.href, "Link copied."));
  $("copy-curl").addEventListener("click", () => copy(curl(), "Command copied."));
  saveWhenThere($("save"));
}

/** Point "save" at the face, in the format and size chosen. */
export function drawShare(face) {
  current = face;
  offerSizes(modelOf(face).resolution);
  const format = $("format").value;
  $("save").href = pictureUrl(face, { format, size: Number($("size").value) || undefined });
  $("save").download = `face-${fileStem(face)}.${format}`;
}

/**
 * A link that saves only what is there: fetched first, with the waiting, the refusals and the key
 * that every request gets.
 */
export function saveWhenThere(link) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const { href, download } = link;
    try {
      saveAs(download, await (await ask(href)).blob());
    } catch (error) {
      complain(error.message);
    }
  });
}

export function saveAs(download, blob) {
  const href = URL.createObjectURL(blob);
  make("a", { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href), LONG_ENOUGH);
}

export const fileStem = ({ seed }) => seed.replace(/[^A-Za-z0-9_~-]+/g, "-").slice(0, 64);

function offerSizes(resolution) {
  if (offered === resolution) return;
  offered = resolution;
  const others = SIZES.filter((size) => size !== resolution);
  $("size").replaceChildren(
    new Option(`${resolution} px`, ""),
    ...others.map((size) => new Option(`${size} px`, size)),
  );
}

function curl() {
  const key = hasKey() ? "-H 'X-API-Key: YOUR-KEY' " : ""; // what is copied may be shown to others
  return `curl ${key}-o ${$("save").download} '${$("save").href}'`;
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    if (!copyAsBefore(text)) {
      notify(text, { stays: true }); // to be copied by hand
      return;
    }
  }
  notify(done);
}

/** The older way, which needs no https. */
function copyAsBefore(text) {
  const before = document.activeElement;
  const area = make("textarea", { value: text, className: "unseen" });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus();
  return copied;
}
