// The Explore tab: picture, buttons, starting points, knobs and strip put together. The page around it gives a backend:
//   decode(z) -> URL of a picture; pictures(zs) -> URLs; surprise(seed) -> latent;
//   closer({z, seen}) -> a latent nearer to what was seen, a moment's search on;
//   encode({example: i} | {file: File} | {drawing: data URL} | {photo, eyes, turn}) -> {z, seen: URL, note: sentence or ""},
//   of portraits also photo: URL, eyes: [[x, y], [x, y]] in shares of its sides, and turn: what {photo, eyes, turn} asks again
// each as a promise that fails with an Error whose message a visitor may read (and isFinal, where trying again is no use).
import { Decoder } from "./decoder.js";
import { fill, make } from "./dom.js";
import { Board } from "./draw.js";
import { Eyes } from "./eyes.js";
import { Knobs } from "./knobs.js";
import { Latent, whole } from "./latent.js";
import { Live } from "./live.js";
import { Strip } from "./strip.js";

const ROUNDS = 4; // of the search for a nearer picture, half a second each
const QUIET = 400; // ms after which a drag counts as over and the speed is no longer shown

export class Explore {
  // root: an element that may hold an <img>, the first picture, which is taken over. drawn(count): after each new picture.
  constructor(root, { words, view, backend, drawn = () => {} }) {
    Object.assign(this, { root, words, backend });
    this.latent = new Latent(view.start);
    this.#build();
    this.decoder = new Decoder();
    this.live = new Live(this.canvas, z => this.#decode(z), {
      drawn: () => {
        drawn(this.live.count);
        this.#measure();
      },
      failed: error => this.say(error ? error.message : "", { from: "live", isError: true }),
    });
    const pictures = zs => backend.pictures(zs).catch(error => {
      this.say(error.message, { isError: true });
      return []; // the knobs work without their pictures
    });
    this.strip = new Strip(this.stripBox, this.latent, words, pictures);
    this.knobs = new Knobs(this.knobBox, this.latent, words, { pictures, chosen: knob => this.strip.open(knob) });
    this.latent.addEventListener("change", () => this.#follow());
    this.#show(view);
  }

  // Another model, or the same one again.
  async open(view) {
    this.latent.open(view.start);
    this.#show(view);
    await this.live.paint(view.picture);
  }

  // A latent from elsewhere on the page.
  receive(z) {
    if (z.length === this.latent.z.length) this.latent.jump(z);
  }

