"""Attention in bfloat16 that is learned through takes another way on a CPU, and tells the same."""

from __future__ import annotations

import torch

from himoe_ros.model.layers import attend


def test_attention_and_its_gradients_are_the_same_in_both_ways():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=g) for shape in ((3, 5, 4, 8), (3, 2, 7, 8), (3, 2, 7, 8)))
    mask = torch.ones(3, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., 4:] = False
    told = []
    for dtype in (torch.float32, torch.bfloat16):
        leaves = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        for hidden in (None, mask):
            out = attend(*leaves, hidden)
            told.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for exact, other in zip(told[:2], told[2:], strict=True):
        for a, b in zip(exact, other, strict=True):
            assert b.dtype is torch.bfloat16
            torch.testing.assert_close(a, b.float(), rtol=0.05, atol=0.05)
