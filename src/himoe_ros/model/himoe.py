"""HiMoE-VLA: prefix, action expert and flow matching as one module.

Shapes: B batch, V views, S image size, W words, T chunk steps, A = 24 slots, D expert width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from .action_expert import ActionExpert, Actions, Context, ExpertLayer, Suffix
from .chunking import FLOW, PREFIX, Guidance, sample_guided
from .config import HiMoEConfig
from .experts import Experts
from .flow import flow_times, integrate, time_embedding
from .inputs import ModelInputs, check_inputs
from .layers import recomputed
from .moe import HeterogeneityBalancingMoE
from .packed import pack, packs
from .prefix import Prefix


def unmarked(_part: str) -> None:
    """Nobody times the parts of the work."""


class Projection(nn.Linear):
    """A linear map, or one for each action space where the variant has separate heads (Table 6b)."""

    def __init__(self, inputs: int, outputs: int, spaces: int) -> None:
        super().__init__(inputs, outputs)
        self.spaces = spaces
        if spaces > 1:
            self.weight = nn.Parameter(torch.empty(spaces, outputs, inputs))
            self.bias = nn.Parameter(torch.zeros(spaces, outputs))

    def forward(self, x_BTD: Tensor, space_B: Tensor | None) -> Tensor:
        """(B, T, inputs) -> (B, T, outputs)."""
        if self.spaces == 1:
            return super().forward(x_BTD)
        return torch.baddbmm(self.bias[space_B][:, None], x_BTD, self.weight[space_B].mT)


class HiMoEVLA(nn.Module):
    """pi: (instruction, state, images) -> a chunk of actions (paper, section 3.1)."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        self.config = config
        width, slots = config.expert.width, config.action_dim
        self.prefix = Prefix(config)
        self.expert = ActionExpert(config)
        heads = config.expert.spaces if config.expert.conditioning == "separate_heads" else 1
        self.state_proj = Projection(2 * slots, width, heads)
        self.action_in_proj = Projection(slots, width, heads)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.action_out_proj = Projection(width, slots, heads)
        self.indicator = (
            nn.Embedding(config.expert.spaces, width) if config.expert.conditioning == "indicator" else None
        )
        self._unarranged: ActionExpert | None = None  # by `arrange`

    @torch.no_grad()
    def initialise(self, seed: int, kinds: tuple[type[nn.Module], ...] = ()) -> HiMoEVLA:
        """Random weights, repeatable: normal with variance 1 / fan-in; norms and biases neutral.

        Args:
            seed: of the weights.
            kinds: only what stands in modules of these kinds; without them everything.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = [m for m in self.modules() if isinstance(m, kinds)] if kinds else [self]
        for module in (inner for outer in chosen for inner in outer.modules()):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.dim() < 2 or name == "bias":
                    # torch's LayerNorm multiplies by w, Gemma's norms by 1 + w.
                    parameter.fill_(1.0 if isinstance(module, nn.LayerNorm) and name == "weight" else 0.0)
                    continue
                # Convolutions sum over all but the first dimension; linear, stacked and embedded weights over the last.
                fan_in = parameter[0].numel() if isinstance(module, nn.Conv2d) else parameter.shape[-1]
                parameter.normal_(0.0, 1.0 / math.sqrt(fan_in), generator=generator)
        return self

    def embed_state(self, inputs: ModelInputs) -> Tensor:
        """[values | mask] -> the state token, (B, 1, D)."""
        dtype = self.state_proj.weight.dtype
        known = inputs.data_mask if inputs.state_mask is None else inputs.state_mask
        told = torch.cat([inputs.state, known], dim=-1).to(dtype)[:, None]
        return self._marked(self.state_proj(told, inputs.space), inputs.space)

    def embed_times(self, t: Tensor) -> Tensor:
        """Times of the flow -> (..., D), their part of the action tokens' first layer, which no action changes."""
        width = self.config.expert.width
        first = self.action_time_mlp_in
        return F.linear(time_embedding(t, width).to(first.weight.dtype), first.weight[:, width:], first.bias)

    def embed_actions(self, x_BTA: Tensor, time: Tensor, space: Tensor | None) -> Tensor:
        """Noisy actions and their time, from `embed_times`, (B, D) or (B, T, D) -> action tokens, (B, T, D)."""
        action = self.action_in_proj(x_BTA.to(self.action_in_proj.weight.dtype), space)
        hidden = F.linear(action, self.action_time_mlp_in.weight[:, : action.shape[-1]])
        hidden = hidden + time.view(len(time), -1, time.shape[-1])
        return self._marked(self.action_time_mlp_out(F.silu(hidden)), space)

    def velocity(self, hidden_BTD: Tensor, space: Tensor | None) -> Tensor:
        """The learned velocity, (B, T, A) float32."""
        return self.action_out_proj(hidden_BTD, space).float()

    @torch.inference_mode()
    def sample_actions(
        self,
        inputs: ModelInputs,
        noise: Tensor,
        guidance: Guidance | None = None,
        mark: Callable[[str], None] = unmarked,
    ) -> Tensor:
        """Integrate the flow from noise to normalised actions.

        The state token sees the prefix and itself, never the actions: it passes the layers once, beside the
        actions of the first flow step, and its keys and values stay for the others.

        Args:
            noise: (B, T, A) float32 standard normal; left as it is.
            guidance: what the chunk should agree with. A model that was trained for it is told the steps that are
                certain; another one is bent toward all of them, see `sample_guided`.
            mark: called when a part of the work has been done, or on a GPU has been asked for.

        Returns:
            (B, T, A) float32.

        Raises:
            ObservationError: inputs that do not fit the model, see `check_inputs`.
        """
        check_inputs(inputs, self.config)
        if guidance is not None and int(guidance.told.sum(1).max()) > self.config.committed_steps:
            return sample_guided(self, inputs, noise, guidance, mark)
        context = self.encode(inputs)
        mark(PREFIX)
        actions = self.flow(inputs, context, noise, guidance)
        mark(FLOW)
        return actions

    def flow(self, inputs: ModelInputs, context: Context, noise: Tensor, guidance: Guidance | None = None) -> Tensor:
        """The second half of `sample_actions`, behind a context that `encode` has made; without gradients."""
        spaces = self.expert.choose(self.expert.route(inputs.data_mask))
        suffix = Suffix(context, noise.shape[1])
        # Filled on the device: a copy from the host could not be part of a captured graph.
        times = torch.stack([torch.full((), t, device=noise.device) for t in flow_times(self.config.flow_steps)])
        times_SD = self.embed_times(times)
        told = None if guidance is None else guidance.told[..., None]
        certain = self.embed_times(torch.zeros(1, 1, device=noise.device))

        later: list[Actions] = []  # filled by the first step

        def velocity(x: Tensor, step: int) -> Tensor:
            time = times_SD[step : step + 1]
            if told is not None:
                x, time = torch.where(told, guidance.actions, x), torch.where(told, certain, time[:, None])
            tokens = self.embed_actions(x, time, inputs.space)
            if later:
                hidden, _ = self.expert(tokens, spaces, later[0])
                return self.velocity(hidden, inputs.space)
            hidden, _ = self.expert(torch.cat([self.embed_state(inputs), tokens], dim=1), spaces, suffix)
            later.append(suffix.actions())
            return self.velocity(hidden[:, 1:], inputs.space)

        actions = integrate(velocity, noise, self.config.flow_steps)
        return actions if told is None else torch.where(told, guidance.actions, actions)

    @property
    def differentiable(self) -> ActionExpert:
        """The expert, as it was before `arrange`."""
        return self.expert if self._unarranged is None else self._unarranged

    def forward(self, inputs: ModelInputs, x_BTA: Tensor, t_B: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """One training pass: the velocity (B, T, A), and layer -> routing probabilities (B, 1 + T, E)."""
        check_inputs(inputs, self.config)
        return self.denoise(inputs, self.encode(inputs), x_BTA, t_B)

    def denoise(
        self, inputs: ModelInputs, context: Context, x_BTA: Tensor, t_B: Tensor
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `forward`, behind a context that `encode` has made.

        Times may also be (B, T): 0 for a step that is told, and is no noise.

        Where B is a multiple of the inputs' batch, each of these has so many noisy chunks, in a row, behind one prefix.
        """
        times = len(x_BTA) // len(inputs.state)
        state, mask = (t.repeat_interleave(times, 0) for t in (self.embed_state(inputs), inputs.data_mask))
        space = None if inputs.space is None else inputs.space.repeat_interleave(times, 0)
        actions = self.embed_actions(x_BTA, self.embed_times(t_B), space)
        suffix = Suffix(context.repeated(times), x_BTA.shape[1])
        hidden, routing = self.expert(torch.cat([state, actions], dim=1), self.expert.route(mask), suffix)
        return self.velocity(hidden[:, 1:], space), routing

    def recompute(self) -> None:
        """From now on layers keep only what goes in, and compute the rest again for gradients."""
        self.prefix.recompute = True
        for layer in self.modules():
            if isinstance(layer, (SiglipEncoderLayer, ExpertLayer)):
                layer.forward = partial(recomputed, True, layer.forward)

    def arrange(self, expert_weights: str = "") -> HiMoEVLA:
        """Lay the weights out as the CPU multiplies them fastest, with a copy of the expert's; on a GPU they stay.

        For a loaded model that will only be evaluated: it can be neither trained nor saved afterwards.

        Args:
            expert_weights: int8 or float8, to keep routed experts in eight bits; "": as they are.

        Raises:
            ConfigError: the device does not multiply these.
        """
        if expert_weights:
            for module in [m for m in self.expert.modules() if isinstance(m, Experts)]:
                module.round(expert_weights)
        if packs(self.state_proj.weight):
            self._unarranged = copy.deepcopy(self.expert)
        for kind in (HeterogeneityBalancingMoE, Experts):
            for module in [m for m in self.expert.modules() if isinstance(m, kind)]:
                module.arrange()
        self.prefix.arrange()
        pack(self.expert)
        return self

    def encode(self, inputs: ModelInputs) -> Context:
        """Images and words, which all flow steps attend to."""
        return self.prefix(inputs.images, inputs.view_mask, inputs.tokens, inputs.token_mask)

    def _marked(self, tokens_BTD: Tensor, space_B: Tensor | None) -> Tensor:
        """Tokens with the embodiment's learned indicator added, in the GR00T-like variant."""
        return tokens_BTD if self.indicator is None else tokens_BTD + self.indicator(space_B)[:, None]
