"""What the help of a command says beyond its options: examples, where its keys are listed, and its exit codes."""

from __future__ import annotations

from collections.abc import Mapping

FOUR_WAYS = """Four ways in:

spikeleak demo: federations, attacks and a report, without a download.

spikeleak run table4 --set scale=smoke: a table of the papers, or any config of yours.

spikeleak check task:Net: can your model be attacked? Record your Flower app, then: spikeleak audit runs/mine.

spikeleak invert model.safetensors: what a trained model alone gives away.

In Python: import spikeleak. Every key of a config: spikeleak config reference."""

KEYS = "Keys of --set: spikeleak config reference, and spikeleak config reference attack.iterations for one of them."
_WORK = (
    "Exit codes: 0 done; 2 wrong setting; 3 data missing or damaged; 4 done, but cells failed, which are named; 130 "
    "interrupted, and the same command goes on."
)
_READ = "Exit codes: 0 done; 2 wrong option; 3 files missing or damaged."

_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "run": (
        "spikeleak run demo --workers 2",
        "spikeleak run table4 --set scale=smoke --set attack=idlg --set dataset=mnist --dry-run",
        "spikeleak run my.toml --import my_models --set attack.iterations=50,100",
    ),
    "demo": ("spikeleak demo --workers 2",),
    "attack": ("spikeleak attack runs/demo --set attack=idlg --set attack.restarts=3",),
    "audit": (
        "spikeleak audit runs/mine --import my_models --public pictures",
        "spikeleak audit runs/mine --set assumed.local_steps=7 --set attack.effort=standard --ladder",
        "spikeleak audit final_model.pt --set model=mlp --set dataset=digits --members train",
    ),
    "check": (
        "spikeleak check task:Net --set assumed.batch_size=8 --set assumed.kind=delta --set assumed.learning_rate=0.01",
        "spikeleak check lenet --set input.channels=1 --set input.height=28 --set input.width=28",
    ),
    "train": ("spikeleak train mnist --set model=spiking_mlp --out snn.safetensors",),
    "invert": (
        "spikeleak invert snn.safetensors --set attack=brainleaks_v2",
        "spikeleak invert final_model.pt --set model=mlp --set dataset=digits",
    ),
    "report": ("spikeleak report runs/demo",),
    "verify": ("spikeleak verify runs/demo --deep",),
    "compare": ("spikeleak compare runs/demo runs/other",),
    "rerun": ("spikeleak rerun runs/demo --out runs/again",),
    "statement": ("spikeleak statement runs/mine",),
    "submit": ("spikeleak submit runs/digits_lenet --out ours.json",),
    "board": ("spikeleak board submissions",),
    "export": ("spikeleak export runs/demo --to tensorboard",),
    "list": ("spikeleak list attacks",),
    "data info": ("spikeleak data info mnist",),
    "data fetch": ("spikeleak data fetch cifar100",),
    "judge train": ("spikeleak judge train cifar100 --set judge.max_epochs=20",),
    "judge list": ("spikeleak judge list",),
    "config reference": ("spikeleak config reference attack.iterations",),
}
_OWN_CODES: Mapping[str, str] = {
    "board": "Exit codes: 0 done; 2 wrong option; 3 a file was refused, which is named, and the others are ranked.",
    "check": "Exit codes: 0 it can be attacked; 2 it cannot, with the reason, or a wrong setting; 3 files missing.",
    "compare": "Exit codes: 0 equal scores; 1 others; 2 wrong option; 3 files missing or damaged.",
    "rerun": "Exit codes: 0 equal scores; 1 others; 2 wrong option; 3 files missing or damaged; 4 cells failed.",
}
_SET = ("run", "attack", "audit", "check", "train", "invert", "judge train")
"""Commands with --set."""

_LONG = ("run", "demo", "attack", "audit")
"""Commands that may end with code 4 or be interrupted."""


def flowing(text: str | None) -> str:
    """Return a docstring without the ends of its lines, which a narrower terminal would show as well as its own."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def epilogue(command: str) -> str:
    """Return what stands below the options of a command, by its name: a paragraph for each line."""
    examples = _EXAMPLES[command]
    codes = _OWN_CODES.get(command, _WORK if command in _LONG else _READ)
    return "\n\n".join(
        ["Example:" if len(examples) == 1 else "Examples:", *examples, *[KEYS][: command in _SET], codes]
    )
