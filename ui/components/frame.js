// What the tabs share, on a page with a server and on one without: the model that is open, what is known of it, and the ways
// from one tab to another.
import { Atlas } from "./atlas.js";
import { thrown } from "./dice.js";
import { make } from "./dom.js";
import { Explore } from "./explore.js";
import { MorphTab } from "./morph_tab.js";
import { Sketch } from "./novelty.js";
import { SampleTab } from "./sample_tab.js";

const SURPRISE_TEMPERATURE = 0.8; // a little less adventurous than the data: fewer oddities, still all kinds
const TOAST_MS = 8000, NOTED_MS = 500; // browsers take a hundred addresses in half a minute
const TABS = { sample: SampleTab, morph: MorphTab }; // made when they are first looked at
const OTHERS = ["explore", "train"];

export class Frame {
  // root: Explore's element, with the first picture in it; begin() says that the page around it stands. page:
  //   words, by section; choices: what the tabs begin with and their limits; libraries: URLs {gif, zip}; view: of the first model;
  //   backend: view(id) -> a model's view; atlas(view), training(view) -> bytes, the latter null where there are none; and what
  //     explore.js asks for but surprise, atlas and choose, pictures among it; each as a promise;
  //   has(id) -> whether there is such a model; mark(id): shows which one is chosen; show(tab): brings it to the front.
  constructor(root, page) {
    Object.assign(this, page);
    Object.assign(this, { tabs: {}, tab: "explore" });
    this.toast = make("div", { class: "lp-toast", role: "status" });
    document.body.append(this.toast);
    this.#take(page.view);
    const backend = {
      ...page.backend,
      surprise: async seed => (await thrown(await this.atlas(), { prior: "mixture", count: 1, seed, temperature: SURPRISE_TEMPERATURE }))[0],
      atlas: () => this.atlas(),
      choose: id => this.choose(id),
    };
    const drawn = count => (root.dataset.drawn = count);
    this.explore = new Explore(root, { words: page.words.explore, view: page.view, backend, drawn });
    this.explore.latent.addEventListener("change", () => this.note());
    this.address = this.#here;
  }

  // The page stands: to the place that the address names, now and whenever it is another.
  begin() {
    this.#follow();
    window.addEventListener("hashchange", () => this.#follow());
  }

  // -> whether another model will open. It opens once its view is there; of several that were chosen only the last one does.
  choose(id) {
    if (!this.has(id) || id === this.wanted) return false;
    this.waiting = null;
    this.open(id);
    return true;
  }

  async open(id) {
    this.#want(id);
    try {
      const view = await this.backend.view(id);
      if (id !== this.wanted) return;
      this.#take(view);
    } catch (error) {
      if (id !== this.wanted) return;
      this.#want(this.view.model);
      return this.failed(error);
    }
    this.explore.open(this.view);
    const isNew = this.waiting?.model !== id;
    for (const [name, tab] of Object.entries(this.tabs)) tab.open(this.view, this.#askedOf(name));
    this.note(isNew);
  }

  // A tab is on the page: its element, empty as yet.
  mount(name, root) {
    const tab = (this.tabs[name] = new TABS[name](root, this));
    tab.open(this.view, this.#askedOf(name));
    if (this.sent?.tab === name) tab.receive(this.sent.z);
    this.sent = null;
  }

  // A latent to another tab, which comes to the front.
  send(tab, z) {
    this.sent = { tab, z };
    this.show(tab);
    const shown = tab === "explore" ? this.explore : this.tabs[tab];
    if (!shown || !this.sent) return; // on its way to the page, or here and served already
    this.sent = null;
    shown.receive(z);
  }

  // A promise of the Atlas of the model that is open; what could not be fetched is asked for again.
  atlas() {
    const { view } = this;
    const known = (this.known ??= this.backend.atlas(view).then(data => new Atlas(data)));
    known.catch(() => view === this.view && (this.known = null));
    return known;
  }

  // A promise of the Sketch of what it learnt from; of null where it has none, or it cannot be fetched: a line less on the page.
  sketch() {
    return (this.learnt ??= this.backend.training(this.view).then(data => data && new Sketch(data)).catch(() => null));
  }

  // Latents -> a promise of the URLs of their pictures.
  draw(zs) {
    return this.explore.drawer.pictures(zs);
  }

  failed(error) {
    if (error.isStale) return; // of a model that was left
    this.toast.textContent = error.message;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => (this.toast.textContent = ""), TOAST_MS);
  }

  #take(view) {
    Object.assign(this, { view, wanted: view.model, known: null, learnt: null });
  }

  #want(id) {
    this.wanted = id;
    this.mark(id);
  }

  // Another tab has come to the front.
  turn(tab) {
    if (tab === this.tab) return;
    this.tab = tab;
    this.note(true);
  }

  // Where the visitor is goes into the address, so that reload, back and a copied address find it: in place of the entry before,
  // or, once the model or the tab is another, as a new one.
  note(isNew = false) {
    this.isNew ||= isNew;
    clearTimeout(this.noting);
    this.noting = setTimeout(() => {
      const here = this.#here;
      if (here === this.address) return;
      if (this.isNew) {
        history.replaceState(null, "", this.address); // so that Back finds what stood there
        history.pushState(null, "", here);
      } else history.replaceState(null, "", here);
      Object.assign(this, { address: here, isNew: false });
    }, NOTED_MS);
  }

  // "#" in a visitor's own model: its name is a secret, and an address gets about.
  get #here() {
    const { tab, explore: { place: at } } = this;
    return at ? `#${new URLSearchParams({ at, ...(tab !== "explore" && { tab }), ...this.tabs[tab]?.place })}` : "#";
  }

  // What the address asks of a tab, once; kept until that tab is on the page and the address' model is open.
  #askedOf(name) {
    const { model, asked } = this.waiting ?? {};
    if (model !== this.view.model || asked.tab !== name) return null;
    this.waiting = null;
    return asked;
  }

  // To the place that the address names.
  #follow() {
    const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1))), { at, tab = "explore" } = asked;
    clearTimeout(this.noting);
    if (at === undefined) return;
    this.#want(this.view.model); // a choice that is still under way is no longer wanted
    this.explore.visit(at);
    this.waiting = { model: this.wanted, asked };
    this.address = location.hash;
    if (tab !== this.tab && (OTHERS.includes(tab) || Object.hasOwn(TABS, tab))) {
      this.tab = tab;
      this.show(tab);
    }
    const now = this.tabs[tab] && this.#askedOf(tab);
    if (now) this.tabs[tab].restore(now);
  }
}
