"""See torchvision/__init__.py."""

import torch


class ToTensor:
    """(H, W, 3) uint8 -> (3, H, W) float in [0, 1]."""

    def __call__(self, image):
        return torch.as_tensor(image).permute(2, 0, 1).float() / 255
