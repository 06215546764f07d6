"""What the data decides: observations, reward, scalings and the settings that were left to it; and why."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from dtql_robot.config import LR, LR_UPDATES, Config
from dtql_robot.config.encoder import ENCODERS
from dtql_robot.config.policy import Q_WEIGHT, Q_WEIGHT_ALONE
from dtql_robot.env_record import SuccessRule, success_rule
from dtql_robot.policy.interface import Interface
from dtql_robot.policy.normalize import action_std
from dtql_robot.training.after_success import choose_after_success, cut_after_success, left_out
from dtql_robot.training.behaviour import Behaviour, choose_behaviour, succeeds
from dtql_robot.training.buffer import (
    ChunkBuffer,
    choose_obs_keys,
    fit_normalizers,
    make_buffer,
    resolve_reward,
)
from dtql_robot.training.hardware import resolve_device
from dtql_robot.training.pixel_buffer import PixelBuffer, make_pixel_buffer, split_keys
from dtql_robot.types import Demonstrations

TEMPERATURE_PER_FAILURE = 3.0
"""Temperature of the likelihood's advantage weights if every episode failed (docs/recipe.md)."""

Q_NETWORKS_ALONE = 4
"""Q networks where nothing else tells good actions from bad ones."""

MANY_TRANSITIONS, MANY_UPDATES = 50_000, 20_000
"""From here on a critic may be all that tells good actions from bad ones (docs/recipe.md)."""


@dataclass(frozen=True)
class Resolved:
    """Settings after a look at the demonstrations, before anything is laid out.

    cfg        with observations, reward, behaviour, temperature and weight of Q decided
    behaviour  the episodes to learn from, and those whose behaviour is learned
    low_keys   low-dimensional observations, in order; image_keys: those that are images
    decisions  what was decided from the data and why, a sentence each; nothing of what the user chose
    rule       which steps of an episode say that it succeeded
    """

    cfg: Config
    behaviour: Behaviour
    low_keys: tuple[str, ...]
    image_keys: tuple[str, ...]
    decisions: tuple[str, ...]
    rule: SuccessRule = "any"


class Prepared(NamedTuple):
    """All that training needs of the demonstrations.  `cfg` and `decisions` as in `Resolved`, now complete."""

    cfg: Config
    interface: Interface
    buffer: ChunkBuffer | PixelBuffer
    decisions: tuple[str, ...]


def resolve(demos: Demonstrations, cfg: Config, env: str | None = None) -> Resolved:
    """Decide what `cfg` leaves to the data.  InputError where the data does not hold what it asks for.

    env: the environment to evaluate in, where it is not the demonstrations' own; it says what a success is.
    """
    rule = success_rule(env or demos.env_spec)
    whole, after = demos, choose_after_success(demos, cfg.data.after_success, rule)
    if after == "cut":
        demos = dataclasses.replace(whole, episodes=cut_after_success(whole.episodes))
    found = choose_behaviour(demos, cfg.data.behaviour, rule, cfg.critic.discount)
    temperature = resolve_temperature(found.shown, cfg.policy.awr_temperature, rule)
    step = resolve_q_weight(found, cfg)
    policy = dataclasses.replace(cfg.policy, awr_temperature=temperature, q_weight=step)
    learned = found.demos if policy.uses_all_episodes else found.shown
    keys = choose_obs_keys(learned, cfg.data.obs_keys)
    low_keys, image_keys = split_keys(learned, keys)
    reward = resolve_reward(learned, cfg.data.reward)
    data = dataclasses.replace(
        cfg.data,
        obs_keys=keys,
        reward=reward,
        behaviour=found.choice,
        after_success=after,
        n_action_steps=resolve_executed(demos, cfg),
    )
    critic = dataclasses.replace(cfg.critic, q_networks=resolve_q_networks(found, cfg))
    resolved = dataclasses.replace(cfg, data=data, policy=policy, critic=critic)
    if not policy.uses_all_episodes:
        found = dataclasses.replace(found, demos=learned, good=np.ones(len(learned), bool))
    said = _decisions(found, cfg, resolved, rule)
    if cfg.data.after_success == "auto" and after == "cut":
        said = (left_out(whole), *said)
    if not image_keys and cfg.encoder != type(cfg.encoder)():
        said = (
            *said,
            "warning: no images are learned from, so the settings of the encoder have no effect (--obs-keys).",
        )
    return Resolved(resolved, found, low_keys, image_keys, said, rule)


