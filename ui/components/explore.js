// The Explore tab: picture, buttons, starting points, knobs and strip put together. The page around it gives a backend:
//   decode(z) -> URL of a picture; pictures(zs) -> URLs; ends(keys) -> URLs, of what each knob does at its low and high end, if it
//   remembers them;
//   surprise(seed) -> latent; atlas() -> the Atlas;
//   closer({z, seen}) -> a latent nearer to what was seen, a moment's search on;
//   encode({example: i} | {file: File} | {drawing: data URL} | {photo, eyes, turn}) -> {z, std, seen: URL, note: sentence or ""},
//   of portraits also photo: URL, eyes: [[x, y], [x, y]] in shares of its sides, and turn: what {photo, eyes, turn} asks again
// each as a promise that fails with an Error whose message a visitor may read (and isFinal, where trying again is no use).
// and choose(model) -> whether another model is opened now, so that open(view) will be called.
import { dot } from "./atlas.js";
import { download, fill, make } from "./dom.js";
import { Doubts } from "./doubts.js";
import { Board } from "./draw.js";
import { Drawer } from "./drawer.js";
import { Eyes } from "./eyes.js";
import { Grid } from "./grid.js";
import { Knobs } from "./knobs.js";
import { Lamp } from "./lamp.js";
import { at, Latent, whole } from "./latent.js";
import { Live, loaded } from "./live.js";
import { Pad } from "./pad.js";
import { read, stamped, stampOf, written } from "./place.js";
import { Strip } from "./strip.js";
import { Wander } from "./wander.js";
import { Webcam } from "./webcam.js";

const ROUNDS = 4; // of the search for a nearer picture, half a second each
const KEPT_SIDE = 512; // pixels of a picture that is kept
const TRACE = 0.2; // of a knob's own step that must be left of it beside the locked ones
const QUIET = 400; // ms after which a drag counts as over and the speed is no longer shown

export class Explore {
  // root: an element that may hold an <img>, the first picture, which is taken over. drawn(count): after each new picture.
  constructor(root, { words, view, backend, drawn = () => {} }) {
    Object.assign(this, { root, words, backend });
    this.latent = new Latent(view.start);
    this.latent.steer = knob => this.#steer(knob);
    this.kept = [];
    this.#build();
    this.drawer = new Drawer(backend, words);
    this.doubts = new Doubts(this.latent);
    this.live = new Live(this.canvas, z => this.#decode(z), {
      drawn: () => {
        drawn(this.live.count);
        this.#measure();
      },
      failed: error => error?.isStale || this.say(error ? error.message : "", { from: "live", isError: true }),
    });
    const orNone = ask => async asked => {
      const shown = this.view;
      try {
        return await ask(asked);
      } catch (error) {
        if (shown === this.view) this.say(error.message, { isError: true });
        return []; // the knobs work without their pictures
      }
    };
    this.strip = new Strip(this.stripBox, this.latent, words, orNone(zs => this.drawer.pictures(zs)));
    this.knobs = new Knobs(this.knobBox, this.latent, words, {
      ends: orNone(knobs => this.#ends(knobs)),
      chosen: knob => this.strip.open(knob),
      locked: knobs => {
        this.kept = knobs;
        if (this.strip.knob) this.strip.open(this.strip.knob);
      },
    });
    this.latent.addEventListener("change", () => this.#follow());
    this.latent.addEventListener("stuck", ({ detail: { label } }) =>
      this.say(fill(words.locked_out, { name: label }), { isError: true }));
    this.#show(view);
  }

  // Another model, or the same one again.
  async open(view) {
    const { bound } = this;
    this.bound = null;
    this.wander.stop();
    this.grid.close();
    this.drawer.leave();
    this.latent.open(view.start);
    this.#show(view);
    await this.live.paint(view.picture, view.start);
    if (bound?.model === view.model && view === this.view) this.#arrive(bound);
  }

  // Goes to a place in a link or a picture, in another model if need be. text: what place.js wrote, or anything else.
  visit(text) {
    const place = read(text);
    if (!place) this.say(this.words.link_broken, { isError: true });
    else if (place.model === this.view.model) this.#arrive(place);
    else if (!this.#leaveFor(place)) this.say(this.words.link_model, { isError: true });
  }

  #leaveFor(place) {
    this.bound = place;
    if (this.backend.choose(place.model)) return true;
    this.bound = null;
    return false;
  }

  #fits({ model, hash, z }) {
    return model === this.view.model && hash === this.view.hash && z.length === this.latent.z.length;
  }

  #arrive(place) {
    if (this.#fits(place)) this.receive(place.z);
    else this.say(this.words.link_weights, { isError: true });
  }

  // A latent from elsewhere; nothing that was brought here belongs to it.
  receive(z) {
    if (z.length === this.latent.z.length) this.#take(Promise.resolve({ z, note: "" }));
  }

