// The page: one face, named by its seed and by what was asked of it, all kept in the address.
// Knows the service only through /v1/models and /v1/faces.

const $ = (id) => document.getElementById(id);
const MAX_RANDOM_SEED = 1_000_000_000; // short enough to read out to somebody
const FINE_RESOLUTION = 256; // from here on smooth scaling is sharper than whole pixels

let selects = new Map(); // attribute name → its <select>
let spoken = new Map(); // attribute name → a value from the address that only the server can read
let resolution = 64;
let pending = new AbortController(); // the request for the face now wanted

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const randomSeed = () => String(Math.floor(Math.random() * MAX_RANDOM_SEED));

/** Fetch, waiting while the server says that it will soon be able to answer. */
async function get(url, options = {}) {
  for (;;) {
    const response = await fetch(url, options);
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    if (response.status !== 503) throw new Error(problem.detail);
    tell(problem.detail);
    await sleep(Number(response.headers.get("Retry-After")) || 1);
    options.signal?.throwIfAborted();
  }
}

/** Show one sentence about what is wrong, or nothing. */
function tell(sentence = "") {
  $("problem").textContent = sentence;
  $("problem").hidden = !sentence;
}

/** What is asked for now: the seed and the attributes that are not left open. */
function wanted() {
  const labels = [...selects]
    .map(([name, select]) => [name, select.value || spoken.get(name)])
    .filter(([, value]) => value);
  return { seed: $("seed").value || "0", labels: new URLSearchParams(labels) };
}

function buildControls(model) {
  resolution = model.resolution;
  for (const { name, values } of model.attributes) {
    const select = document.createElement("select");
    select.name = name;
    select.append(new Option("any", ""), ...values.map((value) => new Option(value, value)));
    select.addEventListener("change", () => {
      spoken.delete(name);
      show({ remember: true });
    });
    const label = document.createElement("label");
    label.append(name, select);
    $("attributes").append(label);
    selects.set(name, select);
  }
  $("attributes").hidden = selects.size === 0;
  $("model").textContent = `Model ${model.name}, ${model.resolution}×${model.resolution} pixels`;
  $("licence").textContent = model.licence;
  $("terms").hidden = !model.licence;
}

/** Controls ← address. An address without a seed means any face. */
function readAddress() {
  const address = new URLSearchParams(location.search);
  $("seed").value = address.get("seed") ?? randomSeed();
  spoken = new Map();
  for (const [name, select] of selects) {
    const value = address.get(name) ?? "";
    select.value = value;
    if (select.selectedIndex >= 0) continue;
    select.value = "";
    spoken.set(name, value); // such as age=34
  }
}

/** Address ← controls; `remember` makes it a step of the browser's history. */
function writeAddress({ remember }) {
  const { seed, labels } = wanted();
  const address = `?${new URLSearchParams([["seed", seed], ...labels])}`;
  if (address === location.search) return;
  history[remember ? "pushState" : "replaceState"](null, "", address);
}

/** As large as the frame allows; small pictures in whole multiples, so each pixel is a square. */
function fit() {
  const style = getComputedStyle($("frame"));
  const room = $("frame").clientWidth - 2 * parseFloat(style.paddingLeft);
  const fine = resolution >= FINE_RESOLUTION;
  const side = fine ? room : Math.max(1, Math.floor(room / resolution)) * resolution;
  $("face").classList.toggle("fine", fine);
  $("face").style.width = `${Math.min(side, room)}px`;
}

/** Show the face that the controls ask for. */
async function show({ remember = false } = {}) {
  pending.abort();
  const mine = (pending = new AbortController());
  const { seed, labels } = wanted();
  const url = `/v1/faces/${encodeURIComponent(seed)}.png` + (labels.size ? `?${labels}` : "");
  writeAddress({ remember });
  $("frame").classList.add("busy");
  try {
    const response = await get(url, { signal: mine.signal });
    await response.blob(); // whole, hence in the browser's cache under this very address
    if (mine.signal.aborted) return;
    const drawn = new URLSearchParams(response.headers.get("X-Labels") ?? "");
    $("face").src = url;
    await $("face").decode().catch(() => {});
    if (mine.signal.aborted) return;
    present(url, seed, drawn);
  } catch (error) {
    if (mine.signal.aborted) return;
    tell(error instanceof TypeError ? "The server does not answer; is it running?" : error.message);
  }
  $("frame").classList.remove("busy");
}

function present(url, seed, drawn) {
  tell();
  const words = [...drawn.values()].join(", ");
  $("face").alt = `Machine-made face${words ? `: ${words}` : ""}`;
  $("face").hidden = false;
  $("caption").textContent = words || `Seed ${seed}`;
  $("save").href = url;
  $("save").download = `face-${seed}.png`;
  for (const [name, select] of selects) {
    const value = drawn.get(name);
    if (spoken.delete(name)) select.value = value ?? "";
    select.options[0].text = select.value || !value ? "any" : `any (${value})`;
  }
  writeAddress({ remember: false });
  fit();
}

async function start() {
  tell();
  $("frame").classList.add("busy");
  const { models } = await (await get("/v1/models")).json();
  buildControls(models.find((model) => model.default) ?? models[0]);
  readAddress();
  $("controls").hidden = false;
  await show();
}

$("another").addEventListener("click", () => {
  $("seed").value = randomSeed();
  show({ remember: true });
});
$("seed").addEventListener("change", () => show({ remember: true }));
$("controls").addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  readAddress();
  show();
});
addEventListener("resize", fit);

start().catch((error) => tell(`The page could not start: ${error.message}`));
