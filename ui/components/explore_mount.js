// Runs inside gr.HTML (element, props, server, upload, watch are Gradio's): puts the Explore tab on its server functions.
(async () => {
  const box = element.querySelector(".lp-explore");
  const first = box.querySelector("img");
  const { root = "" } = window.gradio_config ?? {};
  const path = new URL(root || "/", location.href).pathname.replace(/\/$/, "");
  const file = name => `${location.origin}${path}/gradio_api/file=${name}`;
  const loading = import(file(`${props.folder}/explore.js`));
  await first.decode();
  box.dataset.drawn = 0;
  const { Explore } = await loading;

  const MEGABYTES = 30;

  // The live picture asks once, for it has its own way to try again.
  async function ask(name, question, tries = 3) {
    let answer;
    try {
      answer = await server[name]({ model: props.view.model, hash: props.view.hash, ...question });
      if (!answer) throw new Error("no answer"); // what Gradio makes of a server that is gone
    } catch (error) {
      if (tries > 1) {
        await new Promise(resolve => setTimeout(resolve, 700));
        return ask(name, question, tries - 1);
      }
      console.warn(name, error);
      throw new Error(props.words.offline);
    }
    if (answer.error) throw Object.assign(new Error(answer.error), { isFinal: true });
    return answer;
  }

  async function encode({ file, ...question }) {
    if (!file) return ask("encode", question);
    if (file.size > MEGABYTES * 1e6) throw new Error(props.words.too_large);
    let sent;
    try {
      sent = await upload(file);
    } catch {
      throw new Error(props.words.offline);
    }
    return ask("encode", { path: sent.path }, 1); // the file is gone once it has been read
  }

  const backend = {
    decode: async z => (await ask("decode", { z }, 1)).picture,
    pictures: async zs => (await ask("decode_many", { zs })).pictures,
    ends: async keys => (await ask("ends", { keys })).pictures,
    surprise: async seed => (await ask("surprise", { seed })).z,
    closer: async question => (await ask("closer", question, 1)).z,
    atlas: async () => {
      const { atlas } = props.view.files, answer = atlas && (await fetch(file(atlas)));
      return (answer?.ok ? answer : await fetch((await ask("atlas")).data)).arrayBuffer();
    },
    choose: model => {
      const button = document.querySelector(`#lp-header [data-id="${CSS.escape(model)}"]`);
      if (!button || button.getAttribute("aria-pressed") === "true") return false;
      button.click();
      return true;
    },
    encode,
  };
  // With the addresses of what the browser needs to draw and read by itself.
  function view() {
    const { decoder, encoder, draws, reads } = props.view.files, { folder } = props;
    const [library, glue, machine] = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.bin"].map(name =>
      file(`${props.runtime}/${name}`));
    const where = decoder && {
      worker: file(`${folder}/model_worker.js`), runtime: { library, glue, machine }, finder: file(props.finder),
      decoder: file(decoder), encoder: file(encoder), draws: [file(draws)], reads: [file(draws), file(reads)],
    };
    return { ...props.view, where };
  }

  const explore = new Explore(box, { words: props.words, view: view(), backend, drawn: count => (box.dataset.drawn = count) });
  const linked = () => new URLSearchParams(location.hash.slice(1)).get("at");
  const follow = () => linked() !== null && explore.visit(linked());
  follow();
  window.addEventListener("hashchange", follow);
  watch("view", () => explore.open(view()));
  watch("sent", () => props.sent?.z && explore.receive(props.sent.z));
})();
