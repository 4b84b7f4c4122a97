// Small faces to pick from: buttons whose pictures are fetched once they are in view, so that a
// face costs no more pictures than somebody looks at.

import { inView } from "./dom.js";
import { imageOf, loadPicture, rendition, roomIn } from "./picture.js";

/** Fetch the face's picture into its button; all labels it was drawn with. */
export async function fillCell(cell, face, signal) {
  try {
    await inView(cell, signal);
    const { image, labels } = await loadPicture(face, roomIn(cell), { small: true, signal });
    putInto(cell, image);
    return labels;
  } catch (error) {
    if (!signal?.aborted) emptyCell(cell); // not another face under this one's name
    throw error;
  }
}

/** The picture that is on the page already, once more in small: nothing is fetched. */
export function repeatInto(cell, face, picture) {
  putInto(cell, imageOf(picture.getAttribute("src"), rendition(face, roomIn(cell), { small: true })));
}

export function emptyCell(cell) {
  cell.replaceChildren();
  cell.classList.remove("old");
}

function putInto(cell, image) {
  image.alt = ""; // the button is labelled
  cell.replaceChildren(image);
  cell.classList.remove("old");
}
