// A face's picture on the page: which one to ask for, how large to show it.
// Small pictures are shown at whole multiples of their pixels. All others come in few sizes, which
// the browser scales: so another screen, or the same one turned round, asks for nothing new, and
// what one visitor was shown a cache has for the next.

import { make, stored } from "./dom.js";
import { describe, pictureUrl } from "./face.js";
import { modelOf } from "./models.js";
import { ask } from "./net.js";
import { sourceOf } from "./source.js";

const FINE_RESOLUTION = 128; // from here on single pixels are too small to care about
const SIZES = [128, 256, 384, 512]; // more would be bytes that nobody sees
const SMALL = 256; // where many stand side by side, at most

let smooth = stored("smooth") === "yes";

export const isSmooth = () => smooth;
export const isFine = (face) => modelOf(face).resolution >= FINE_RESOLUTION;

export function setSmooth(wanted) {
  smooth = wanted;
  stored("smooth", wanted ? "yes" : "no");
}

/**
 * For `room` CSS pixels: {side} in CSS pixels, whether it is of whole {square} pixels, and the
 * {format} and {size} to ask of the server (none: its own). Whole pixels need at least two screen
 * pixels each; below that they would waste the room. They are PNG, which loses none of them.
 */
export function rendition(face, room, { small = false } = {}) {
  const { resolution } = modelOf(face);
  const screen = Math.floor(room * devicePixelRatio);
  const coarse = !smooth && !isFine(face);
  const whole = Math.floor(screen / resolution);
  const format = coarse ? "png" : "webp";
  if (coarse && whole >= 2) return { side: (whole * resolution) / devicePixelRatio, square: true, format };
  const size = small ? Math.min(resolution, SMALL) : (SIZES.find((each) => each >= screen) ?? SIZES.at(-1));
  return { side: room, square: false, format, size: size === resolution ? undefined : size };
}

/** The room for a picture inside an element, in CSS pixels. */
export function roomIn(element) {
  const { paddingLeft, paddingRight } = getComputedStyle(element);
  return element.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
}

/** An <img> shown like that. */
export function imageOf(url, shown, alt = "") {
  const image = make("img", { className: "face", alt });
  fit(image, shown);
  image.src = url;
  return image;
}

export function fit(image, { side, square }) {
  image.classList.toggle("square", square);
  image.style.width = `${side}px`;
}

/** A face's picture, decoded and ready to be put in place, and all labels it was drawn with. */
export async function loadPicture(face, room, { small, signal } = {}) {
  const shown = rendition(face, room, { small });
  const url = pictureUrl(face, shown);
  const response = await ask(url, { signal });
  const source = await sourceOf(url, response);
  const labels = Object.fromEntries(new URLSearchParams(response.headers.get("X-Labels") ?? ""));
  const image = imageOf(source, shown, describe(face, labels));
  await image.decode();
  signal?.throwIfAborted();
  return { image, labels };
}
