"""Networks with attention, of which torch offers several kernels; not all of them have a second derivative."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from fl_sim.specs import ModelSpec
from tests.zoo.entries import WORDS


class SmallVit(nn.Module):
    """A vision transformer on torch's encoder layers, with a class token and learned positions."""

    def __init__(self, spec: ModelSpec, patch: int = 4, width: int = 16) -> None:
        super().__init__()
        count = (spec.input.height // patch) * (spec.input.width // patch)
        self.patches = nn.Conv2d(spec.input.channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, count + 1, width))
        layer = nn.TransformerEncoderLayer(width, nhead=2, dim_feedforward=32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(width, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1) + self.positions
        logits: Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


def torchvision_vit(spec: ModelSpec) -> nn.Module:
    """Return torchvision's vision transformer; its head starts at zero."""
    net: nn.Module = VisionTransformer(
        image_size=spec.input.height,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=spec.input.classes,
    )
    return net


class AttentionOfRows(nn.Module):
    """Multi-head attention between the rows of an image, with the weights that it returns unless told otherwise."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.project = nn.Linear(spec.input.width, 16)
        self.attention = nn.MultiheadAttention(16, num_heads=4, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.project(x.squeeze(1))
        mixed, _ = self.attention(rows, rows, rows)
        logits: Tensor = self.head(self.norm(rows + mixed).mean(1))
        return logits


class SmallGpt(nn.Module):
    """Causal self-attention over tokens by `scaled_dot_product_attention`."""

    def __init__(self, spec: ModelSpec, width: int = 16) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        self.positions = nn.Embedding(spec.input.height, width)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.head = nn.Linear(width, spec.input.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        heads = self.qkv(self.norm(x)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        logits: Tensor = self.head((x + mixed.transpose(1, 2).flatten(2))[:, -1])
        return logits
