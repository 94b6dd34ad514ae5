// The page without a server: the models to choose from, the tabs, and a model that this browser runs by itself. What it shows
// first, and where everything lies, stands as JSON in index.html.
import { bytes } from "./bytes.js";
import { Frame } from "./frame.js";

const site = JSON.parse(document.getElementById("lp-site").textContent);
const { words } = site;
const url = address => address && new URL(address, document.baseURI).href;
const all = addresses =>
  Object.fromEntries(Object.entries(addresses).map(([name, address]) => [name, Array.isArray(address) ? address.map(url) : url(address)]));
const models = new Map(site.models.map(model => [model.id, model]));

function located(view) {
  const { files } = models.get(view.model);
  return { ...view, where: { ...all(files), worker: url(site.worker), finder: url(site.finder), runtime: all(site.runtime) }, files };
}

async function fetched(act) {
  try {
    return await act();
  } catch {
    throw new Error(words.static.offline);
  }
}

// Without an answer for decode, pictures and encode: Explore then waits for the model in this browser.
const backend = {
  view: id => fetched(async () => located(id === site.view.model ? site.view : await (await fetch(url(models.get(id).view))).json())),
  atlas: view => fetched(() => bytes(view.where.atlas)),
  training: async view => view.where.training && bytes(view.where.training),
};

const rows = () => document.querySelectorAll(".lp-picker button");
function mark(id) {
  for (const button of rows()) button.setAttribute("aria-pressed", button.dataset.id === id);
  document.title = `${words.page.title}: ${models.get(id).title}`;
}

let frame;
function show(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isShown = tab.dataset.tab === name;
    tab.classList.toggle("selected", isShown);
    tab.setAttribute("aria-selected", isShown);
    tab.tabIndex = isShown ? 0 : -1;
    document.getElementById(`lp-${tab.dataset.tab}`).hidden = !isShown;
  }
  const root = document.querySelector(`#lp-${name} [data-part]`);
  if (root && !frame.tabs[name]) frame.mount(name, root);
  frame.turn(name);
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
  const box = document.querySelector(".lp-explore");
  await box.querySelector("img").decode();
  box.dataset.drawn = 0;
  frame = new Frame(box, {
    words, choices: site.choices, view: located(site.view), backend, libraries: { gif: url(site.gif), zip: url(site.zip) },
    has: id => models.has(id), mark, show,
  });
  tabs();
  for (const button of rows())
    button.onclick = () => (frame.choose(button.dataset.id) || frame.explore.drawer.model.isReady || frame.open(button.dataset.id));
  mark(frame.wanted);
  frame.begin();
  await frame.explore.drawer.opening; // what is for later visits waits until this one has all it needs
  if (site.offline && "serviceWorker" in navigator) navigator.serviceWorker.register(url(site.offline)).catch(() => {}); // private windows may not
}

begin();
