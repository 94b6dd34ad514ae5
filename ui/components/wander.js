// A slow walk through likely places, until it is stopped or somebody else moves the latent. Ends as one step to undo.
import { arc } from "./latent.js";

const LEG = 2500; // ms from one place to the next

export class Wander {
  // next(): promise of a latent to walk to. changed(): it has begun, or is over.
  constructor(latent, next, changed) {
    Object.assign(this, { latent, next, changed });
  }

  get isOn() {
    return Boolean(this.walk);
  }

  async start() {
    const walk = (this.walk = {}); // a later one is another walk, also while this one waits for its next place
    this.changed();
    this.latent.settle();
    this.here = this.latent.z;
    try {
      while (walk === this.walk) {
        const to = await this.next();
        if (walk === this.walk) await this.#leg(walk, this.here, to);
      }
    } finally {
      if (walk === this.walk) this.stop(); // also where no next place could be had
    }
  }

  stop() {
    if (!this.isOn) return;
    this.walk = null;
    this.latent.settle();
    this.changed();
  }

  #leg(walk, from, to) {
    return new Promise(resolve => {
      let began;
      const step = now => {
        began ??= now;
        if (walk === this.walk && this.latent.z !== this.here) this.stop(); // somebody else has moved it
        const share = Math.min(1, (now - began) / LEG);
        if (walk !== this.walk || share === 1) return resolve();
        this.latent.drift(arc(from, to, (1 - Math.cos(Math.PI * share)) / 2));
        this.here = this.latent.z;
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    });
  }
}