  #show(view) {
    this.view = view;
    this.root.dataset.model = view.model;
    delete this.root.dataset.local;
    this.drawer.open(view).then(isReady => {
      if (!isReady || view !== this.view) return;
      this.live.forget(true);
      this.root.dataset.local = "ready";
    });
    this.size.textContent = fill(this.words.made_from, { latent: view.start.length });
    this.drawButton.hidden = view.form.channels > 1;
    this.about.replaceChildren(make("summary", {}, this.words.about), ...view.about.map(text => make("p", {}, text)));
    this.about.hidden = !view.about.length;
    this.howCode.textContent = fill(this.words.how_code, { model: this.#isPublic ? view.model : "my-model" });
    this.shareButton.hidden = !this.#isPublic || location.protocol === "file:"; // which others do not have
    this.#leave();
    this.startBox.replaceChildren(...view.examples.map((url, example) =>
      make("button", {
        class: "start", type: "button", "aria-label": fill(this.words.example, { number: example + 1 }),
        onclick: () => this.#start({ example }),
      }, make("img", { src: url, alt: "", width: 36, height: 36 }))));
    const knobs = whole(view.knobs, view.start.length);
    this.knobs.open(knobs);
    this.pad.open(knobs, view.places.map((z, place) => ({ z, url: view.examples[place] })));
    this.learning = this.#learn(view);
    this.shown = this.latent.z;
    this.say("");
    this.#follow();
    this.live.forget(false);
  }

  // What was brought here, and all that belongs to it, goes.
  #leave() {
    this.asked = this.found = null;
    this.eyes.load({});
    this.pad.sure(null);
    this.eyesButton.hidden = this.closerButton.hidden = this.blinkButton.hidden = this.original.hidden = true;
  }

