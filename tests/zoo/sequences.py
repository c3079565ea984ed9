"""Recurrent networks on the rows of an image or on tokens, and other networks that read tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fl_sim.specs import ModelSpec
from tests.zoo.entries import WORDS

WIDTH = 8
"""Size of the embedding of a token."""


class GruOfRows(nn.Module):
    """A GRU that reads an image row by row, as in many tutorials."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.gru = nn.GRU(spec.input.width * spec.input.channels, 16, batch_first=True)
        self.head = nn.Linear(16, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.gru(x.permute(0, 2, 1, 3).flatten(2))
        logits: Tensor = self.head(outputs[:, -1])
        return logits


class LstmOfRows(nn.Module):
    """Two layers of LSTM in both directions, time first, with dropout in between and a given initial state."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.lstm = nn.LSTM(spec.input.width, 12, num_layers=2, bidirectional=True, dropout=0.2)
        self.head = nn.Linear(24, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        zeros = torch.zeros(4, len(x), 12, device=x.device, dtype=x.dtype)
        _, (hidden, _) = self.lstm(x.squeeze(1).permute(1, 0, 2), (zeros, zeros))
        logits: Tensor = self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))
        return logits


class CellLoop(nn.Module):
    """An LSTM cell in a loop of the user's own over the rows, which also feeds a plain recurrent layer."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(spec.input.width, 12)
        self.rnn = nn.RNN(12, 12, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(12, spec.input.classes)

    def forward(self, x: Tensor) -> Tensor:
        state, found = None, []
        for row in x.squeeze(1).unbind(1):
            state = self.cell(row, state)
            found.append(state[0])
        outputs, _ = self.rnn(torch.stack(found, dim=1))
        logits: Tensor = self.head(outputs.mean(1))
        return logits


class LstmOfWords(nn.Module):
    """Embedding and LSTM, with a padding token."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, 12, batch_first=True)
        self.head = nn.Linear(12, spec.input.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(self.embedding(tokens))
        logits: Tensor = self.head(hidden[-1])
        return logits


class GruOfWords(nn.Module):
    """Embedding, dropout and a GRU in both directions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.gru = nn.GRU(WIDTH, 10, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20, spec.input.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.gru(self.dropout(self.embedding(tokens)))
        logits: Tensor = self.head(outputs.mean(1))
        return logits


def bag_of_words(spec: ModelSpec) -> nn.Module:
    """Return the text classifier of PyTorch's tutorial: the mean of the embeddings, and a linear layer."""
    return nn.Sequential(nn.EmbeddingBag(WORDS, WIDTH, mode="mean"), nn.Linear(WIDTH, spec.input.classes))


class MeanOfWords(nn.Module):
    """The mean of embeddings, written out."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.net = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, spec.input.classes))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.net(self.embedding(tokens).mean(1))
        return logits


class NextWord(nn.Module):
    """A language model whose output layer is its embedding: it predicts the token that follows."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder = nn.Embedding(WORDS, WIDTH)
        self.rnn = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.decoder = nn.Linear(WIDTH, spec.input.classes)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.rnn(self.encoder(tokens))
        logits: Tensor = self.decoder(outputs[:, -1])
        return logits
