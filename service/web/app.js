// FRONT DOOR of the page: which face is shown, and what every part does when it changes.
// The state is in the address; the parts know each other only through this file.

import { showModel } from "./about.js";
import { readAddress, writeAddress } from "./address.js";
import { bindCheck } from "./check.js";
import { buildControls, showControls } from "./controls.js";
import { $ } from "./dom.js";
import { describe, pictureUrl, randomSeed, same } from "./face.js";
import { isKey, useKey } from "./key.js";
import { bindKeys } from "./keys.js";
import { bindKept, drawKept, redrawKept } from "./kept.js";
import { loadModels, modelOf, withKnownLabels } from "./models.js";
import { bindMorph, drawEnds, redrawMorph, restoreMorph } from "./morph.js";
import { bindNeighbours, drawNeighbours, leaveNeighbours, resumeNeighbours } from "./neighbours.js";
import { prefetch, REFUSED_KEY } from "./net.js";
import { isFine, isSmooth, loadPicture, rendition, roomIn, setSmooth } from "./picture.js";
import { announce, bindWords, complain, notify } from "./say.js";
import { bindShare, drawShare } from "./share.js";
import { bindVaried, drawVaried, leaveVaried, resumeVaried } from "./varied.js";
import { bindWall, drawWall, redrawWall } from "./wall.js";
import { bindZip, drawZip } from "./zip.js";

const MAX_KEPT = 60; // an address has to fit into a message

const state = { face: null, kept: [], morph: null, by: "", wall: "" };
let onScreen = null; // the face whose picture is shown, which a slow server has not replaced yet
let upcoming = null; // the face that "New face" will show, fetched ahead
let pending = new AbortController(); // the request for the face now wanted

/** Show `wanted`; the one before stays until its picture has been decoded. */
async function show(wanted, { remember = false, quietly = false } = {}) {
  pending.abort();
  leaveNeighbours();
  leaveVaried();
  const mine = (pending = new AbortController());
  state.face = wanted;
  writeAddress(state, { remember });
  showControls(wanted);
  $("frame").classList.add("busy");
  try {
    const { signal } = mine;
    const { image, labels } = await loadPicture(wanted, roomIn($("frame")), { signal });
    complain();
    place(image);
    settle(labels);
    if (!quietly) announce(describe(state.face, labels));
    fetchAhead(signal);
    drawNeighbours(state.face, image);
    drawVaried(state.face, labels, image);
  } catch (error) {
    if (mine.signal.aborted) return;
    $("frame").classList.remove("busy");
    state.face = withKnownLabels(wanted); // so that the next one is not refused for the same
    drawParts();
    resumeNeighbours();
    resumeVaried();
    const again = () => show(wanted, { quietly });
    complain(error.message, isRefusal(error) ? null : again);
  }
}

/** The same question would have the same answer. */
const isRefusal = ({ status }) => status >= 400 && status < 500;

/** Put the new picture over the old one, which fades out underneath. */
function place(image) {
  for (const old of $("frame").children) {
    old.removeAttribute("id");
    old.alt = "";
    old.classList.add("leaving");
    old.addEventListener("transitionend", () => old.remove());
    setTimeout(() => old.remove(), 400); // where nothing moves, no transition ends
  }
  image.id = "face";
  $("frame").append(image);
  $("frame").classList.remove("busy");
}

/** The server's spelling replaces the visitor's (age=34 is age=30-39); all parts follow. */
function settle(labels) {
  const given = Object.keys(state.face.labels).map((name) => [name, labels[name]]);
  state.face = { ...state.face, labels: Object.fromEntries(given.filter(([, value]) => value)) };
  onScreen = state.face;
  writeAddress(state);
  document.title = `Seed ${state.face.seed} · Visage`;
  $("title").textContent = `Seed ${state.face.seed}`;
  $("caption").textContent = Object.values(labels).join(", ");
  $("smoothing").hidden = isFine(state.face);
  showControls(state.face, labels);
  drawParts();
  showModel(modelOf(state.face));
}

