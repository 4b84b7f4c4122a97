// Where an <img> finds what was fetched. The browser's cache has it, under its own address; but an
// <img> sends no key, so with one the bytes themselves are handed over.

import { hasKey } from "./key.js";

const MOST = 300; // addresses of bytes that are held at a time; the page shows fewer

const held = new Map(); // address → address of its bytes, the oldest first

/** The address for an <img>, once the whole answer is there. */
export async function sourceOf(url, response) {
  const blob = await response.blob();
  if (!hasKey()) return url;
  const name = `${url} ${response.headers.get("X-Model")}`; // other weights make another picture
  const source = held.get(name) ?? URL.createObjectURL(blob);
  held.delete(name);
  held.set(name, source);
  if (held.size > MOST) {
    const [[oldest, bytes]] = held;
    held.delete(oldest);
    URL.revokeObjectURL(bytes);
  }
  return source;
}
