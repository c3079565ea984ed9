"""GRNN as its authors run it: one victim, one plain module, torch's own optimiser. For tests and benchmark.

Written from the published code of Ren, Deng and Xie, "GRNN: Generative Regression Neural Network" (ACM TIST 2022),
with log_softmax where theirs takes the logarithm of softmax.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PeerGenerator(nn.Module):
    """The generator for one batch of examples; its first parameters come from `load`, else torch's defaults.

    Args:
        base: (height, width) of the first feature map.
        widths: channels of the first feature map and after each block.
        size: (height, width) of the images; the output is cropped to it.
        classes: number of labels.
    """

    def __init__(self, base: tuple[int, int], widths: Sequence[int], size: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.size = size
        self.first = nn.ConvTranspose2d(128, 2 * widths[0], base)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(inward, 2 * outward, 3, padding=1, bias=False),
                nn.BatchNorm2d(2 * outward),
                nn.GLU(1),
            )
            for inward, outward in itertools.pairwise(widths)
        )
        self.label = nn.Linear(128, classes)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, C, H, W) and label logits (B, classes) of latents (B, 128)."""
        features = F.glu(self.first(latents[..., None, None]), 1)
        for block in self.blocks:
            features = block(features)
        images = features.sigmoid()[..., : self.size[0], : self.size[1]]
        return images, self.label(latents)

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Copy parameters named as `attacks.grnn.generator.draw` names them."""
        names = {"weight": "1.weight", "scale": "2.weight", "shift": "2.bias"}
        state = {}
        for name, parameter in parameters.items():
            layer, _, kind = name.rpartition(".")
            state[f"{layer}.{names[kind]}" if layer.startswith("blocks") else name] = parameter
        missing, unexpected = self.load_state_dict(state, strict=False)
        if unexpected or any("running" not in name and "tracked" not in name for name in missing):
            raise KeyError(f"{missing} missing, {unexpected} unexpected")


def total_variation(images: Tensor) -> Tensor:
    """Return the total variation as the published code scales it."""
    down = (images[:, :, 1:] - images[:, :, :-1]).square()
    right = (images[..., 1:] - images[..., :-1]).square()
    return 2 * (down.sum() / down[0].numel() + right.sum() / right[0].numel()) / len(images)


def peer_steps(
    model: nn.Module, target: Mapping[str, Tensor], generator: PeerGenerator, latents: Tensor, *, steps: int
) -> list[tuple[Tensor, Tensor, float]]:
    """Return images, label logits and matching loss of `steps` iterates, each before its step."""
    optimiser = torch.optim.RMSprop(generator.parameters(), lr=1e-4, momentum=0.99)
    names, parameters = zip(*model.named_parameters(), strict=True)
    observed = torch.cat([target[name].flatten() for name in names])
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        images, logits = generator(latents)
        loss = -(logits.softmax(-1) * F.log_softmax(model(images), -1)).sum(-1).mean()
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        difference = torch.cat([gradient.flatten() for gradient in gradients]) - observed
        matching = difference.square().sum()
        history.append((images.detach(), logits.detach(), matching.item()))
        (matching + difference.norm() + 1e-3 * total_variation(images)).backward()
        optimiser.step()
    return history
