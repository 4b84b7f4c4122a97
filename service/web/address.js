// The page's address: the face in its query; in its fragment what is kept, the morph, the attribute
// by which a person is varied, and the first seed of the wall.
// So a copied address is the whole page, and the server never learns what is kept.
//   ?seed=anna&gender=female#kept=7,anna?gender=female;morph=7,7~3,24;by=age;wall=4711

import { face, fromToken, queryOf, token } from "./face.js";
import { allModels, modelOf } from "./models.js";

/** What the address says: {face, kept, morph, by, wall}. The face is null where it names no seed. */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  const model = allModels().some(({ name }) => name === query.get("model")) ? query.get("model") : "";
  const labels = {};
  for (const { name } of modelOf({ model }).attributes) {
    if (query.get(name)) labels[name] = query.get(name); // perhaps age=34: the server knows
  }
  const parts = new Map(
    location.hash.slice(1).split(";").map((part) => [part.split("=", 1)[0], part.replace(/^[^=]*=?/, "")]),
  );
  const faces = (parts.get("kept") ?? "").split(",").map(fromToken).filter(Boolean);
  const kept = [...new Map(faces.map((each) => [token(each), each])).values()];
  const [from, to, frames] = (parts.get("morph") ?? "").split(",");
  const ends = [from ?? "", to ?? ""].map(fromToken);
  return {
    face: face(query.get("seed") || "", labels, model),
    kept,
    morph: ends.every(Boolean) ? { from: ends[0], to: ends[1], frames: Number(frames) || 24 } : null,
    by: decoded(parts.get("by") ?? ""),
    wall: /^[0-9]{1,15}$/.test(parts.get("wall")) ? parts.get("wall") : "",
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // not percent-encoding
  }
}

/** Bring the address up to date; `remember` makes another face a step of the history. */
export function writeAddress({ face, kept, morph, by, wall }, { remember = false } = {}) {
  const parts = [];
  if (kept.length) parts.push(`kept=${kept.map(token).join(",")}`);
  if (morph) parts.push(`morph=${token(morph.from)},${token(morph.to)},${morph.frames}`);
  if (by) parts.push(`by=${encodeURIComponent(by)}`);
  if (wall) parts.push(`wall=${wall}`);
  const search = `?${queryOf(face)}`;
  const address = search + (parts.length ? `#${parts.join(";")}` : "");
  const step = remember && search !== location.search;
  if (address === location.search + location.hash && history.state?.ours) return;
  // The mark tells our own steps from an address that somebody typed or pasted.
  history[step ? "pushState" : "replaceState"]({ ours: true }, "", address);
}
