// A service worker: after the first visit the page works without a network. VERSION and NEEDED, what the page cannot be without,
// stand before this; other files are kept once they have been fetched.

const OURS = `latent-playground ${self.registration.scope} `, NAME = OURS + VERSION; // other pages may have the same origin

self.addEventListener("install", event => {
  self.skipWaiting();
  event.waitUntil(caches.open(NAME).then(cache => cache.addAll(NEEDED)));
});

self.addEventListener("activate", event => {
  const old = caches.keys().then(names => Promise.all(names.filter(name => name.startsWith(OURS) && name !== NAME).map(name => caches.delete(name))));
  event.waitUntil(old.then(() => self.clients.claim()));
});

self.addEventListener("fetch", event => {
  const isOurs = event.request.method === "GET" && event.request.url.startsWith(self.registration.scope);
  if (isOurs) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(NAME), kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return kept;
  const fetched = await fetch(request);
  if (fetched.ok) await cache.put(request, fetched.clone());
  return fetched;
}
