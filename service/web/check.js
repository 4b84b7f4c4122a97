// Was this picture made here? Posts a file to the server and says what it answers, in plain words.

import { describe, face } from "./face.js";
import { allModels, defaultModel, identityOf } from "./models.js";
import { ask } from "./net.js";
import { loadPicture } from "./picture.js";

const $ = (id) => document.getElementById(id);
const PREVIEW = 96; // CSS pixels
// What sheets, morphs and faces of latent vectors have for a seed; a text may look the same.
const NO_SEED = /,|\.\.|^latent-[0-9a-f]{16}$/;
// What each verdict means; the server's own sentence stands in between.
const MEANING = {
  reproduced: ["It was made here.", ""],
  claims_only: [
    "It says it was made here, but that cannot be confirmed.",
    "Perhaps it was changed or saved again, or another model made it.",
  ],
  unknown: [
    "Nothing in it says that it was made here.",
    "It may be a photograph, or machine-made by someone else.",
  ],
};

let pending = new AbortController();
let show;

/** `go(face)` shows the face that a picture claims to be. */
export function bindCheck({ go }) {
  show = go;
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) check($("file").files[0]);
    $("file").value = ""; // so that the same file may be given again
  });
  // A picture may be dropped anywhere: letting it replace the page would lose what is there.
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  addEventListener("drop", ({ dataTransfer }) => {
    if (dataTransfer.files[0]) check(dataTransfer.files[0]);
  });
}

async function check(file) {
  pending.abort();
  const mine = (pending = new AbortController());
  say("busy", "Checking …", file.name);
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const answer = await ask("/v1/verify", { method: "POST", headers, body: file, signal: mine.signal });
    const { verdict, claims, detail } = await answer.json();
    mine.signal.throwIfAborted();
    const [sentence, meaning] = MEANING[verdict];
    say(verdict, sentence, `${detail} ${meaning}`, file.name);
    const claimed = claims && faceOf(claims, verdict);
    if (claimed) await compare(claimed, mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) say("refused", "It could not be checked.", error.message, file.name);
  }
}

function say(verdict, sentence, explanation, name = "") {
  const strong = document.createElement("strong");
  strong.textContent = sentence;
  const small = document.createElement("small");
  small.textContent = name;
  $("verdict").dataset.verdict = verdict;
  const paragraph = document.createElement("p");
  paragraph.append(strong, ` ${explanation} `, small);
  $("verdict").replaceChildren(paragraph);
  $("verdict").scrollIntoView({ block: "nearest" });
}

/** The face that is claimed; null where it is not one of a seed, or its model is not loaded here. */
function faceOf({ seed, model, labels }, verdict) {
  if (verdict !== "reproduced" && NO_SEED.test(seed)) return null;
  const loaded = allModels().find((each) => identityOf(each) === model);
  return loaded ? face(seed, labels, loaded === defaultModel() ? "" : loaded.name) : null;
}

/** Beside the words, what this server makes of what the picture claims. */
async function compare(claimed, signal) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Show seed ${claimed.seed}`;
  button.addEventListener("click", () => {
    show(claimed);
    scrollTo({ top: 0 });
  });
  $("verdict").append(button);
  const { image } = await loadPicture(claimed, PREVIEW, signal).catch(() => ({}));
  if (!image) return;
  image.alt = describe(claimed);
  $("verdict").prepend(image);
  $("verdict").scrollIntoView({ block: "nearest" });
}