function drawParts() {
  const isKept = Boolean(onScreen) && state.kept.some((each) => same(each, onScreen));
  $("keep").textContent = isKept ? "Remove" : "Keep";
  $("keep").classList.toggle("on", isKept);
  drawShare(state.face);
  drawKept(state.kept, state.face);
  drawEnds(state.face, state.kept);
  drawZip(state.kept);
  drawWall(state.wall, state.face);
}

/** Have the next face at hand before it is asked for. */
async function fetchAhead(signal) {
  const next = { ...state.face, seed: randomSeed() };
  const url = pictureUrl(next, rendition(next, roomIn($("frame"))));
  if (await prefetch(url, signal)) upcoming = next;
}

function another() {
  const next = { ...state.face, seed: randomSeed() };
  const ahead = upcoming && same({ ...next, seed: upcoming.seed }, upcoming) ? upcoming : next;
  upcoming = null;
  show(ahead, { remember: true });
}

function keep(which = onScreen) {
  if (!which) return;
  const rest = state.kept.filter((each) => !same(each, which));
  const removed = rest.length < state.kept.length;
  if (!removed && rest.length >= MAX_KEPT) {
    notify(`${MAX_KEPT} faces are kept: remove one first.`);
    return;
  }
  state.kept = removed ? rest : [...rest, which];
  writeAddress(state);
  drawParts();
  notify(`Seed ${which.seed} ${removed ? "removed" : "kept"}; ${state.kept.length} kept.`);
}

/** Take the state from the address: all of it, or only the face where it is a step of ours. */
function follow({ onlyFace = false } = {}) {
  const said = readAddress();
  if (!onlyFace) {
    state.kept = said.kept;
    state.morph = said.morph;
    state.by = said.by;
    state.wall = said.wall;
    restoreMorph(said.morph);
  }
  return show(said.face.seed ? said.face : { ...said.face, seed: randomSeed() });
}

function bind() {
  const go = (wanted) => show(wanted, { remember: true });
  buildControls({ go, current: () => state.face });
  bindNeighbours({ go });
  bindKept({ go, remove: keep });
  bindShare();
  bindMorph({
    current: () => onScreen ?? state.face,
    changed: (morph) => {
      state.morph = morph;
      writeAddress(state);
    },
  });
  bindVaried({
    go,
    wish: () => state.by,
    wished: (by) => {
      state.by = by;
      writeAddress(state);
    },
  });
  bindWall({
    go: (wanted) => {
      go(wanted);
      $("frame").scrollIntoView({ block: "nearest" });
    },
    hang: (first) => {
      state.wall = first;
      writeAddress(state);
      drawParts();
    },
  });
  bindZip({ kept: () => state.kept });
  bindCheck({ go });
  bindKeys();
  $("another").addEventListener("click", another);
  $("keep").addEventListener("click", () => keep());
  $("smooth").checked = isSmooth();
  $("smooth").addEventListener("change", () => {
    setSmooth($("smooth").checked);
    redraw();
  });
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = $("key").value.trim();
    if (!isKey(given)) return complain("A key has only plain letters, digits and signs.");
    useKey(given);
    $("key").value = "";
    $("key-form").hidden = true;
    redraw();
  });
  addEventListener(REFUSED_KEY, () => ($("key-form").hidden = false));
  addEventListener("popstate", (event) => follow({ onlyFace: event.state?.ours }));
  watchWidth();
}

/** Everything once more, at the size that now fits. */
function redraw() {
  redrawKept();
  redrawMorph();
  redrawWall();
  show(state.face, { quietly: true });
}

function watchWidth() {
  let width = innerWidth * devicePixelRatio;
  let timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (width === innerWidth * devicePixelRatio) return; // a phone's bars come and go
      width = innerWidth * devicePixelRatio;
      redraw();
    }, 200);
  });
}

async function start() {
  bindWords();
  await loadModels();
  for (const id of ["explorer", "keys", "terms"]) $(id).hidden = false;
  bind();
  await follow();
}

start().catch((error) => complain(`The page could not start: ${error.message}`));
