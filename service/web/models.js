// What the server has loaded: the models and the attributes each one knows.

import { ask, using } from "./net.js";

let models = [];

/** Ask the server, waiting while it loads. */
export async function loadModels() {
  ({ models } = await (await ask("/v1/models")).json());
  using(models.map(identityOf)); // what the browser keeps may be older
}

/** `name@digest12`, as the server names it in its answers and in pictures. */
export const identityOf = ({ name, digest }) => `${name}@${digest.slice(0, 12)}`;

export const allModels = () => models;
export const defaultModel = () => models.find((model) => model.default) ?? models[0];

/** The model that makes this face; the default one where the address names none that is loaded. */
export const modelOf = (face) => models.find(({ name }) => name === face?.model) ?? defaultModel();

/** The face without what its model, or the one given, does not know. */
export function withKnownLabels(face, model = modelOf(face)) {
  const known = ([name, value]) =>
    model.attributes.some((each) => each.name === name && each.values.includes(value));
  return { ...face, labels: Object.fromEntries(Object.entries(face.labels).filter(known)) };
}
