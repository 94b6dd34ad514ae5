// A slow walk through likely places, until it is stopped or somebody else moves the latent. Ends as one step to undo.

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

// The place at a share of the way from a to b around the origin, where likely latents lie: latents.arc in Python.
export function arc(a, b, share) {
  const [long, wide] = [Math.hypot(...a), Math.hypot(...b)];
  const [turnA, turnB] = [a.map(value => value / long), b.map(value => value / wide)];
  const angle = 2 * Math.atan2(Math.hypot(...turnA.map((value, i) => value - turnB[i])), Math.hypot(...turnA.map((value, i) => value + turnB[i])));
  if (!(angle > 1e-3 && angle < Math.PI - 1e-3)) return a.map((value, i) => (1 - share) * value + share * b[i]);
  const [left, right] = [Math.sin((1 - share) * angle), Math.sin(share * angle)].map(value => value / Math.sin(angle));
  const length = (1 - share) * long + share * wide;
  return turnA.map((value, i) => length * (left * value + right * turnB[i]));
}
