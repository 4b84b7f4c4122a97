// From one face to another: two ends, an animation between them, played and saved.

import { $, inView } from "./dom.js";
import { fromToken, morphUrl, randomSeed, same, token } from "./face.js";
import { modelOf } from "./models.js";
import { ask } from "./net.js";
import { fit, imageOf, loadPicture, rendition, roomIn } from "./picture.js";
import { announce, complain, notify } from "./say.js";
import { fileStem, saveWhenThere } from "./share.js";
import { sourceOf } from "./source.js";

const SHOWN = ""; // value of the option "the face above"
const ANYBODY = "?"; // value of the option "a random face"; no token is empty before its "?"

const ends = { from: null, to: null }; // null: not picked, the first option
let origin = null; // where a morph that is being picked starts
let playing = false;
let pending = new AbortController();
let bound;

/** `current()`: the face shown above; `changed({from, to, frames})`: what is now played. */
export function bindMorph({ current, changed }) {
  bound = { current, changed };
  $("pick").addEventListener("click", pick);
  $("play").addEventListener("click", () => (playing ? stop() : play()));
  $("swap").addEventListener("click", swap);
  $("frames").addEventListener("input", () => ($("count").value = $("frames").value));
  $("frames").addEventListener("change", () => playing && play());
  for (const end of ["from", "to"]) {
    $(end).addEventListener("change", () => {
      ends[end] = fromToken($(end).value);
      stop();
    });
  }
  saveWhenThere($("save-film"));
}

/** Offer the shown and the kept faces as ends. */
export function drawEnds(shown, kept) {
  for (const [end, first] of [
    ["from", ["the face above", SHOWN]],
    ["to", ["a random face", ANYBODY]],
  ]) {
    const known = [ends[end], end === "to" ? shown : null, ...kept].filter(Boolean);
    const options = new Map(known.map((face) => [token(face), optionText(face)]));
    $(end).replaceChildren(
      new Option(...first),
      ...[...options].map(([value, text]) => new Option(text, value)),
    );
    $(end).value = ends[end] ? token(ends[end]) : first[1];
  }
  if (!playing) still(ends.from ?? shown);
}

/** The ends that an address names; they play when asked to. */
export function restoreMorph(morph) {
  ends.from = morph?.from ?? null;
  ends.to = morph?.to ?? null;
  if (morph) $("frames").value = morph.frames;
  $("count").value = $("frames").value; // within its bounds, whatever the address said
  stop();
}

function optionText({ seed, labels }) {
  return [`seed ${seed}`, ...Object.values(labels)].join(", ");
}

/** First press: from the shown face. Second press: to the one shown then, and play. */
function pick() {
  const shown = bound.current();
  if (!origin || same(origin, shown)) {
    origin = origin ? null : shown;
    if (origin) notify(`The morph starts at seed ${shown.seed}. Now find the face where it ends.`);
    drawPick();
    return;
  }
  [ends.from, ends.to, origin] = [origin, shown, null];
  drawPick();
  $("morph").scrollIntoView({ block: "center" });
  play();
}

function drawPick() {
  $("pick").textContent = origin ? "Morph to this" : "Morph from this";
  $("pick").classList.toggle("on", Boolean(origin));
}

function swap() {
  const { from, to } = settled();
  [ends.from, ends.to] = [to, from];
  play();
}

/** Both ends as faces: what was left open is decided now. */
function settled() {
  ends.from ??= bound.current();
  ends.to ??= { ...ends.from, seed: randomSeed() };
  return ends;
}

async function play() {
  pending.abort();
  const mine = (pending = new AbortController());
  const { from, to } = settled();
  if (modelOf(from) !== modelOf(to)) {
    stop();
    complain("Both ends of a morph have to be faces of one model.");
    return;
  }
  const frames = Number($("frames").value);
  bound.changed({ from, to, frames });
  for (const end of ["from", "to"]) include(end);
  const shown = rendition(from, roomIn($("screen")));
  const url = morphUrl(from, to, { frames, size: shown.size });
  playing = true;
  $("play").textContent = "Stop";
  $("screen").classList.add("busy");
  try {
    await place(from, mine.signal);
    const source = await sourceOf(url, await ask(url, { signal: mine.signal }));
    const film = imageOf(source, shown, `From seed ${from.seed} to seed ${to.seed} and back. ` +
      "Machine-made; none of these people exists.");
    await film.decode();
    mine.signal.throwIfAborted();
    film.id = "film";
    $("screen").replaceChildren(film);
    $("save-film").href = url;
    $("save-film").download = `morph-${fileStem(from)}-${fileStem(to)}.webp`;
    $("save-film").hidden = false;
    complain();
    announce(`Playing from seed ${from.seed} to seed ${to.seed}.`);
  } catch (error) {
    if (mine.signal.aborted) return;
    complain(error.message, play);
    stop();
  }
  $("screen").classList.remove("busy");
}

/** Make sure the end is among its options, and chosen. */
function include(end) {
  const value = token(ends[end]);
  if (![...$(end).options].some((option) => option.value === value)) {
    $(end).append(new Option(optionText(ends[end]), value));
  }
  $(end).value = value;
}

function stop() {
  pending.abort();
  playing = false;
  $("play").textContent = "Play";
  $("screen").classList.remove("busy");
  $("save-film").hidden = true;
  const first = ends.from ?? bound.current();
  if (first) still(first);
}

/** The first picture of what would be played, once somebody comes to see it. */
function still(face) {
  pending.abort();
  const { signal } = (pending = new AbortController());
  inView($("screen"), signal)
    .then(() => place(face, signal))
    .catch(() => {}); // the large face says why
}

async function place(face, signal) {
  const { image } = await loadPicture(face, roomIn($("screen")), { signal });
  $("screen").replaceChildren(image);
}

/** Show what plays at the size that now fits: another film would be as many pictures again. */
export function redrawMorph() {
  const film = $("screen").querySelector("#film");
  if (film) fit(film, rendition(ends.from, roomIn($("screen"))));
}
