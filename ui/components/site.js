// The page without a server: the models to choose from, the tabs, and what the tabs share. What it shows first, and where
// everything lies, stands as JSON in index.html.
import { Atlas } from "./atlas.js";
import { bytes } from "./bytes.js";
import { thrown } from "./dice.js";
import { make } from "./dom.js";
import { Explore } from "./explore.js";
import { whole } from "./latent.js";
import { MorphPage } from "./morph_page.js";
import { Sketch } from "./novelty.js";
import { SamplePage } from "./sample_page.js";

const SURPRISE_TEMPERATURE = 0.8; // as the server's
const TOAST_MS = 8000;

const site = JSON.parse(document.getElementById("lp-site").textContent);
const { words } = site;
const url = address => address && new URL(address, document.baseURI).href;
const all = addresses =>
  Object.fromEntries(Object.entries(addresses).map(([name, address]) => [name, Array.isArray(address) ? address.map(url) : url(address)]));

let view, data, atlas, sketch; // of the model that is shown; data: a promise of its atlas' bytes, atlas: one of the atlas
let explore;
const late = {}; // the tabs that are made when they are first looked at

async function viewOf(id) {
  const { view: address, files } = site.models.find(model => model.id === id);
  const plain = id === site.view.model ? site.view : await (await fetch(url(address))).json();
  const where = { ...all(files), worker: url(site.worker), finder: url(site.finder), runtime: all(site.runtime) };
  return { ...plain, where, files };
}

function take(found) {
  view = found;
  data = bytes(view.where.atlas).catch(() => {
    throw new Error(words.static.offline);
  });
  atlas = data.then(found => new Atlas(found));
  atlas.catch(() => {}); // whoever needs it tells
  sketch = null; // a promise of it once somebody asks
  document.title = `${words.page.title}: ${site.models.find(({ id }) => id === view.model).title}`;
}

// Without an answer for decode, pictures and encode: Explore then waits for the model in this browser.
const backend = {
  surprise: async seed => (await thrown(await atlas, { prior: "mixture", count: 1, seed, temperature: SURPRISE_TEMPERATURE }))[0],
  atlas: () => data,
  choose(id) {
    const isOther = site.models.some(model => model.id === id) && id !== view.model;
    if (isOther) choose(id);
    return isOther;
  },
};

function say(error) {
  const box = document.querySelector(".lp-toast");
  box.textContent = error.message;
  clearTimeout(box.timer);
  box.timer = setTimeout(() => (box.textContent = ""), TOAST_MS);
}

let wanted; // the model that was chosen last
function want(id) {
  wanted = id;
  for (const button of document.querySelectorAll(".lp-picker button")) button.setAttribute("aria-pressed", button.dataset.id === id);
}

async function choose(id) {
  want(id);
  try {
    const found = await viewOf(id);
    if (id !== wanted) return;
    take(found);
  } catch {
    if (id === wanted) want(view.model);
    return say(new Error(words.static.offline));
  }
  explore.open(view);
  for (const tab of Object.values(late)) tab.open();
}

// Of what the model learnt from; null where it has none, or it cannot be fetched: a line less on the page.
const known = ({ training } = view.where) => (sketch ??= training ? bytes(training).then(found => new Sketch(found)).catch(() => null) : null);

const draw = zs => explore.drawer.pictures(zs);

const makers = {
  sample(root) {
    const page = new SamplePage(root.querySelector(".lp-sample"), {
      words: words.sample, first: site.first.sample, limits: site.limits, copy: site.copy, draw, atlas: () => atlas, sketch: () => known(), failed: say,
      send(tab, z) {
        show(tab);
        if (tab === "explore") explore.receive(z);
        else late.morph.page.receive(z);
      },
    });
    return { page, open: () => page.open(whole(view.knobs, view.start.length)) };
  },
  morph(root) {
    const page = new MorphPage(root, {
      words: words.morph, boardWords: words.explore, first: site.first.morph, read: from => explore.encode(from), draw, gif: url(site.gif), failed: say,
    });
    return { page, open: () => page.open(view.examples, view.form.channels) };
  },
};

function show(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isShown = tab.dataset.tab === name;
    tab.classList.toggle("selected", isShown);
    tab.setAttribute("aria-selected", isShown);
    tab.tabIndex = isShown ? 0 : -1;
    document.getElementById(`lp-${tab.dataset.tab}`).hidden = !isShown;
  }
  if (!makers[name] || late[name]) return;
  late[name] = makers[name](document.getElementById(`lp-${name}`));
  late[name].open();
}

function tabs() {
  const list = [...document.querySelectorAll("[role=tab]")];
  for (const [place, tab] of list.entries()) {
    tab.onclick = () => show(tab.dataset.tab);
    tab.onkeydown = ({ key }) => {
      const way = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!way) return;
      const next = list[(place + way + list.length) % list.length];
      show(next.dataset.tab);
      next.focus();
    };
  }
}

async function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const tint = () => document.documentElement.classList.toggle("dark", dark.matches);
  tint();
  dark.addEventListener("change", tint);
  tabs();
  document.body.append(make("div", { class: "lp-toast", role: "status" }));
  const box = document.querySelector(".lp-explore");
  await box.querySelector("img").decode();
  box.dataset.drawn = 0;
  take(await viewOf(site.models[0].id));
  explore = new Explore(box, { words: words.explore, view, backend, drawn: count => (box.dataset.drawn = count) });
  for (const button of document.querySelectorAll(".lp-picker button"))
    button.onclick = () => (button.dataset.id !== wanted || !explore.drawer.model.isReady) && choose(button.dataset.id);
  want(view.model);
  const follow = () => {
    const place = new URLSearchParams(location.hash.slice(1)).get("at");
    if (place === null) return;
    want(view.model); // a choice that is still under way is no longer wanted
    explore.visit(place);
  };
  follow();
  window.addEventListener("hashchange", follow);
  await explore.drawer.opening; // what is for later visits waits until this one has all it needs
  if (site.offline && "serviceWorker" in navigator) navigator.serviceWorker.register(url(site.offline)).catch(() => {}); // private windows may not
}

begin();
