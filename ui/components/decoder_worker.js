// Draws latents in a worker, so that the page never stutters while it does. Asked with {call, name, ...}, answers {call, ...}:
//   open {runtime, graph, weights: URLs} -> {}; decode {graph, z} -> {bitmap}; what fails answers {error}.
const BOUND = 8; // latents are clamped to this, as the server does
const WEIGHTS = "model.safetensors"; // what the graph calls the file that its weights lie in

let ort, session, opened; // opened: the graph that the session is of
let opening = Promise.resolve();

const calls = {
  // One after the other: the library keeps the weights of all that are being opened in one place.
  open(asked) {
    opening = opening.catch(() => {}).then(() => open(asked));
    return opening;
  },

  async decode({ graph, z }) {
    if (graph !== opened) throw new Error("another model is open");
    const values = Float32Array.from(z, value => Math.max(-BOUND, Math.min(BOUND, value)));
    const { picture } = await session.run({ z: new ort.Tensor("float32", values, [1, values.length]) });
    const bitmap = await createImageBitmap(pixels(picture));
    picture.dispose();
    return { bitmap };
  },
};

self.onmessage = async ({ data: { call, name, ...asked } }) => {
  try {
    const answer = await calls[name](asked);
    self.postMessage({ call, ...answer }, Object.values(answer));
  } catch (error) {
    self.postMessage({ call, error: String(error?.message ?? error) });
  }
};

async function open({ runtime, graph, weights }) {
  opened = undefined;
  await session?.release();
  const [library, model, data] = await Promise.all([load(runtime), bytes(graph), bytes(weights)]);
  session = await library.InferenceSession.create(model, { executionProviders: ["wasm"], externalData: [{ path: WEIGHTS, data }] });
  opened = graph;
  return {};
}

// onnxruntime-web, once. Its machine code lies compressed beside it, as most servers would send it as it is.
async function load(runtime) {
  if (ort) return ort;
  const [library, binary] = await Promise.all([
    import(`${runtime}ort.wasm.min.mjs`),
    fetched(`${runtime}ort-wasm-simd-threaded.bin`).then(answer =>
      new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()),
  ]);
  library.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
  library.env.wasm.wasmPaths = runtime;
  library.env.wasm.wasmBinary = binary;
  return (ort = library);
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer;
}

async function bytes(url) {
  return new Uint8Array(await (await fetched(url)).arrayBuffer());
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
