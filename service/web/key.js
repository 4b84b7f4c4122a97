// The key that a server may want for pictures: given once, known until the tab is closed.

const NAME = "visage.key";

/** Whether this can be one: only these characters may stand in a header. */
export const isKey = (text) => /^[!-~]+$/.test(text);

let key = remembered();

export const hasKey = () => Boolean(key);

/** What goes with every request. */
export const keyHeaders = () => (key ? { "X-API-Key": key } : {});

export function useKey(given) {
  key = given;
  try {
    sessionStorage.setItem(NAME, given);
  } catch {
    // known until the page is left
  }
}

function remembered() {
  try {
    const known = sessionStorage.getItem(NAME) ?? "";
    return isKey(known) ? known : "";
  } catch {
    return "";
  }
}
