// The picture that follows the hand: a canvas, and as many requests in flight as the way to the decoder is long.
// `decode(z)` gives a promise of a picture's URL, or of an ImageBitmap. An older picture never replaces a newer one, and the last latent asked
// for is always drawn in the end, also when its request fails at first.

const MOST = 4; // in flight; six were slower than four
const RETRIES = 4;
const STEADY = 15; // ms a round trip may take for one request at a time to give 60 pictures a second

export class Live {
  // drawn(): after each new picture. failed(error | null): a request failed, or all is well again.
  constructor(canvas, decode, { drawn = () => {}, failed = () => {} } = {}) {
    Object.assign(this, { canvas, decode, drawn, failed });
    this.brush = canvas.getContext("2d");
    this.count = 0; // pictures drawn
    this.asked = 0;
    this.newest = 0; // the newest request whose picture has come
    this.coming = []; // {image, z}: for the next frame, and for the one after it
    this.flying = 0;
    this.wanted = null;
    this.trips = []; // ms, of the last requests
    this.times = []; // when the last pictures were drawn
  }

  show(z) {
    this.wanted = { z, tries: 0 };
    this.#pump();
  }

  // A picture that is here already. What is still under way must not replace it.
  async paint(url, z) {
    const me = ++this.asked;
    this.wanted = null;
    this.#draw(await loaded(url), me, z);
  }

  // Another decoder draws from now on: what was measured says nothing about it. isSerial: it draws one picture after the other,
  // so that it has enough to do with the next one at hand, and more would only wait.
  forget(isSerial) {
    this.trips = [];
    this.isSerial = isSerial;
  }

  // What a picture takes, in ms: the usual of the last times of a decoder that draws one after the other, else the quickest of the
  // last round trips, which is what is left when nobody waits in line.
  get milliseconds() {
    const sorted = this.trips.toSorted((a, b) => a - b);
    return sorted[this.isSerial ? sorted.length >> 1 : 0] ?? 0;
  }

  // Pictures drawn in the last second.
  get speed() {
    const since = performance.now() - 1000;
    return this.times.filter(time => time > since).length;
  }

  get #room() {
    if (this.isSerial) return 2;
    return Math.max(1, Math.min(MOST, 1 + Math.floor(this.milliseconds / STEADY)));
  }

  async #pump() {
    if (!this.wanted || this.flying >= this.#room) return;
    const wish = this.wanted, me = ++this.asked, began = performance.now();
    this.wanted = null;
    this.flying++;
    try {
      const found = await this.decode(wish.z);
      const now = performance.now();
      this.trips = [...this.trips.slice(-15), now - (this.isSerial ? Math.max(began, this.ended ?? 0) : began)];
      this.ended = now;
      this.#draw(typeof found === "string" ? await loaded(found) : found, me, wish.z);
      this.failed(null);
    } catch (error) {
      this.failed(error);
      if (!this.wanted && me === this.asked && wish.tries < RETRIES && !error.isFinal)
        setTimeout(() => this.#again(wish, me), 400 * 2 ** wish.tries);
    } finally {
      this.flying--;
      this.#pump();
    }
  }

  #again(wish, me) {
    if (this.wanted || me !== this.asked) return; // something newer is on its way
    this.wanted = { z: wish.z, tries: wish.tries + 1 };
    this.#pump();
  }

  // One picture a frame of the screen: of two that come within one the second waits for the next, and an uneven way looks even.
  #draw(image, me, z) {
    if (me <= this.newest) return image.close?.(); // compared with the last one drawn, not the last one received: that starved the page
    this.newest = me;
    if (this.coming.length === 2) this.coming.shift().image.close?.();
    this.coming.push({ image, z });
    if (this.coming.length === 1) requestAnimationFrame(() => this.#frame());
  }

  #frame() {
    const { image, z } = this.coming.shift(), { canvas } = this;
    if (this.coming.length) requestAnimationFrame(() => this.#frame());
    this.z = z; // of the picture that is shown
    if (canvas.width !== image.width || canvas.height !== image.height) [canvas.width, canvas.height] = [image.width, image.height];
    this.brush.drawImage(image, 0, 0);
    image.close?.(); // a bitmap's memory is not the garbage collector's
    this.count++;
    this.times = [...this.times.slice(-119), performance.now()];
    this.drawn();
  }
}

export async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
