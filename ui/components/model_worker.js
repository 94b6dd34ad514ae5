// Runs a model's networks in a worker, so that the page never stutters while it does. Asked with {call, name, ...}, answers {call, ...}:
//   open {runtime, graph, weights} -> {}: opens the decoder, and leaves what belonged to another model;
//   decode {graph, z} -> {bitmap};
//   run {graph, weights, x, shape} -> {found: {name: values}}: any other network with one input, opened when it is first asked for.
// What is to be fetched are URLs; weights: those of the parts of one file. What fails answers {error}.
import { bytes } from "./bytes.js";

const BOUND = 8; // latents are clamped to this, as the server does
const WEIGHTS = "model.safetensors"; // what a graph calls the file that its weights lie in

let library;
let opening = Promise.resolve();
const opened = new Map(); // {network: promise, busy: promise of its last run}, by the URL of the graph

const calls = {
  async open({ runtime, graph, weights }) {
    for (const [other, left] of opened) {
      if (other === graph) continue;
      opened.delete(other);
      left.busy.catch(() => {}).then(() => left.network).then(network => network.release(), () => {});
    }
    await load(runtime);
    await entry(graph, weights).network;
    return {};
  },

  async decode({ graph, z }) {
    if (!opened.has(graph)) throw new Error("another model is open");
    const values = Float32Array.from(z, value => Math.max(-BOUND, Math.min(BOUND, value)));
    const { picture } = await run(opened.get(graph), values, [1, values.length]);
    const bitmap = await createImageBitmap(pixels(picture));
    picture.dispose();
    return { bitmap };
  },

  async run({ graph, weights, x, shape }) {
    const found = await run(entry(graph, weights), x, shape);
    return { found: Object.fromEntries(Object.entries(found).map(([name, { data }]) => [name, data.slice()])) };
  },
};

// At once part of what the network is busy with, so that nobody releases it before.
function run(entry, values, shape) {
  entry.busy = entry.busy.catch(() => {}).then(async () => {
    const network = await entry.network;
    return network.run({ [network.inputNames[0]]: new library.Tensor("float32", values, shape) });
  });
  return entry.busy;
}

self.onmessage = async ({ data: { call, name, ...asked } }) => {
  try {
    const answer = await calls[name](asked);
    self.postMessage({ call, ...answer }, answer.bitmap ? [answer.bitmap] : []);
  } catch (error) {
    self.postMessage({ call, error: String(error?.message ?? error) });
  }
};

function entry(graph, weights) {
  if (!opened.has(graph)) {
    const files = Promise.all([graph, ...weights].map(bytes));
    const network = files.then(([model, ...parts]) => created(new Uint8Array(model), parts));
    opened.set(graph, { network, busy: Promise.resolve() });
    network.catch(() => opened.delete(graph));
  }
  return opened.get(graph);
}

// One after the other: the library keeps the weights of all that are being opened in one place.
function created(model, parts) {
  const externalData = parts.length ? [{ path: WEIGHTS, data: joined(parts) }] : undefined;
  opening = opening.catch(() => {}).then(() => library.InferenceSession.create(model, { executionProviders: ["wasm"], externalData }));
  return opening;
}

// onnxruntime-web, once.
async function load({ library: address, glue, machine }) {
  if (library) return;
  const [found, binary] = await Promise.all([import(address), bytes(machine)]);
  found.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
  found.env.wasm.wasmPaths = { mjs: glue };
  found.env.wasm.wasmBinary = binary;
  library = found;
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let start = 0;
  for (const part of parts) {
    whole.set(new Uint8Array(part), start);
    start += part.byteLength;
  }
  return whole;
}

// (1, C, S, S) in [0, 1] -> a picture of S by S.
function pixels({ data, dims: [, channels, side] }) {
  const image = new ImageData(side, side), area = side * side, { data: out } = image;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) out[4 * i + c] = 255 * data[(channels === 1 ? 0 : c * area) + i]; // rounds to the nearest by itself
    out[4 * i + 3] = 255;
  }
  return image;
}
