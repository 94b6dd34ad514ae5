"""One step of sharpening: an update of the decoder, taught by critic, jury and teacher, and one of those who judge."""

import torch
from torch import Tensor

from vae.losses import negative_elbo
from vae.model import to_tensor
from vae.priors import Mixture, fit_mixture
from vae.recipe import TrainConfig
from vae.run import Run, batch_of, follow, noise_of, set_rate
from vae.sharpen.critic import judge

PENALTY = 0.02  # on the critic's slope, every PENALTY_STEPS steps as many times as strong (Karras et al. 2020, "lazy")
PENALTY_STEPS = 8
PRIOR_BATCH = 500
CRITIC_HASTE = 2.0  # times the decoder's rate (Heusel et al. 2017, "two time-scale update rule")


def prior_of(run: Run, config: TrainConfig, rows: Tensor) -> Mixture:
    """The mixture that samples will come from, from pictures (N, H, W, C) uint8: sharpening leaves the encoder as it is."""
    drawn, generator = [], noise_of(config.seed, 0)
    with torch.inference_mode():
        for part in rows.split(PRIOR_BATCH):
            posterior = run.model.encode(to_tensor(part, part.device))
            noise = torch.randn(posterior.mean.shape, generator=generator).to(part.device)
            drawn.append(posterior.at(noise).cpu())
    return fit_mixture(torch.cat(drawn), config.seed)


def sharpen(run: Run, config: TrainConfig, dtype: torch.dtype, penalty: float, inputs: dict[str, Tensor]) -> Tensor:
    """One update of the decoder and one of the critic; returns what learn does, with the critic's loss in place of 0.

    Beside the reconstructions the critic sees three quarters as many pictures (of batches of 4 and more) that no original
    stands behind: one quarter from latents between two, turned around 0 so that the variance stays, two from the prior or
    from blends of the whole batch with its mean and covariance. What is morphed and sampled later must look real as well.
    penalty: as in judge.
    """
    assert run.critic is not None and run.critic_optimizer is not None
    x = batch_of(config, inputs)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        with torch.no_grad():
            posterior = run.model.encode(x)
            z = posterior.at(inputs["noise"])
            angle, quarter, center = inputs["angle"], len(inputs["angle"]), z.mean(dim=0)
            between = torch.cos(angle) * z[:quarter] + torch.sin(angle) * z[quarter : 2 * quarter]
            dreams = inputs["dreams"] if "dreams" in inputs else center + inputs["blend"] @ (z - center)
        logits = run.model.decode_logits(torch.cat([z, between, dreams])).float()
        made = torch.sigmoid(logits)
        judged = judge(
            run.critic, x, made, inputs["shift"], pixel=config.pull_pixel, feature=config.pull_feature,
            adversarial=config.pull_adversarial, perceptual=config.pull_perceptual, penalty=penalty,
            jury=run.jury, jury_share=config.pull_jury, teacher_side=config.teacher_side,
        )  # fmt: skip
    run.optimizer.zero_grad(set_to_none=True)
    made.backward(judged.pull / len(made))
    norm = torch.nn.utils.clip_grad_norm_(run.model.decoder.parameters(), config.clip)
    for parameter, gradient in zip(run.critic_parameters, judged.critic_gradients, strict=True):
        parameter.grad = gradient
    set_rate(run.optimizer, inputs["rate"])
    set_rate(run.critic_optimizer, CRITIC_HASTE * inputs["rate"])
    run.optimizer.step()  # leaves the encoder alone: it has no gradients
    run.critic_optimizer.step()
    terms = negative_elbo(
        logits.detach()[: len(x)], x, posterior, likelihood=config.model.likelihood,
        sigma_floor=config.model.sigma_floor, beta=config.beta, free_bits=config.free_bits,
    )  # fmt: skip
    follow(run, inputs["decay"], terms.sigma)
    first = [terms.loss, terms.reconstruction, terms.kl, norm, judged.critic_loss]
    return torch.cat([torch.stack(first), terms.unit_kl]).detach()