def prepare(
    demos: Demonstrations, settings: Config | Resolved, device: torch.device, scaled_as: Interface | None = None
) -> Prepared:
    """Fit the scalings, lay out the buffer on `device`, and decide what depends on the scaled data.

    scaled_as: whose scalings to use instead.
    """
    found = resolve(demos, settings) if isinstance(settings, Config) else settings
    cfg, decisions, demos, shown = found.cfg, found.decisions, found.behaviour.demos, found.behaviour.shown
    if scaled_as is not None:
        obs_norm, action_norm = scaled_as.obs_norm, scaled_as.action_norm
    else:
        obs_norm, action_norm = fit_normalizers(shown, found.low_keys, cfg.data.obs_norm, cfg.data.action_norm)
    buffer = make_buffer(demos, cfg.data, cfg.critic.discount, found.low_keys, obs_norm, action_norm, device)
    if cfg.draws_behaviour:
        steps = np.repeat(found.behaviour.good, [len(e) for e in demos.episodes])
        buffer = dataclasses.replace(buffer, behaviour=torch.from_numpy(np.flatnonzero(steps)).to(device))
    sigma_data = cfg.diffusion.sigma_data
    if sigma_data is None and scaled_as is not None:
        sigma_data = scaled_as.sigma_data
        cfg = dataclasses.replace(cfg, diffusion=dataclasses.replace(cfg.diffusion, sigma_data=sigma_data))
    if sigma_data is None:
        sigma_data = action_std(buffer.behaviour_actions().cpu().numpy())
        cfg = dataclasses.replace(cfg, diffusion=dataclasses.replace(cfg.diffusion, sigma_data=sigma_data))
        decisions += (f"sigma_data {sigma_data:.3g}: the standard deviation of the scaled actions.",)
    shapes = tuple(demos.obs_shapes[k] for k in cfg.data.obs_keys)
    face = Interface(cfg.data.obs_keys, shapes, obs_norm, action_norm, demos.action_dim, sigma_data, found.image_keys)
    laid_out: ChunkBuffer | PixelBuffer = buffer
    if found.image_keys:
        frames, with_next = cfg.encoder.frame_stack, cfg.policy.uses_critic
        laid_out = make_pixel_buffer(demos, buffer, found.image_keys, frames, with_next, device)
    cfg, graph = resolve_graph(cfg, device, in_memory=laid_out.in_memory, images=bool(found.image_keys))
    return Prepared(cfg, face, laid_out, decisions + graph)


def resolve_graph(
    cfg: Config, device: torch.device, *, in_memory: bool, images: bool = False
) -> tuple[Config, tuple[str, ...]]:
    """Turn cuda_graph=auto into on or off, and say so on a GPU.

    in_memory: whether all the data is in the device's memory.  images: whether some of it are images.
    """
    if cfg.optim.cuda_graph != "auto":
        return cfg, ()
    choice: Literal["on", "off"] = "off"
    why, eager = "", "updates run one operation at a time: a CUDA graph"
    if device.type == "cuda" and not in_memory:
        why = f"{eager} needs all data on the GPU, and some is kept in a file."
    elif device.type == "cuda" and images and cfg.encoder.encoder not in ENCODERS:
        why = f"{eager} may not hold the encoder {cfg.encoder.encoder!r} (--cuda-graph on tries it)."
    elif device.type == "cuda":
        choice, why = "on", "each update is replayed as one CUDA graph (--cuda-graph off turns this off)."
    optim = dataclasses.replace(cfg.optim, cuda_graph=choice)
    return dataclasses.replace(cfg, optim=optim), (why,) if why else ()


def resolve_temperature(shown: Demonstrations, choice: float | None, rule: SuccessRule) -> float:
    """The choice, or what suits the behaviour: nothing to select where all succeed, much where most fail."""
    if choice is not None:
        return choice
    failures, labelled = _failures(shown, rule)
    return TEMPERATURE_PER_FAILURE * failures / labelled if labelled else 0.0


def resolve_q_weight(found: Behaviour, cfg: Config) -> float:
    """What `cfg` has, or what suits the data: Q goes further where it alone tells good actions from bad ones.

    Not before it can: a critic of few demonstrations, or of few updates, is wrong where the demonstrations did not go
    (docs/recipe.md).
    """
    if cfg.policy.q_weight is not None:
        return cfg.policy.q_weight
    return Q_WEIGHT_ALONE if _q_is_alone(found, cfg) and cfg.steps >= MANY_UPDATES else Q_WEIGHT


def resolve_q_networks(found: Behaviour, cfg: Config) -> int:
    """What `cfg` has, or more than two where the policy moves along Q and nothing else tells what is good.

    The gradient of one critic is wrong in ways that the mean of several is not (docs/recipe.md).
    """
    if cfg.critic.q_networks is not None:
        return cfg.critic.q_networks
    return Q_NETWORKS_ALONE if cfg.policy.weight_of_q > 0 and _only_q_tells(found, cfg) else cfg.critic.networks


