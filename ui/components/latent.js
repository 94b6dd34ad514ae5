// The latent that is shown, where a knob reads it, and its history. Knows nothing of pictures or of the page.
// A latent z reads z . probe - offset on a knob; moving the knob by d adds d times its vector.

export class Latent extends EventTarget {
  constructor(start) {
    super();
    this.steer = knob => knob.vector; // the way a knob walks; null where others keep it from moving
    this.open(start);
  }

  // Another starting point: what Reset goes back to; the history begins anew.
  open(start) {
    this.start = [...start];
    this.past = [];
    this.future = [];
    this.settled = this.start;
    this.#move(this.start);
  }

  // Tells "stuck", with the knob, where the steering keeps it from moving.
  turn(knob, value) {
    if (this.steer(knob)) this.#move(this.at(knob, value));
    else this.dispatchEvent(new CustomEvent("stuck", { detail: knob }));
  }

  // z with the knob at a value, walked there as it is steered.
  at(knob, value) {
    const vector = this.steer(knob);
    return vector ? at(this.z, { ...knob, vector }, value) : this.z;
  }

  // On the way to somewhere; settle() says when it is reached.
  drift(z) {
    this.#move([...z]);
  }

  // The hand rests: what stood before becomes one step to undo.
  settle() {
    if (this.z === this.settled) return;
    this.past = [...this.past.slice(-199), this.settled];
    this.future = [];
    this.settled = this.z;
    this.#tell();
  }

  // Back to where a drift began, as if it had not been.
  return(z) {
    this.#move(z);
  }

  jump(z) {
    this.settle();
    this.drift(z);
    this.settle();
  }

  reset() {
    this.jump(this.start);
  }

  undo() {
    this.settle();
    if (!this.past.length) return;
    this.future.push(this.settled);
    this.settled = this.past.pop();
    this.#move(this.settled);
  }

  redo() {
    if (this.z !== this.settled || !this.future.length) return;
    this.past.push(this.settled);
    this.settled = this.future.pop();
    this.#move(this.settled);
  }

  #move(z) {
    this.z = z;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

export function read(z, knob) {
  let sum = -knob.offset;
  for (let i = 0; i < z.length; i++) sum += z[i] * knob.probe[i];
  return sum;
}

// z with the knob at a value, the rest as it is.
export function at(z, knob, value) {
  const step = value - read(z, knob);
  return z.map((number, i) => number + step * knob.vector[i]);
}

// The knobs as the server sends them: a raw unit comes without its arrays, which are all 0 but one, a principal direction
// without its probe, which points the same way.
export function whole(knobs, latent) {
  return knobs.map(knob => {
    if (knob.probe) return knob;
    const vector = knob.vector ?? Array.from({ length: latent }, (_, i) => Number(i === knob.unit));
    const square = vector.reduce((sum, value) => sum + value * value, 0);
    return { ...knob, vector, probe: vector.map(value => value / square) };
  });
}

// The place at a share of the straight way from a to b.
export function line(a, b, share) {
  return a.map((value, i) => (1 - share) * value + share * b[i]);
}

// The place at a share of the way from a to b around the origin, where likely latents lie: latents.arc in Python.
export function arc(a, b, share) {
  const [long, wide] = [Math.hypot(...a), Math.hypot(...b)];
  const [turnA, turnB] = [a.map(value => value / long), b.map(value => value / wide)];
  const angle = 2 * Math.atan2(Math.hypot(...turnA.map((value, i) => value - turnB[i])), Math.hypot(...turnA.map((value, i) => value + turnB[i])));
  if (!(angle > 1e-3 && angle < Math.PI - 1e-3)) return line(a, b, share);
  const [left, right] = [Math.sin((1 - share) * angle), Math.sin(share * angle)].map(value => value / Math.sin(angle));
  const length = (1 - share) * long + share * wide;
  return turnA.map((value, i) => length * (left * value + right * turnB[i]));
}
