"""The four losses of DTQL over its networks: `losses` has the equations, here stands what each of them reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dtql_robot.algorithm import losses
from dtql_robot.algorithm.diffusion import edm_scalings
from dtql_robot.algorithm.model import Model
from dtql_robot.algorithm.networks import smaller
from dtql_robot.algorithm.peers import ALONE, Peers
from dtql_robot.algorithm.policy_networks import GaussianPolicy
from dtql_robot.types import Batch, halves

Losses = dict[str, Tensor]
Loss = Callable[..., tuple[Tensor, Losses]]


class Noise(NamedTuple):
    """The random numbers of one loss, drawn before it, so that losses stay plain functions.

    policy  (B, H, A) standard normal noise of the policy's action, 0 for its mean
    sigma   (B,) noise levels of the denoiser
    normal  (B, H, A) standard normal noise at those levels
    """

    policy: Tensor
    sigma: Tensor
    normal: Tensor

    def then(self, other: Noise) -> Noise:
        """The noise of these samples and then of others."""
        return Noise(*(torch.cat(pair, dim=self.sigma.ndim - 1) for pair in zip(self, other, strict=True)))


class Members(NamedTuple):
    """What each of the policy's E networks says, before `squash`; all (E, B, H, A).

    drawn    at the noise of the action that trust region and Q see
    mean     without noise, what is held to recorded actions
    log_std  log standard deviation, of a Gaussian policy whose noise is trained
    """

    drawn: Tensor
    mean: Tensor
    log_std: Tensor | None = None

    def after(self, count: int) -> Members:
        """Without the first `count` samples."""
        log_std = None if self.log_std is None else self.log_std[:, count:]
        return Members(self.drawn[:, count:], self.mean[:, count:], log_std)


class Objectives(Model):
    """What each network learns.  Every method returns (loss, values to log) and draws no random numbers.

    peers: who else has a share of the batch; they are asked for what a loss needs to know of the whole of it.
    """

    peers: Peers = ALONE

    def objectives(self) -> dict[str, Loss]:
        """The losses by the name of their optimizer: what is compiled, and batched over seeds."""
        return {
            "critic": self.critic_loss,
            "denoiser": self.denoiser_loss,
            "fake": self.fake_loss,
            "policy": self.policy_loss,
        }

    def critic_loss(self, b: Batch) -> tuple[Tensor, Losses]:
        """Eqs. 6 and 7."""
        b = self._seen_by("critic", b)
        c = self.cfg.critic
        with torch.no_grad():
            regressed_q = (self.target_q if c.v_target == "target" else self.q)(b.obs, b.action)
            next_v = self.v(b.next_obs)
        v, q = self.v(b.obs), self.q(b.obs, b.action)
        v_loss = losses.value_loss(v, regressed_q, c.expectile).mean()
        q_loss = losses.masked_mean(losses.q_loss(q, b.reward, b.discount, next_v), b.td_valid, self.peers)
        q_spread = self.peers.rows_of_all(smaller(q)).std()
        log = {"v_loss": v_loss, "q_loss": q_loss, "v": v.mean(), "q": q.mean(), "q_spread": q_spread}
        return v_loss + q_loss, log

    def denoiser_loss(self, b: Batch, noise: Noise) -> tuple[Tensor, Losses]:
        """Eq. 2: behaviour cloning by denoising."""
        b = self._seen_by("denoiser", b)
        loss = losses.denoising_loss(self.denoiser, b.action, b.obs, noise.sigma, noise.normal, b.valid).mean()
        return loss, {"denoiser_loss": loss}

    def fake_loss(self, b: Batch, noise: Noise) -> tuple[Tensor, Losses]:
        """The second denoiser of the KL regularizer learns the policy's own actions."""
        with torch.no_grad():
            action = self.policy(self._seen_by("policy", b).obs, noise.policy)
        b = self._seen_by("denoiser", b, constant=True)
        assert self.fake is not None
        loss = losses.denoising_loss(self.fake, action, b.obs, noise.sigma, noise.normal, b.valid).mean()
        return loss, {"fake_loss": loss}

    def policy_loss(self, b: Batch, q_spread: Tensor, noise: Noise) -> tuple[Tensor, Losses]:
        """Eq. 5 with the likelihood term: alpha * L_TR + gamma * NLL - q_weight * gain, where the gain is Q itself, or
        what moves the policy a given step along Q's gradient (`q_unit`).

        b: samples of the behaviour to learn; where the regularizer holds at all states, as many of all episodes before
        them, of which it alone reads the states, with the weight that it has at the behaviour's.
        q_spread: standard deviation of Q over recorded actions, Q's unit with q_unit=value and normalize_q.
        """
        p = self.cfg.policy
        policy = self._members(self._seen_by("policy", b).obs, noise.policy)
        action = self.policy.squash(policy.drawn.mean(dim=0))
        regularizer = self._regularizer(action, b, noise)
        if self.cfg.regularizes_all:
            count, regularizer = len(action) // 2, 2 * regularizer
            b, noise = halves(b)[1], Noise(*(n[count:] for n in noise))
            policy, action = policy.after(count), action[count:]
        nll = self._likelihood(policy, b)
        gain, q = self._gain(action, b, noise.sigma) if p.q_unit == "step" else self._q_at(action, b, q_spread)
        loss = p.trust_region_weight * regularizer + p.nll_weight * nll - p.weight_of_q * gain
        return loss, {p.regularizer: regularizer, "nll": nll, "policy_q": q, "policy_loss": loss}

    def _members(self, obs: Tensor, noise: Tensor) -> Members:
        """What the policy's networks say at states, each run once where it can.  obs: (B, O).  noise: (B, H, A)."""
        p = self.cfg.policy
        if isinstance(self.policy, GaussianPolicy) and p.trains_noise:
            mean, log_std = self.policy.distributions(obs)
            return Members(mean + log_std.exp() * noise if p.tr_at == "sample" else mean, mean, log_std)
        if p.tr_at == "mean":
            mean = self.policy.means(obs)
            return Members(mean, mean)
        drawn = self.policy.members(obs, noise)
        return Members(drawn, self.policy.means(obs) if p.nll_weight > 0 else drawn)

    def _regularizer(self, action: Tensor, b: Batch, noise: Noise) -> Tensor:
        """Eq. 4, or the KL of section 3, at the policy's own action."""
        p = self.cfg.policy
        if p.trust_region_weight == 0:
            return action.new_zeros(())
        b = self._seen_by("denoiser", b, constant=True)
        if p.regularizer == "kl":
            assert self.fake is not None
            kl = losses.kl_loss(self.denoiser, self.fake, action, b.obs, noise.sigma, noise.normal, b.valid)
            return kl.mean()
        return losses.denoising_loss(self.denoiser, action, b.obs, noise.sigma, noise.normal, b.valid).mean()

    def _q_at(self, action: Tensor, b: Batch, q_spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of min(Q1, Q2) at the policy's action, in units of its spread if asked for; twice, as gain and as Q."""
        if self.cfg.policy.weight_of_q == 0:
            return action.new_zeros(()), action.new_zeros(())
        q = smaller(self.q(self._seen_by("critic", b, constant=True).obs, action)).mean()
        q = q / q_spread.clamp(min=1e-6) if self.cfg.policy.normalize_q else q
        return q, q

    def _gain(self, action: Tensor, b: Batch, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(what moves the policy along the gradient of Q, against the pull of the other terms; mean Q).

        The curvature of that pull is known: nll_weight of the squared error, and of the trust region at most
        1 / c_out**2 (see `losses.denoising_loss`).
        """
        p = self.cfg.policy
        if p.weight_of_q == 0:
            return action.new_zeros(()), action.new_zeros(())
        obs = self._seen_by("critic", b, constant=True).obs

        def judged(a: Tensor) -> tuple[Tensor, Tensor]:
            q = self.q(obs, a)
            q = smaller(q) if len(q) == 2 else q.mean(dim=0)
            return q.sum(), q

        with torch.autocast(self.device.type, enabled=False):  # the inner gradient is not made for mixed precision
            gradient, q = torch.func.grad(judged, has_aux=True)(action.detach())
        _, c_out, _, _ = edm_scalings(sigma, self.denoiser.sigma_data)
        steep = self.peers.mean((1 / c_out**2).mean())
        curvature = (p.nll_weight + p.trust_region_weight * steep).clamp(min=1.0)
        return curvature * losses.step_gain(action, gradient, b.action, b.valid, self.peers), q.mean()

    def _likelihood(self, policy: Members, b: Batch) -> Tensor:
        """Section 2.3's term on recorded actions, weighted by their advantage if asked for.

        Each member of the policy answers for itself, so that they differ where the data leave it open; their mean is
        what the trust region and Q see.
        """
        p = self.cfg.policy
        if p.nll_weight == 0:
            return b.obs.new_zeros(())
        if p.nll == "mse":
            nll = losses.chunk_mean((self.policy.squash(policy.mean) - b.action) ** 2, b.valid)
        else:
            assert policy.log_std is not None
            nll = losses.tanh_gaussian_nll(policy.mean, policy.log_std, b.action, b.valid)
        nll = nll.mean(dim=0) * (b.action[0].numel() if p.nll_reduction == "sum" else 1)
        if p.awr_temperature:
            with torch.no_grad():
                obs = self._seen_by("critic", b).obs
                advantage = smaller(self.target_q(obs, b.action)) - self.v(obs)
                weight = losses.advantage_weights(advantage, p.awr_temperature, self.peers)
                mean_weight = self.peers.mean(weight.mean())
            nll = nll * weight / mean_weight
        return nll.mean()

    def _seen_by(self, network: str, b: Batch, constant: bool = False) -> Batch:
        """The batch with the features that a network reads; without images, the batch.

        The network's loss trains the encoder if `encoder_losses` says so, and never where it is `constant`: a judge of
        the policy's action must not be pleased by changing what it sees.
        """
        if self.encoder is None:
            return b
        columns = self.encoder.columns(network)
        obs = b.obs[:, columns]
        if constant or network not in self.cfg.encoder.encoder_losses:
            obs = obs.detach()
        return b._replace(obs=obs, next_obs=b.next_obs[:, columns])