def resolve_executed(demos: Demonstrations, cfg: Config) -> int:
    """What `cfg` has, or the whole chunk of recordings that go on when the task is done.

    Play goes many ways from where it has just come: a policy that decides anew hovers between them (docs/recipe.md).
    """
    plays = cfg.data.n_action_steps is None and any(e.masks is not None for e in demos.episodes)
    return cfg.data.horizon if plays else cfg.data.executed


def _only_q_tells(found: Behaviour, cfg: Config) -> bool:
    """Whether Q's weight is a step, and nothing but Q tells which of the data is good."""
    episodes = found.demos.episodes
    unlabelled = found.choice == "all" and all(e.success is None for e in episodes)
    without = all(e.attrs.get("rewards_missing") for e in episodes)  # of zeros Q tells nothing either
    return cfg.policy.q_unit == "step" and unlabelled and not without


def _q_is_alone(found: Behaviour, cfg: Config) -> bool:
    """Whether only Q tells what is good, and there is much data to learn it from."""
    return _only_q_tells(found, cfg) and sum(map(len, found.demos.episodes)) >= MANY_TRANSITIONS


def _failures(demos: Demonstrations, rule: SuccessRule) -> tuple[int, int]:
    """(episodes that fail, episodes with a success signal)."""
    labelled = [e for e in demos.episodes if e.success is not None]
    return sum(not succeeds(e, rule) for e in labelled), len(labelled)


def _decisions(found: Behaviour, asked: Config, resolved: Config, rule: SuccessRule) -> tuple[str, ...]:
    """A sentence for everything in which `resolved` answers what `asked` left open."""
    demos = found.demos
    failures, labelled = _failures(demos, rule)
    said = [found.why] if asked.data.behaviour == "auto" else []
    others = len(demos) - len(found.shown)
    if resolved.regularizes_all and others:
        parts = "parts of recordings" if resolved.data.behaviour == "solutions" else "episodes"
        why = f"of the {others} {parts} that the policy does not imitate (--tr-states behaviour turns this off)."
        said.append(f"the trust region also holds at the states {why}")
    unused = [k for k in demos.obs_shapes if k not in resolved.data.obs_keys]
    if not asked.data.obs_keys and unused:
        said.append(
            f"observations {', '.join(resolved.data.obs_keys)}: all except images ({', '.join(unused)}), which "
            "are used where --obs-keys names them."
        )
    if asked.data.reward == "auto" and resolved.data.reward == "success":
        said.append("reward 0 at a successful step and -1 elsewhere: the data says which steps succeed.")
    elif asked.data.reward == "auto":
        why = "no step of the data succeeds" if labelled == len(demos) else "not every episode has a success signal"
        said.append(f"rewards as recorded: {why}.")
    if asked.policy.awr_temperature is None and resolved.policy.nll_weight > 0:
        failures, labelled = _failures(found.shown, rule)
        why = f"{failures} of {labelled} episodes of the behaviour fail" if labelled else "there is no success signal"
        said.append(f"awr_temperature {resolved.policy.awr_temperature:.3g}: {why}.")
    if asked.policy.q_weight is None and _q_is_alone(found, asked):
        why = f"q_weight {resolved.policy.q_weight}: nothing but Q tells good actions from bad ones"
        if resolved.policy.q_weight == Q_WEIGHT_ALONE:
            said.append(f"{why}, and it has data and updates to learn it from (--q-weight {Q_WEIGHT} turns this off).")
        else:
            said.append(f"{why}; with --steps {MANY_UPDATES} or more it would be {Q_WEIGHT_ALONE}.")
    if asked.critic.q_networks is None and resolved.critic.q_networks == Q_NETWORKS_ALONE:
        why = "nothing but Q tells good actions from bad ones (--q-networks 2 turns this off)."
        said.append(f"q_networks {Q_NETWORKS_ALONE}: {why}")
    if asked.optim.lr is None and asked.steps < LR_UPDATES:
        why = f"a training of fewer than {LR_UPDATES:,} updates learns faster (--lr {LR} turns this off)."
        said.append(f"lr {resolved.lr:.2g}: {why}")
    executed = resolved.data.executed
    if asked.data.executed != executed:
        why = "the recordings continue after the task is done, in many directions"
        said.append(f"n_action_steps {executed}: {why} (--n-action-steps {asked.data.executed} turns this off).")
    if asked.data.temporal_ensemble_coeff == "fit" and executed < asked.data.horizon:
        said.append("the weights of older and newer chunks are fitted to the demonstrations at every save.")
    return tuple(said)


def headline(demos: Demonstrations, cfg: Config) -> str:
    """One line that says what is about to be trained on.  cfg: resolved."""
    return (
        f"{demos.source} ({demos.format}): {len(demos)} episodes, {demos.num_transitions} transitions, "
        f"{demos.outcomes()}; "
        f"reward: {cfg.data.reward}; {cfg.updates} updates of {cfg.optim.batch_size} on {resolve_device(cfg.device)}"
    )
