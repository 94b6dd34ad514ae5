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
const sessions = new Map(); // by the URL of their graph

const calls = {
  async open({ runtime, graph, weights }) {
    for (const [other, left] of sessions) {
      if (other === graph) continue;
      sessions.delete(other);
      left.then(network => network.release(), () => {});
    }
    await load(runtime);
    await session(graph, weights);
    return {};
  },

  async decode({ graph, z }) {
    if (!sessions.has(graph)) throw new Error("another model is open");
    const values = Float32Array.from(z, value => Math.max(-BOUND, Math.min(BOUND, value)));
    const { picture } = await (await sessions.get(graph)).run({ z: new library.Tensor("float32", values, [1, values.length]) });
    const bitmap = await createImageBitmap(pixels(picture));
    picture.dispose();
    return { bitmap };
  },

  async run({ graph, weights, x, shape }) {
    const network = await session(graph, weights);
    const found = await network.run({ [network.inputNames[0]]: new library.Tensor("float32", x, shape) });
    return { found: Object.fromEntries(Object.entries(found).map(([name, { data }]) => [name, data.slice()])) };
  },
};

self.onmessage = async ({ data: { call, name, ...asked } }) => {
  try {
    const answer = await calls[name](asked);
    self.postMessage({ call, ...answer }, answer.bitmap ? [answer.bitmap] : []);
  } catch (error) {
    self.postMessage({ call, error: String(error?.message ?? error) });
  }
};

// One after the other: the library keeps the weights of all that are being opened in one place.
function session(graph, weights) {
  if (!sessions.has(graph)) {
    opening = opening.catch(() => {}).then(async () => {
      const [model, ...parts] = await Promise.all([graph, ...weights].map(bytes));
      const externalData = parts.length ? [{ path: WEIGHTS, data: joined(parts) }] : undefined;
      return library.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"], externalData });
    });
    sessions.set(graph, opening);
    opening.catch(() => sessions.delete(graph));
  }
  return sessions.get(graph);
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
