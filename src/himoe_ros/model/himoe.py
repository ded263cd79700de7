"""HiMoE-VLA: prefix, action expert and flow matching as one module.

Shapes: B batch, V views, S image size, W words, T chunk steps, A = 24 slots, D expert width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ObservationError
from .action_expert import ActionExpert, Context, ExpertOutput
from .config import HiMoEConfig
from .flow import integrate, time_embedding
from .prefix import Prefix


@dataclass(frozen=True)
class ModelInputs:
    """One batch.

    Attributes:
        images: (B, V, 3, S, S) float in [-1, 1], views in the order base, left wrist, right wrist.
        view_mask: (B, V) bool, False where a view is missing; None if all are there.
        tokens: (B, W) int64.
        token_mask: (B, W) bool, False at padding; None if there is none.
        space: (B,) int64, which action space; read only by the variants that number them.
        state: (B, A) normalised values, 0 in masked slots.
        data_mask: (B, A) float, 1 in the slots of the action space.
    """

    images: Tensor
    view_mask: Tensor | None
    tokens: Tensor
    token_mask: Tensor | None
    state: Tensor
    data_mask: Tensor
    space: Tensor | None = None


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

    @torch.no_grad()
    def initialise(self, seed: int) -> HiMoEVLA:
        """Random weights, repeatable: normal with variance 1 / fan-in; norms and biases neutral."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.dim() < 2 or name == "bias":
                    # torch's LayerNorm multiplies by w, Gemma's norms by 1 + w.
                    parameter.fill_(1.0 if isinstance(module, nn.LayerNorm) and name == "weight" else 0.0)
                    continue
                # Convolutions sum over all but the first dimension; linear, stacked and embedded weights over the last.
                fan_in = parameter[0].numel() if isinstance(module, nn.Conv2d) else parameter.shape[-1]
                parameter.normal_(0.0, 1.0 / math.sqrt(fan_in), generator=generator)
        return self

    def encode(self, inputs: ModelInputs) -> ExpertOutput:
        """Everything that stays the same over the flow steps: images, words, and the state token.

        The state token sees the prefix and itself, never the actions, so its keys and values are
        part of the context that the actions see.
        """
        prefix = self.prefix(inputs.images, inputs.view_mask, inputs.tokens, inputs.token_mask)
        return self.expert(self.embed_state(inputs), inputs.data_mask, prefix)

    def denoise(self, x_BTA: Tensor, t_B: Tensor, inputs: ModelInputs, context: Context) -> ExpertOutput:
        """Run the action tokens at time t of the flow; of the inputs only mask and space are read."""
        return self.expert(self.embed_actions(x_BTA, t_B, inputs.space), inputs.data_mask, context)

    def velocity(self, denoised: ExpertOutput, space: Tensor | None) -> Tensor:
        """The learned velocity, (B, T, A) float32."""
        return self.action_out_proj(denoised.hidden, space).float()

    def embed_state(self, inputs: ModelInputs) -> Tensor:
        """[values | mask] -> the state token, (B, 1, D)."""
        self._check_space(inputs.space)
        dtype = self.state_proj.weight.dtype
        told = torch.cat([inputs.state, inputs.data_mask], dim=-1).to(dtype)[:, None]
        return self._marked(self.state_proj(told, inputs.space), inputs.space)

    def embed_actions(self, x_BTA: Tensor, t_B: Tensor, space: Tensor | None) -> Tensor:
        """Noisy actions and the time -> action tokens, (B, T, D)."""
        dtype = self.action_in_proj.weight.dtype
        action = self.action_in_proj(x_BTA.to(dtype), space)
        time = time_embedding(t_B, action.shape[-1]).to(dtype)[:, None].expand_as(action)
        hidden = F.silu(self.action_time_mlp_in(torch.cat([action, time], dim=-1)))
        return self._marked(self.action_time_mlp_out(hidden), space)

    @torch.inference_mode()
    def sample_actions(self, inputs: ModelInputs, noise: Tensor) -> Tensor:
        """Integrate the flow from noise to normalised actions.

        Args:
            noise: (B, T, A) float32 standard normal; left as it is.

        Returns:
            (B, T, A) float32.
        """
        context = self.encode(inputs).context
        return integrate(
            lambda x, t: self.velocity(self.denoise(x, t, inputs, context), inputs.space),
            noise,
            self.config.flow_steps,
        )

    def forward(self, inputs: ModelInputs, x_BTA: Tensor, t_B: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """One training pass: the velocity (B, T, A), and layer -> routing probabilities (B, 1 + T, E)."""
        state = self.encode(inputs)
        actions = self.denoise(x_BTA, t_B, inputs, state.context)
        routing = {i: torch.cat([state.routing[i], actions.routing[i]], dim=1) for i in state.routing}
        return self.velocity(actions, inputs.space), routing

    def _marked(self, tokens_BTD: Tensor, space_B: Tensor | None) -> Tensor:
        """Tokens with the embodiment's learned indicator added, in the GR00T-like variant."""
        return tokens_BTD if self.indicator is None else tokens_BTD + self.indicator(space_B)[:, None]

    def _check_space(self, space_B: Tensor | None) -> None:
        if self.config.expert.conditioning != "mask" and space_B is None:
            raise ObservationError(f"{self.config.name} numbers its action spaces; the inputs must say which one")
