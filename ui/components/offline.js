// A service worker: after the first visit the page works without a network. VERSION and NEEDED, what the page cannot be without,
// stand before this; other files are kept once they have been fetched. A new version waits until no page of the old one is open,
// so that none gets files of both.
const OURS = `latent-playground ${self.registration.scope} `, NAME = OURS + VERSION; // other pages may have the same origin

self.addEventListener("install", event => {
  const needed = NEEDED.map(name => new Request(name, { cache: "no-cache" })); // not what an older version left in the browser's own
  event.waitUntil(caches.open(NAME).then(cache => cache.addAll(needed)));
});

self.addEventListener("activate", event => event.waitUntil(begin()));

async function begin() {
  const old = (await caches.keys()).filter(name => name.startsWith(OURS) && name !== NAME);
  await Promise.all(old.map(name => caches.delete(name)));
  await self.clients.claim(); // so that models opened during the very first visit are kept as well
}

self.addEventListener("fetch", event => {
  const isOurs = event.request.method === "GET" && event.request.url.startsWith(self.registration.scope);
  if (isOurs) event.respondWith(answer(event));
});

async function answer(event) {
  const { request } = event, isPage = request.mode === "navigate";
  const kept = await caches.match(request, { cacheName: NAME, ignoreSearch: isPage }).catch(() => null);
  if (kept) return kept;
  const fetched = await fetch(request);
  if (fetched.ok && !isPage) event.waitUntil(keep(request, fetched.clone()).catch(() => {})); // the disk may be full
  return fetched;
}

async function keep(request, answer) {
  await (await caches.open(NAME)).put(request, answer);
}
