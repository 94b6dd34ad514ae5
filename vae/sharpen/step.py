"""One step of sharpening: an update of the decoder, taught by critic, jury and teacher, and one of those who judge."""

import math
import typing

import torch
import torch.nn.functional as F
from torch import Tensor

from vae.device import noise_of
from vae.losses import negative_elbo
from vae.measure.fit import fit_mixture
from vae.model import posterior_of
from vae.priors import Mixture
from vae.recipe import TrainConfig
from vae.sharpen.critic import SHIFT, judge
from vae.training import batch_of, follow, set_learning_rate

if typing.TYPE_CHECKING:
    from vae.runs.run import Run

PENALTY = 0.02  # on the critic's slope, every PENALTY_STEPS steps as many times as strong (Karras et al. 2020, "lazy")
PENALTY_STEPS = 8
CRITIC_HASTE = 2.0  # times the decoder's learning rate (Heusel et al. 2017, "two time-scale update rule")


def penalty_at(step: int) -> float:
    """The weight of the critic's penalty in this step of a run."""
    return 0.0 if step % PENALTY_STEPS else PENALTY_STEPS * PENALTY


def has_verdict(recipe: TrainConfig) -> bool:
    """Whether anyone judges pictures that no original stands behind."""
    return bool(recipe.sharpen.adversarial or recipe.sharpen.jury)


def prior_of(run: "Run", recipe: TrainConfig, pictures: Tensor) -> Mixture | None:
    """The mixture that samples of these pictures (N, H, W, C) uint8 will come from: sharpening leaves the encoder as it is.

    None where nobody judges such.
    """
    if not has_verdict(recipe):
        return None
    posterior = posterior_of(run.model, pictures.cpu().numpy())
    return fit_mixture(posterior.sample(noise_of(recipe.seed, 0)), recipe.seed)


def inputs_of(recipe: TrainConfig, generator: torch.Generator, batch: int, prior: Mixture | None) -> dict[str, Tensor]:
    """What a step needs beside Steps.take's, as CPU tensors: angle (Q, 1), blend (2 Q, B) and shift (2,), Q a quarter of B.

    With a prior also prior_samples (2 Q, D).
    """
    quarter = batch // 4
    inputs = {
        "angle": torch.rand(quarter, 1, generator=generator) * math.pi / 2,
        "blend": F.normalize(torch.randn(2 * quarter, batch, generator=generator)),
        "shift": torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator),
    }
    if prior is None:
        return inputs
    # A seed of its own: the generator's would start its numbers again, and samples would wear the posterior's noise.
    seed = int(torch.randint(2**62, (), generator=generator))
    return inputs | {"prior_samples": prior.sample(2 * quarter, seed)}


def sharpen_step(
    run: "Run", recipe: TrainConfig, dtype: torch.dtype, penalty: float, inputs: dict[str, Tensor]
) -> Tensor:
    """One update of the decoder and one of the critics; returns what Steps.take says.

    Beside the reconstructions critic and jury see three quarters as many pictures (of batches of 4 and more) that no original
    stands behind: one quarter from latents between two, turned around 0 so that the variance stays, two from the prior or
    from blends of the whole batch with its mean and covariance. What is morphed and sampled later must look real as well.
    penalty: as in judge.
    """
    assert run.critics is not None
    x = batch_of(recipe, inputs)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        with torch.no_grad():
            posterior = run.model.encode(x)
            z = posterior.at(inputs["noise"])
            if has_verdict(recipe):
                angle, quarter, center = inputs["angle"], len(inputs["angle"]), z.mean(dim=0)
                between = torch.cos(angle) * z[:quarter] + torch.sin(angle) * z[quarter : 2 * quarter]
                unpaired = inputs.get("prior_samples", center + inputs["blend"] @ (z - center))
                z = torch.cat([z, between, unpaired])
        logits = run.model.decode_logits(z).float()
        drawn = torch.sigmoid(logits)
        judged = judge(run.critics, x, drawn, inputs["shift"], recipe.sharpen, penalty, inputs["weight"])
    run.optimizer.zero_grad(set_to_none=True)
    drawn.backward(judged.pull / len(drawn))
    norm = torch.nn.utils.clip_grad_norm_(run.model.decoder.parameters(), recipe.clip)
    set_learning_rate(run.optimizer, inputs["learning_rate"])
    run.optimizer.step()  # leaves the encoder alone: it has no gradients
    if run.critics_optimizer is not None:
        for parameter, gradient in zip(run.critics.parameters(), judged.critics_gradients, strict=True):
            parameter.grad = gradient
        set_learning_rate(run.critics_optimizer, CRITIC_HASTE * inputs["learning_rate"])
        run.critics_optimizer.step()
    shown = logits.detach()[: len(x)]
    terms = negative_elbo(shown, x, posterior, recipe.model, recipe.beta, recipe.free_bits, inputs["weight"])
    follow(run, inputs["decay"], terms.sigma)
    first = [terms.loss, terms.reconstruction, terms.kl, norm, judged.critic_loss]
    return torch.cat([torch.stack(first), terms.unit_kl]).detach()