  #show(view) {
    this.view = view;
    this.root.dataset.model = view.model;
    this.size.textContent = fill(this.words.made_from, { latent: view.start.length });
    this.drawButton.hidden = !view.is_grey;
    this.about.replaceChildren(make("summary", {}, this.words.about), ...view.about.map(text => make("p", {}, text)));
    this.about.hidden = !view.about.length;
    this.eyes.load({});
    this.eyesButton.hidden = this.closerButton.hidden = true;
    this.startBox.replaceChildren(...view.examples.map((url, example) =>
      make("button", {
        class: "start", type: "button", "aria-label": fill(this.words.example, { number: example + 1 }),
        onclick: () => this.#start({ example }),
      }, make("img", { src: url, alt: "", width: 36, height: 36 }))));
    this.knobs.open(whole(view.knobs, view.start.length));
    this.shown = this.latent.z;
    this.say("");
    this.#follow();
    this.live.forget();
    this.decoder.open(view.decoder).then(isReady => isReady && this.live.forget());
  }

  // In this browser as soon as its decoder is there, by the page's backend until then and where it fails.
  async #decode(z) {
    if (this.decoder.isReady) {
      try {
        const bitmap = await this.decoder.decode(z);
        this.root.dataset.drawer = "browser";
        return bitmap;
      } catch (error) {
        console.warn("the decoder in this browser failed:", error.message);
      }
    }
    const url = await this.backend.decode(z);
    this.root.dataset.drawer = "server";
    return url;
  }

  #build() {
    const { words } = this;
    const button = (name, act, kind = "") =>
      make("button", { class: `lp-btn ${kind}`, type: "button", onclick: act, "data-act": name }, words[name]);
    const icon = (name, act) =>
      make("button", { class: "lp-btn", type: "button", onclick: act, "data-act": name, "aria-label": words[name], title: words[name] },
        name === "undo" ? "↶" : "↷");
    this.canvas = make("canvas", { width: 64, height: 64, role: "img", "aria-label": words.picture });
    this.size = make("span");
    this.figures = make("b");
    this.undo = icon("undo", () => this.latent.undo());
    this.redo = icon("redo", () => this.latent.redo());
    this.note = make("div", { class: "note", role: "status", hidden: true });
    this.file = make("input", {
      type: "file", accept: "image/*", hidden: true, "aria-label": words.upload,
      onchange: () => {
        if (this.file.files[0]) this.#start({ file: this.file.files[0] });
        this.file.value = "";
      },
    });
    this.board = new Board(words, drawing => this.#start({ drawing }));
    this.drawButton = button("draw", () => this.board.open());
    this.eyes = new Eyes(words, photo => this.#start(photo));
    this.eyesButton = button("eyes", () => this.eyes.open());
    this.eyesButton.hidden = true;
    this.closerButton = button("closer", () => this.#closer());
    this.closerButton.title = words.closer_note;
    this.closerButton.hidden = true;
    this.startBox = make("div", { class: "examples" });
    this.knobBox = make("div");
    this.stripBox = make("div", { class: "lp-card strips" });

    const first = this.root.querySelector("img");
    if (first) {
      [this.canvas.width, this.canvas.height] = [first.naturalWidth, first.naturalHeight];
      this.canvas.getContext("2d").drawImage(first, 0, 0);
    }
    const picture = make("section", { class: "lp-card pic", "aria-label": words.picture },
      this.canvas,
      make("div", { class: "side" },
        make("div", { class: "meta" }, this.size, this.figures),
        make("div", { class: "btns" },
          button("surprise", () => this.#surprise(), "main"), button("reset", () => this.latent.reset()), this.undo, this.redo)),
      this.note);
    const starts = make("div", { class: "starts" },
      make("span", {}, words.start_from), this.startBox,
      button("upload", () => this.file.click()), this.eyesButton, this.closerButton, this.drawButton, this.file);
    const how = make("details", { class: "lp-card how" },
      make("summary", {}, words.how), make("p", {}, words.how_says), make("p", { class: "formula" }, words.how_formula),
      make("pre", { tabindex: 0 }, make("code", {}, words.how_code)));
    this.about = make("details", { class: "lp-card how" });
    this.root.replaceChildren(
      picture,
      make("div", { class: "more" }, this.stripBox, this.about, how),
      make("section", { class: "turn" },
        starts, make("p", { class: "promise" }, words.promise),
        make("div", { class: "lp-card" }, make("h2", {}, words.knobs), this.knobBox)),
      this.board.element, this.eyes.element);
    this.root.addEventListener("dragover", event => event.preventDefault());
    this.root.addEventListener("drop", event => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.#start({ file: event.dataTransfer.files[0] });
    });
  }

  #follow() {
    this.undo.disabled = !this.latent.past.length && this.latent.z === this.latent.settled;
    this.redo.disabled = !this.latent.future.length;
    if (this.latent.z === this.shown) return;
    this.shown = this.latent.z;
    this.live.show(this.latent.z);
  }

  #surprise() {
    const seed = Math.floor(Math.random() * 2 ** 31);
    this.#take(this.backend.surprise(seed).then(z => ({ z, note: "" })));
  }

  #start(from) {
    this.#take(this.backend.encode(from));
  }

  // A latent that is on its way, with what there is to say about it.
  async #take(coming) {
    const { view } = this;
    const waiting = setTimeout(() => this.say(this.words.wait), 600);
    try {
      const { z, note, seen, ...portrait } = await coming;
      if (view !== this.view) return; // another model has been opened meanwhile
      this.latent.jump(z);
      this.found = { z, seen };
      this.closerButton.hidden = !seen || !view.can_refine;
      if (portrait.photo) this.eyes.load(portrait);
      this.eyesButton.hidden = !this.eyes.photo;
      this.say(note, { seen: note ? seen : "" });
    } catch (error) {
      if (view === this.view) this.say(error.message, { isError: true });
    } finally {
      clearTimeout(waiting);
    }
  }

  // From what the encoder answered on towards the picture, shown step by step; one step to undo.
  async #closer() {
    const { found } = this;
    this.latent.settle();
    let here = this.latent.z;
    this.closerButton.disabled = true;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const z = await this.backend.closer(found);
        found.z = z;
        if (found !== this.found || here !== this.latent.z) return; // the visitor has gone elsewhere meanwhile
        this.latent.drift(z);
        here = this.latent.z;
      }
      this.latent.settle();
    } catch (error) {
      this.say(error.message, { isError: true });
    } finally {
      this.closerButton.disabled = false;
    }
  }

  // A sentence under the picture; "" takes it away, but the live picture only takes away its own.
  say(text, { from = "", isError = false, seen = "" } = {}) {
    if (!text && from && this.said !== from) return;
    this.said = text ? from : "";
    this.note.hidden = !text;
    this.note.classList.toggle("error", isError && !!text);
    this.note.replaceChildren(...(seen ? [make("img", { src: seen, alt: this.words.seen, width: 48, height: 48 })] : []), make("span", {}, text));
  }

  #measure() {
    const now = performance.now();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.#figures(false), QUIET);
    if (now - (this.measured ?? 0) < 250) return;
    this.measured = now;
    this.#figures(true);
  }

  #figures(isMoving) {
    const milliseconds = Math.round(this.live.milliseconds);
    if (!milliseconds) return;
    const key = isMoving && this.live.speed > 4 ? "figures_moving" : "figures";
    const drawer = this.words[`by_${this.root.dataset.drawer}`];
    this.figures.textContent = fill(this.words[key], { drawer, milliseconds, speed: this.live.speed });
  }
}
