"""Networks on the rows of a table, and linear models."""

from __future__ import annotations

from torch import Tensor, nn

from fl_sim.specs import ModelSpec


def outputs(spec: ModelSpec, count: int | None = None) -> nn.Module:
    """Return a linear model: softmax regression, or with `count` 1 logistic or linear regression."""
    columns = spec.input.channels * spec.input.height * spec.input.width
    return nn.Sequential(nn.Flatten(), nn.Linear(columns, count or spec.input.classes))


def mlp(spec: ModelSpec, activation: type[nn.Module] = nn.ReLU, count: int | None = None) -> nn.Module:
    """Return a perceptron with two hidden layers and `count` outputs, by default one for each class."""
    columns = spec.input.channels * spec.input.height * spec.input.width
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(columns, 24),
        activation(),
        nn.Linear(24, 12),
        activation(),
        nn.Linear(12, count or spec.input.classes),
    )


class OneValue(nn.Module):
    """A regression that returns values of shape (N,)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.net = mlp(spec, nn.Tanh, count=1)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.net(x).squeeze(1)
        return values
