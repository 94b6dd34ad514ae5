// A service worker: after the first visit the page works without a network. VERSION and NEEDED, what the page cannot be without,
// stand before this; other files are kept once they have been fetched. A new version waits until no page of the old one is open,
// so that none gets files of both.
const OURS = `latent-playground ${self.registration.scope} `, NAME = OURS + VERSION; // other pages may have the same origin

self.addEventListener("install", event => {
  const needed = NEEDED.map(name => new Request(name, { cache: "no-cache" })); // not what an older version left in the browser's own
  event.waitUntil(caches.open(NAME).then(cache => cache.addAll(needed)));
});

self.addEventListener("activate", event => {
  const old = caches.keys().then(names => names.filter(name => name.startsWith(OURS) && name !== NAME));
  event.waitUntil(old.then(names => Promise.all(names.map(name => caches.delete(name)))));
});

self.addEventListener("fetch", event => {
  const isOurs = event.request.method === "GET" && event.request.url.startsWith(self.registration.scope);
  if (isOurs) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(NAME), page = request.mode === "navigate";
  const kept = await cache.match(request, { ignoreSearch: page });
  if (kept) return kept;
  const fetched = await fetch(request);
  if (fetched.ok && !page) await cache.put(request, fetched.clone());
  return fetched;
}
