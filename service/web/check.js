// Was this picture made here? Posts a file to the server and says what it answers, in plain words.

import { $, button, make } from "./dom.js";
import { describe, face } from "./face.js";
import { allModels, defaultModel, identityOf } from "./models.js";
import { ask } from "./net.js";
import { loadPicture } from "./picture.js";

const PREVIEW = 96; // CSS pixels
const MOST_BYTES = 8 * 2 ** 20; // what a server takes unless it was told otherwise
const ATTEMPTS = 2; // an upload that took too long once will again
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
  // All else that is dragged is left alone: a text may go into the seed.
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      const isFile = event.dataTransfer.types.includes("Files");
      if (!isFile && !$("drop").contains(event.target)) return;
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }
  addEventListener("paste", ({ clipboardData }) => {
    // Office puts a picture of the text beside it.
    const isText = clipboardData.types.includes("text/plain");
    if (clipboardData.files.length && !isText) take(clipboardData.files);
  });
}

function take([file]) {
  if (file) check(file);
  else refuse("That was no file: save the picture first, then drop it here or choose it.");
}

async function check(file) {
  pending.abort();
  const mine = (pending = new AbortController());
  if (file.size > MOST_BYTES) {
    const size = (file.size / 2 ** 20).toFixed(1);
    refuse(`It has ${size} MiB, and ${MOST_BYTES / 2 ** 20} are the most that are read.`, file.name);
    return;
  }
  say("busy", "Checking …", file.name);
  try {
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const answer = await ask("/v1/verify", {
      ...{ method: "POST", headers, body: file },
      ...{ signal: mine.signal, attempts: ATTEMPTS },
    });
    const { verdict, claims, detail } = await answer.json();
    mine.signal.throwIfAborted();
    const [sentence, meaning] = MEANING[verdict];
    say(verdict, sentence, `${detail} ${meaning}`, file.name);
    const claimed = claims && faceOf(claims, verdict);
    if (claimed) await compare(claimed, mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) refuse(error.message, file.name);
  }
}

const refuse = (why, name) => say("refused", "It could not be checked.", why, name);

/** The words alone are read out: what is offered beside them is found where it stands. */
function say(verdict, sentence, explanation, name = "") {
  $("verdict").dataset.verdict = verdict;
  $("beside").replaceChildren();
  $("finding").replaceChildren(
    make("strong", {}, sentence),
    ` ${explanation} `,
    make("small", {}, name),
  );
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
  const showIt = button({}, `Show seed ${claimed.seed}`);
  showIt.addEventListener("click", () => {
    show(claimed);
    scrollTo({ top: 0 });
  });
  $("beside").replaceChildren(showIt);
  const { image } = await loadPicture(claimed, PREVIEW, { signal }).catch(() => ({}));
  if (!image) return;
  image.alt = describe(claimed);
  $("beside").prepend(image);
  $("verdict").scrollIntoView({ block: "nearest" });
}
