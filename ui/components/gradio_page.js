// The page with a server: the parts that Gradio mounts one by one, on the server's functions.
import { Frame } from "./frame.js";

const TRIES = 3, AGAIN = 700; // ms
let begin;
const frame = new Promise(resolve => (begin = resolve));
const later = async ({ element }) => {
  const root = element.querySelector(".lp-sample, .lp-morph");
  (await frame).mount(root.className.slice("lp-".length), root);
};
const parts = { ".lp-explore": explore, ".lp-picker": models, ".lp-sample": later, ".lp-morph": later };
let row = { mark() {}, has: () => true }; // until the models are on the page

// What gr.HTML gives: its element, props, server, upload and watch. What is in the element says which part of the page it is.
export default given => parts[Object.keys(parts).find(at => given.element.querySelector(at))](given);

// The models as a row of pictures. The component's value is the id of the chosen one, which Train asks for.
function models({ element, props, watch }) {
  const buttons = () => [...element.querySelectorAll("button")];
  let known = props.value; // what is chosen, as far as it is known here
  const paint = () => buttons().forEach(button => button.setAttribute("aria-pressed", button.dataset.id === known));
  row = {
    has: id => buttons().some(button => button.dataset.id === id),
    mark(id) {
      known = id;
      if (props.value !== id) props.value = id;
      paint();
    },
  };
  element.addEventListener("click", async event => {
    const button = event.target.closest("button");
    if (button) (await frame).choose(button.dataset.id);
  });
  watch(["value", "entries"], async () => {
    paint();
    if (props.value !== known) (await frame).choose(props.value); // from elsewhere, such as a model that was just trained
  });
  frame.then(({ wanted }) => row.mark(wanted)); // an address may have asked for another one meanwhile
}

async function explore({ element, props, server, upload }) {
  const box = element.querySelector(".lp-explore"), first = box.querySelector("img");
  const root = new URL(window.gradio_config?.root || "/", location.href).pathname.replace(/\/$/, "");
  const file = name => `${location.origin}${root}/gradio_api/file=${name}`;
  const offline = () => new Error(props.words.explore.offline);
  const megabyte = 1e6;

  async function ask(name, question, tries = TRIES) {
    let answer;
    try {
      answer = await server[name](question);
      if (!answer) throw new Error("no answer"); // what Gradio makes of a server that is gone
    } catch (error) {
      console.warn(name, error);
      if (tries <= 1) throw offline();
      await new Promise(resolve => setTimeout(resolve, AGAIN));
      return ask(name, question, tries - 1);
    }
    if (answer.error) throw Object.assign(new Error(answer.error), { isFinal: true });
    return answer;
  }

  // Of the model that is open now, whichever is when the answer comes.
  async function about(name, question = {}, tries) {
    const { model, hash } = (await frame).view;
    return ask(name, { model, hash, ...question }, tries);
  }

  // With the addresses of what the browser needs to draw and read by itself.
  function located(view) {
    const { decoder, encoder, draws, reads } = view.files, { runtime } = props;
    const [library, glue, machine] = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.bin"].map(name => file(`${runtime}/${name}`));
    const where = decoder && {
      worker: file(`${props.folder}/model_worker.js`), runtime: { library, glue, machine }, finder: file(props.finder),
      decoder: file(decoder), encoder: file(encoder), draws: [file(draws)], reads: [file(draws), file(reads)],
    };
    return { ...view, where };
  }

  // A public model's file; of others, and where that is gone, what the server gives.
  async function bytes(view, name) {
    const public_ = view.files[name] && (await fetch(file(view.files[name])).catch(() => null));
    if (public_?.ok) return public_.arrayBuffer();
    const { data } = await ask(name, { model: view.model, hash: view.hash });
    return data && (await fetch(data)).arrayBuffer();
  }

  const backend = {
    view: async id => located(await ask("view", { model: id })),
    atlas: view => bytes(view, "atlas"),
    training: view => bytes(view, "training"),
    decode: async z => (await about("decode", { z }, 1)).picture, // once: the live picture has its own way to try again
    async pictures(zs) {
      const parts = [];
      for (let at = 0; at < zs.length; at += props.at_once) parts.push(await about("decode_many", { zs: zs.slice(at, at + props.at_once) }));
      return parts.flatMap(({ pictures }) => pictures);
    },
    ends: async keys => (await about("ends", { keys })).pictures,
    closer: async question => (await about("closer", question, 1)).z,
    async encode({ file, ...question }) {
      if (!file) return about("encode", question);
      if (file.size > props.largest * megabyte) throw new Error(props.words.explore.too_large);
      const sent = await upload(file).catch(() => {
        throw offline();
      });
      return about("encode", { path: sent.path }, 1); // the file is gone once it has been read
    },
  };

  await first.decode();
  box.dataset.drawn = 0;
  const made = new Frame(box, {
    words: props.words, choices: props.choices, view: located(props.view), backend,
    libraries: { gif: file(`${props.runtime}/gifenc.js`), zip: file(`${props.runtime}/client-zip.js`) },
    has: id => row.has(id), mark: id => row.mark(id),
    show: tab => document.querySelector(`#lp-tabs button[data-tab-id="${tab}"]`).click(),
  });
  document.addEventListener("click", ({ target }) => {
    const { tabId } = target.closest?.("#lp-tabs button[data-tab-id]")?.dataset ?? {};
    if (tabId) made.turn(tabId);
  });
  begin(made);
  made.begin();
}
