// A face's picture on the page: how many pixels to ask for, how large to show them.
// Every picture is shown at whole multiples of its pixels or exactly as the server sized it,
// so the browser never resamples one.

import { describe, pictureUrl } from "./face.js";
import { modelOf } from "./models.js";
import { ask } from "./net.js";

const FINE_RESOLUTION = 128; // from here on single pixels are too small to care about
const MIN_SIZE = 16;
const MAX_SIZE = 1024;

let smooth = stored("smooth") === "yes";

/** A preference of this browser; the page works without the storage being there. */
export function stored(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`visage.${name}`, value);
    return localStorage.getItem(`visage.${name}`);
  } catch {
    return null;
  }
}

export const isSmooth = () => smooth;
export const isFine = (face) => modelOf(face).resolution >= FINE_RESOLUTION;

export function setSmooth(wanted) {
  smooth = wanted;
  stored("smooth", wanted ? "yes" : "no");
}

/**
 * For `room` CSS pixels: {side} in CSS pixels, {size} to ask of the server (none: its own),
 * at most `most`.
 * Whole pixels need at least two screen pixels each; below that they would waste the room, so
 * the server's Lanczos fills it exactly.
 */
export function rendition(face, room, most = MAX_SIZE) {
  const { resolution } = modelOf(face);
  const screen = Math.floor(room * devicePixelRatio);
  const whole = Math.floor(screen / resolution);
  if (whole >= 2 && !smooth && !isFine(face)) return { side: (whole * resolution) / devicePixelRatio };
  const size = Math.min(Math.max(screen, MIN_SIZE), MAX_SIZE, most);
  return { side: size / devicePixelRatio, size: size === resolution ? undefined : size };
}

/** The room for a picture inside an element, in CSS pixels. */
export function roomIn(element) {
  const { paddingLeft, paddingRight } = getComputedStyle(element);
  return element.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
}

/** An <img> of that side; small pictures keep their square pixels. */
export function imageOf(url, side, alt) {
  const image = new Image();
  image.className = "face";
  image.style.width = image.style.height = `${side}px`;
  image.alt = alt;
  image.src = url;
  return image;
}

/** A face's picture, decoded and ready to be put in place, and all labels it was drawn with. */
export async function loadPicture(face, room, signal) {
  const { side, size } = rendition(face, room);
  const url = pictureUrl(face, { size });
  const response = await ask(url, { signal });
  await response.blob(); // whole, hence in the browser's cache under this very address
  const labels = Object.fromEntries(new URLSearchParams(response.headers.get("X-Labels") ?? ""));
  const image = imageOf(url, side, describe(face, labels));
  await image.decode();
  signal?.throwIfAborted();
  return { image, labels };
}
