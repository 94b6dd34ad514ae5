// What the encoder would also have said: draws from its posterior, one after the other, then back to where one stood.
import { normal } from "./dice.js";

const DRAWS = 8, EACH = 220; // ms

export class Doubts {
  constructor(latent) {
    this.latent = latent;
  }

  // Resolves when it is over; somebody who moves the latent ends it.
  async show({ mean, std }) {
    const { latent } = this, from = latent.z;
    for (let i = 0; i < DRAWS; i++) {
      latent.drift(mean.map((value, unit) => value + std[unit] * normal()));
      const here = latent.z;
      await new Promise(resolve => setTimeout(resolve, EACH));
      if (latent.z !== here) return;
    }
    latent.return(from);
  }
}
