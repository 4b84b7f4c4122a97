// What a face is called: its seed, the labels asked for, and the model if it is not the default.
// Pure: knows neither the page nor the network.

const MAX_RANDOM_SEED = 1_000_000_000; // short enough to read out to somebody
const MAX_SEED_LENGTH = 128;

/** Percent-encoded for every place an address may end up in, a shell's quotes included. */
const encode = (text) => encodeURIComponent(text).replaceAll("'", "%27");

/** {name: value, …} → `name=value&…` */
const pairs = (entries) => entries.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&");

export const face = (seed, labels = {}, model = "") => ({ seed: String(seed), labels, model });

export const randomSeed = () => String(Math.floor(Math.random() * MAX_RANDOM_SEED));

export const same = (one, other) => token(one) === token(other);

/** The address of its picture: `/v1/faces/7.png?gender=female&size=256`. */
export function pictureUrl({ seed, labels, model }, { format = "png", size } = {}) {
  const query = [...Object.entries(labels)];
  if (size) query.push(["size", size]);
  if (model) query.push(["model", model]);
  return `/v1/faces/${encode(seed)}.${format}` + (query.length ? `?${pairs(query)}` : "");
}

/** The address of the animation from one face to the other. */
export function morphUrl(from, to, { frames, size }) {
  const query = [["from", from.seed], ["to", to.seed], ["frames", frames]];
  for (const [end, { labels }] of [["from", from], ["to", to]]) {
    for (const [name, value] of Object.entries(labels)) query.push([`${end}_${name}`, value]);
  }
  if (size) query.push(["size", size]);
  if (from.model) query.push(["model", from.model]);
  return `/v1/morph?${pairs(query)}`;
}

/** What follows the `?` of the page's address. */
export function queryOf({ seed, labels, model }) {
  const query = [["seed", seed], ...Object.entries(labels)];
  if (model) query.push(["model", model]);
  return pairs(query);
}

/** The same in short, for lists in the page's address: `7` or `anna?gender=female`. */
export function token({ seed, labels, model }) {
  const query = [...Object.entries(labels)];
  if (model) query.push(["model", model]);
  return encode(seed) + (query.length ? `?${pairs(query)}` : "");
}

/** The face a token names; null where it names none. */
export function fromToken(text) {
  const [seed, query = ""] = text.split("?", 2);
  const { model = "", ...labels } = Object.fromEntries(new URLSearchParams(query));
  try {
    return seed ? face(decodeURIComponent(seed), labels, model) : null;
  } catch {
    return null; // not percent-encoding
  }
}

/** Its nth neighbour, a face close to it; null where the seed would become too long. */
export function variation(origin, n) {
  const seed = `${origin.seed}~${n}`;
  return seed.length <= MAX_SEED_LENGTH ? { ...origin, seed } : null;
}

/** The face it is a neighbour of; null for a seed of its own. */
export function parent(origin) {
  const match = /^(.+)~[1-9][0-9]{0,3}$/s.exec(origin.seed);
  return match && { ...origin, seed: match[1] };
}

/** Its name for people: `Seed 7: male, 20-29`. `drawn`: every label, as the server drew them. */
export function title({ seed, labels }, drawn = labels) {
  const words = Object.values(drawn).join(", ");
  return `Seed ${seed}${words ? `: ${words}` : ""}`;
}

/** The same for who does not see the picture, with what has to be known about it. */
export const describe = (face, drawn) =>
  `${title(face, drawn)}. Machine-made; this person does not exist.`;
