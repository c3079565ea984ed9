"""The table of the zoo."""

from __future__ import annotations

from functools import partial

from torch import nn

from fl_sim.client_training import ClientTraining
from fl_sim.specs import InputSpec, SpikingSpec
from tests.zoo import attention, convolutions, jelly, normalisation, sequences, tabular, vision, wrapped
from tests.zoo.entries import CIFAR, COLOUR, EVAL, EVENTS, GREY, ROWS, SIGNAL, TEXT, WORDS, ZooEntry

FLASH = "_scaled_dot_product_flash_attention_for_cpu_backward"
"""The kernel that scaled_dot_product_attention takes on the CPU where nothing is dropped out."""

HARD = "hardsigmoid_backward"
NEXT_WORD = InputSpec(channels=1, height=7, width=WORDS, classes=WORDS, vocabulary=WORDS)
PRICE = InputSpec(channels=1, height=1, width=10, classes=1, low=-1.0, high=1.0)
YES_NO = InputSpec(channels=1, height=1, width=10, classes=2, low=-1.0, high=1.0)
SPIKES = SpikingSpec(timesteps=4, threshold=0.2)

CONVOLUTIONS = (
    ZooEntry("tutorial", convolutions.tutorial, CIFAR, ClientTraining(mode="train", mean=0.5, std=0.5)),
    ZooEntry("tutorial_sigmoid", partial(convolutions.tutorial, activation=nn.Sigmoid), CIFAR, EVAL),
    ZooEntry("tutorial_gelu", partial(convolutions.tutorial, activation=nn.GELU), CIFAR),
    ZooEntry("tutorial_tanh", partial(convolutions.tutorial, activation=nn.Tanh), CIFAR),
    ZooEntry(
        "mnist_example",
        convolutions.MnistExample,
        GREY,
        ClientTraining(loss="nll", mode="train", mean=0.1307, std=0.3081),
    ),
    ZooEntry("fully_convolutional", convolutions.fully_convolutional, COLOUR),
    ZooEntry(
        "depthwise",
        convolutions.depthwise,
        COLOUR,
        ClientTraining(mode="train", mean="0.485 0.456 0.406", std="0.229 0.224 0.225"),
    ),
    ZooEntry("same_padding", convolutions.same_padding, GREY),
    ZooEntry("transposed", convolutions.transposed, GREY),
    ZooEntry("prelu", convolutions.prelu, GREY),
    ZooEntry("dropout_2d", convolutions.dropout_2d, GREY),
    ZooEntry("functional_dropout", convolutions.FunctionalDropout, GREY),
    ZooEntry("head_first", convolutions.HeadFirst, GREY),
    ZooEntry("normalises_inside", convolutions.NormalisesInside, COLOUR),
    ZooEntry("softmax_output", convolutions.softmax_output, GREY),
    ZooEntry("unet", convolutions.Unet, GREY),
    ZooEntry("bare_scale", convolutions.BareScale, COLOUR),
    ZooEntry("signal", convolutions.Signal, SIGNAL),
)
LOSSES = (
    ZooEntry("label_smoothing", convolutions.HeadFirst, GREY, ClientTraining(mode="train", label_smoothing=0.1)),
    ZooEntry("sum_reduced", convolutions.HeadFirst, GREY, ClientTraining(mode="train", reduction="sum")),
    ZooEntry("focal_loss", convolutions.HeadFirst, GREY, ClientTraining(mode="train", loss="tests.zoo.losses:focal")),
)
NORMS = (
    ("batch_norm", nn.BatchNorm2d),
    ("batch_norm_plain", partial(nn.BatchNorm2d, affine=False)),
    ("batch_norm_cumulative", partial(nn.BatchNorm2d, momentum=None)),
    ("batch_norm_untracked", partial(nn.BatchNorm2d, track_running_stats=False)),
    ("group_norm", partial(nn.GroupNorm, 2)),
    ("group_norm_plain", partial(nn.GroupNorm, 4, affine=False)),
    ("instance_norm_plain", nn.InstanceNorm2d),
    ("instance_norm", partial(nn.InstanceNorm2d, affine=True, track_running_stats=True)),
    ("response_norm", normalisation.response_norm),
)
ROW_NORMS = (
    ("layer_norm", nn.LayerNorm),
    ("layer_norm_plain", partial(nn.LayerNorm, elementwise_affine=False)),
    ("rms_norm", nn.RMSNorm),
    ("batch_norm_rows", nn.BatchNorm1d),
)
NORMALISATION = (
    *(ZooEntry(name, partial(normalisation.normalised, norm=norm), GREY, batch=3) for name, norm in NORMS),
    *(ZooEntry(name, partial(normalisation.normalised_mlp, norm=norm), ROWS, batch=3) for name, norm in ROW_NORMS),
    ZooEntry("batch_norm_eval", partial(normalisation.normalised, norm=nn.BatchNorm2d), GREY, EVAL, batch=1),
    ZooEntry("dense", normalisation.Dense, COLOUR),
    ZooEntry("convnext", normalisation.ConvNext, COLOUR),
    ZooEntry("standardised_weights", normalisation.standardised, COLOUR),
)
WRAPPED = (
    ZooEntry("weight_norm", wrapped.weight_norm, GREY),
    ZooEntry("hooked_weight_norm", wrapped.hooked_weight_norm, GREY),
    ZooEntry("spectral_norm", wrapped.spectral_norm, GREY),
    ZooEntry("hooked_spectral_norm", wrapped.hooked_spectral_norm, GREY),
    ZooEntry("symmetric", wrapped.symmetric, ROWS),
    ZooEntry("tied_autoencoder", wrapped.TiedAutoencoder, ROWS),
    ZooEntry("tied_layers", wrapped.TiedLayers, ROWS),
    ZooEntry("frozen_layers", wrapped.frozen, GREY),
    ZooEntry("frozen_by_client", convolutions.tutorial, CIFAR, ClientTraining(mode="train", frozen="0.* 3.bias")),
    ZooEntry("bilinear", wrapped.TwoViews, ROWS),
)
SEQUENCES = (
    ZooEntry("gru_rows", sequences.GruOfRows, COLOUR),
    ZooEntry("lstm_rows", sequences.LstmOfRows, GREY),
    ZooEntry("lstm_cells", sequences.CellLoop, GREY),
    ZooEntry("lstm_words", sequences.LstmOfWords, TEXT),
    ZooEntry("gru_words", sequences.GruOfWords, TEXT),
    ZooEntry("bag_of_words", sequences.bag_of_words, TEXT),
    ZooEntry("mean_of_words", sequences.MeanOfWords, TEXT),
    ZooEntry("next_word", sequences.NextWord, NEXT_WORD),
)
ATTENTION = (
    ZooEntry("small_vit", attention.SmallVit, GREY),
    ZooEntry("small_vit_eval", attention.SmallVit, GREY, EVAL, once=FLASH),
    ZooEntry(
        "torchvision_vit",
        attention.torchvision_vit,
        COLOUR,
        once=FLASH,
        still="class_token conv_proj.* encoder.*",  # torchvision starts with a head of zeros
    ),
    ZooEntry("attention_rows", attention.AttentionOfRows, GREY),
    ZooEntry("small_gpt", attention.SmallGpt, NEXT_WORD, once=FLASH),
)
TABULAR = (
    ZooEntry("mlp_rows", tabular.mlp, ROWS),
    ZooEntry("mlp_rows_sigmoid", partial(tabular.mlp, activation=nn.Sigmoid), ROWS),
    ZooEntry("softmax_regression", tabular.outputs, ROWS, batch=1),
    ZooEntry("one_logit", partial(tabular.mlp, count=1), YES_NO, ClientTraining(mode="train", loss="bce_with_logits")),
    ZooEntry(
        "logistic_regression", tabular.outputs, PRICE, ClientTraining(mode="train", loss="bce_with_logits"), batch=1
    ),
    ZooEntry("logit_for_each_class", tabular.mlp, ROWS, ClientTraining(mode="train", loss="bce_with_logits")),
    ZooEntry("regression", tabular.OneValue, PRICE, ClientTraining(mode="train", loss="mse")),
    ZooEntry("mse_of_classes", convolutions.HeadFirst, GREY, ClientTraining(mode="train", loss="mse")),
)
VISION = (
    ZooEntry("resnet18", vision.resnet18, CIFAR, batch=4),
    ZooEntry("resnet18_eval", vision.resnet18, CIFAR, EVAL, batch=1),
    ZooEntry("group_norm_resnet", vision.group_norm_resnet, CIFAR, batch=1),
    ZooEntry("vgg11_bn", vision.vgg11_bn, CIFAR, batch=2),
    ZooEntry("mobilenet", vision.mobilenet, CIFAR, batch=4, once=HARD),
)
SPIKING = (
    ZooEntry("jelly_if", jelly.convolutional, GREY, spiking=True),
    ZooEntry("jelly_lif", partial(jelly.convolutional, node=jelly.leaky), GREY, spiking=True),
    ZooEntry("jelly_plif", partial(jelly.convolutional, node=jelly.parametric), GREY, spiking=True),
    ZooEntry("jelly_batch_norm", partial(jelly.convolutional, norm=True), GREY, spiking=True),
    ZooEntry("jelly_events", jelly.OfEvents, EVENTS, spiking=True),
    ZooEntry("jelly_step_by_step", jelly.StepByStep, GREY, ClientTraining(mode="train", loss="mse"), spiking=True),
    ZooEntry("jelly_sew", jelly.sew, CIFAR, spiking=True),
    ZooEntry("snntorch_loop", "tests.zoo.snntorch_nets:Loop", GREY, spiking=True, needs="snntorch"),
    ZooEntry("snntorch_hidden", "tests.zoo.snntorch_nets:Hidden", GREY, spiking=True, needs="snntorch"),
    ZooEntry(
        "norse",
        "tests.zoo.norse_nets:Convolutional",
        GREY,
        ClientTraining(mode="train", loss="nll"),
        spiking=True,
        needs="norse",
    ),
)
OURS = (
    ZooEntry("lenet", "fl_sim.models.lenet:LeNet", GREY),
    ZooEntry("classic_lenet", "fl_sim.models.classic_lenet:ClassicLeNet", CIFAR),
    ZooEntry("spiking_lenet", "fl_sim.models.spiking_lenet:SpikingLeNet", GREY, spiking=True, settings=SPIKES),
)
ZOO = {
    entry.name: entry
    for group in (
        CONVOLUTIONS, LOSSES, NORMALISATION, WRAPPED, SEQUENCES, ATTENTION, TABULAR, VISION, SPIKING, OURS,
    )
    for entry in group
}  # fmt: skip
