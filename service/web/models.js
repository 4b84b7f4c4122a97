// What the server has loaded: the models and the attributes each one knows.

import { ask } from "./net.js";

let models = [];

/** Ask the server, waiting while it loads. */
export async function loadModels() {
  ({ models } = await (await ask("/v1/models")).json());
}

export const allModels = () => models;
export const defaultModel = () => models.find((model) => model.default) ?? models[0];

/** The model that makes this face; the default one where the address names none that is loaded. */
export const modelOf = (face) => models.find(({ name }) => name === face?.model) ?? defaultModel();