  #reset() {
    this.latent.reset();
    this.#leave();
    this.say("");
  }

  // What the lamp, the locks and the map know; they work without, as far as they can.
  async #learn(view) {
    this.atlas = null;
    delete this.root.dataset.atlas;
    this.lamp.open(null);
    try {
      const atlas = await this.backend.atlas();
      if (view !== this.view) return atlas;
      this.atlas = atlas;
      this.root.dataset.atlas = "known"; // and now locks can lock
      this.lamp.open(atlas);
      this.lamp.show(this.latent.z);
      this.pad.know(atlas);
      return atlas;
    } catch (error) {
      console.warn("no atlas:", error.message);
    }
  }

  // A knob's way with the locked ones kept still, as long as its own step stays one step.
  #steer(knob) {
    const others = this.kept.filter(other => other !== knob);
    if (!others.length || !this.atlas) return knob.vector;
    const way = this.atlas.still(knob.vector, others), left = way && dot(way, knob.probe);
    return left > TRACE ? way.map(value => value / left) : null;
  }

  async #decode(z) {
    const drawn = await this.drawer.decode(z);
    this.root.dataset.drawer = typeof drawn === "string" ? "server" : "browser";
    return drawn;
  }

  // What knobs do at their low and high ends, from the start.
  #ends(knobs) {
    const { ends } = this.backend;
    if (ends) return ends(knobs.map(knob => knob.key)); // remembered for all visitors
    return this.drawer.pictures(knobs.flatMap(knob => [knob.low, knob.high].map(value => at(this.latent.start, knob, value))));
  }

  // What the model reads in a picture, as the backend's encode gives it.
  encode(from) {
    return this.drawer.encode(from, this.learning);
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
    this.wander = new Wander(this.latent, () => this.backend.surprise(newSeed()), () => {
      this.wanderButton.textContent = words[this.wander.isOn ? "wander_stop" : "wander"];
    });
    this.wanderButton = button("wander", () => this.#wander());
    this.lamp = new Lamp(words);
    this.pad = new Pad(this.latent, words);
    this.webcam = new Webcam(words, {
      taken: file => this.#start({ file }), failed: () => this.say(words.webcam_none, { isError: true }),
    });
    this.grid = new Grid(words, zs => this.#drawn(zs));
    this.original = make("img", { class: "original", alt: words.seen, title: words.seen, hidden: true });
    this.shareButton = button("share", () => this.#share());
    this.blinkButton = button("blink", () => this.#doubt());
    this.blinkButton.hidden = true;
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
      this.canvas, this.original,
      make("div", { class: "side" },
        make("div", { class: "meta" }, this.size, this.figures),
        this.lamp.element,
        make("div", { class: "btns" },
          button("surprise", () => this.#surprise(), "main"), this.wanderButton, button("reset", () => this.#reset()),
          this.undo, this.redo, button("keep", () => this.#keep()), this.shareButton)),
      this.note);
    const starts = make("div", { class: "starts" },
      make("span", {}, words.start_from), this.startBox,
      button("upload", () => this.file.click()), button("webcam", () => this.webcam.open()), this.eyesButton, this.closerButton,
      this.drawButton, this.file);
    const map = make("div", { class: "lp-card map" },
      make("h2", {}, words.map), this.pad.element,
      make("div", { class: "beside" }, make("p", {}, words.map_says),
        make("div", { class: "btns" }, button("grid", () => this.#grid()), this.blinkButton),
        make("details", { class: "how" }, make("summary", {}, words.sure), make("p", {}, words.sure_says),
          make("p", { class: "formula" }, words.sure_formula), make("pre", { tabindex: 0 }, make("code", {}, words.sure_code)))));
    this.howCode = make("code");
    const how = make("details", { class: "lp-card how" },
      make("summary", {}, words.how), make("p", {}, words.how_says), make("p", { class: "formula" }, words.how_formula),
      make("pre", { tabindex: 0 }, this.howCode));
    this.about = make("details", { class: "lp-card how" });
    // Under another tab nobody sees where it goes.
    new IntersectionObserver(() => this.root.offsetParent || this.wander.stop()).observe(this.canvas);
    this.root.replaceChildren(
      picture,
      make("div", { class: "more" }, this.stripBox, this.about, how),
      make("section", { class: "turn" },
        starts, make("p", { class: "promise" }, words.promise),
        make("div", { class: "lp-card" }, make("h2", {}, words.knobs), this.knobBox), map),
      this.board.element, this.eyes.element, this.webcam.element, this.grid.element);
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
    if (!this.note.hidden && !this.said && this.noted !== this.shown) this.say(""); // it was said of another picture
    this.lamp.show(this.latent.z);
    this.live.show(this.latent.z);
  }

  // Several pictures to paint elsewhere.
  async #drawn(zs) {
    return Promise.all((await this.drawer.pictures(zs)).map(loaded));
  }

  #grid() {
    this.grid.open(this.pad).catch(error => {
      this.grid.close();
      this.say(error.message, { isError: true });
    });
  }

  #surprise() {
    this.#take(this.backend.surprise(newSeed()).then(z => ({ z, note: "" })));
  }

  #wander() {
    if (this.wander.isOn) this.wander.stop();
    else this.wander.start().catch(error => this.say(error.message, { isError: true }));
  }

  async #start(from) {
    // A picture that was kept here knows its place; where that is not to be had any more it is a picture like others.
    const place = from.file && read(await stampOf(from.file).catch(() => null));
    if (place && this.#fits(place)) this.receive(place.z);
    else if (!place || place.model === this.view.model || !this.#leaveFor(place)) this.#take(this.encode(from));
  }

  async #doubt() {
    this.blinkButton.disabled = true;
    await this.doubts.show(this.found);
    this.blinkButton.disabled = false;
  }

  // Whether others have this model too. The name of a visitor's own is a secret, and no link of theirs would open it.
  get #isPublic() {
    return Boolean(this.view.files.atlas);
  }

  // Where the visitor is, as place.js writes it; null in a model of their own.
  get place() {
    return this.#isPublic ? this.#place(this.latent.z) : null;
  }

  #place(z) {
    return written({ model: this.view.model, hash: this.view.hash, z });
  }

  #keep() {
    const canvas = make("canvas", { width: KEPT_SIDE, height: KEPT_SIDE }), brush = canvas.getContext("2d");
    brush.imageSmoothingQuality = "high";
    brush.drawImage(this.canvas, 0, 0, KEPT_SIDE, KEPT_SIDE);
    const place = this.#isPublic ? this.#place(this.live.z ?? this.latent.z) : null;
    canvas.toBlob(async png => download(place ? await stamped(png, place) : png, "picture.png"));
  }

  async #share() {
    const link = `${location.origin}${location.pathname}#at=${this.place}`; // never the query, which is not the visitor's
    try {
      await navigator.clipboard.writeText(link);
      this.say(this.words.shared);
    } catch {
      this.say(`${this.words.share_by_hand} ${link}`); // no leave to write to the clipboard
    }
  }

  // A latent that is on its way, with what there is to say about it.
  async #take(coming) {
    const { view } = this, asked = (this.asked = {});
    const isWanted = () => view === this.view && asked === this.asked; // no other model, and nothing else, was chosen meanwhile
    const waiting = setTimeout(() => isWanted() && this.say(this.words.wait), 600);
    try {
      const { z, note, seen, std, ...portrait } = await coming;
      if (!isWanted()) return;
      this.latent.jump(z);
      this.found = { z, seen, std, mean: z };
      this.pad.sure(std ?? null);
      this.original.hidden = !seen;
      if (seen) this.original.src = seen;
      this.blinkButton.hidden = !std;
      this.closerButton.hidden = !seen || !view.can_optimize;
      if (portrait.photo) this.eyes.load(portrait);
      this.eyesButton.hidden = !this.eyes.photo;
      this.say(note, { seen: note ? seen : "" });
    } catch (error) {
      if (isWanted()) this.say(error.message, { isError: true });
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
        const z = await this.backend.closer({ z: found.z, seen: found.seen });
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
    this.noted = this.latent.z;
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

function newSeed() {
  return Math.floor(Math.random() * 2 ** 31);
}
