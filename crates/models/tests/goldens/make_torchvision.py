"""Writes torchvision/*.safetensors here: what torchvision's networks compute, a family a file.

chances.safetensors has the probability of every dropout and stochastic depth, by the module that drops.

Ran with torch 2.11.0, torchvision 0.26.0, numpy 2.4.6, safetensors 0.8.0. `python make_torchvision.py [family ...] [chances]`.

Weights and inputs follow a formula (`parameter` here, `fill` in torchvision.rs), so that they need not be stored;
all is computed in double precision. Of each tensor are kept its mean, its root mean square, its largest magnitude and
16 values at places that follow a formula too. For each network, under its name:

- facts: parameters, multiply-adds of one image of the size here (torch's FlopCounterMode, two operations each),
  smallest extent and image size (of torchvision's first weights);
- stages/NAME: the output of each module in evaluation mode; logits;
- train/logits, train/losses: in training mode without dropout and stochastic depth, the cross-entropy before and after
  one step of gradient descent; train/gradients/NAME, train/buffers/NAME: some gradients, and running statistics after
  the first forward pass;
- init/NAME: mean, standard deviation, least and largest number of some fresh variables.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from formula import uniform
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

HERE = Path(__file__).parent
VERSIONS = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0]}
assert VERSIONS == {"torch": "2.11.0", "torchvision": "0.26.0"}, VERSIONS

CLASSES = 10
# Odd and even, so that paddings and last windows show.
IMAGES = (2, 3, 65, 80)
LABELS = torch.tensor([3, 7])
LEARNING_RATE = 0.01

PLAIN = r"(features|classifier)\.\d+|avgpool"
RESNET = r"conv1|bn1|relu|maxpool|layer\d\.\d+|avgpool|fc"
DENSENET = (
    r"features\.(conv0|norm0|relu0|pool0|denseblock\d\.denselayer\d+|transition\d|norm5)|classifier"
)
EFFICIENTNET = r"features\.0|features\.[1-7]\.\d+|features\.8|avgpool|classifier\.\d"
CONVNEXT = r"features\.[0246]|features\.[1357]\.\d+|avgpool|classifier\.\d"
GOOGLENET = r"conv\d|maxpool\d|inception..|avgpool|dropout|fc"
REGNET = r"stem|trunk_output\.block\d\.block\d-\d+|avgpool|fc"
FAMILIES = {
    "alexnet": (PLAIN, ["alexnet"]),
    "vgg": (PLAIN, [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]),
    "squeezenet": (PLAIN, ["squeezenet1_0", "squeezenet1_1"]),
    "resnet": (
        RESNET,
        [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)] + ["resnext50_32x4d", "wide_resnet50_2"],
    ),
    "densenet": (DENSENET, [f"densenet{depth}" for depth in (121, 161, 169, 201)]),
    "mobilenetv2": (PLAIN, ["mobilenet_v2"]),
    "mobilenetv3": (PLAIN, ["mobilenet_v3_small", "mobilenet_v3_large"]),
    "efficientnet": (EFFICIENTNET, [f"efficientnet_b{size}" for size in range(4)]),
    "convnext": (CONVNEXT, ["convnext_tiny", "convnext_small"]),
    "googlenet": (GOOGLENET, ["googlenet"]),
    "regnet": (REGNET, ["regnet_y_400mf"]),
}
# Networks by a setting of torchvision's: its name for them, and the setting.
WIDTHS = {
    f"{name}_width_{width}": (name, {"width_mult": width})
    for name, width in [
        ("mobilenet_v2", 0.35),
        ("mobilenet_v2", 1.4),
        ("mobilenet_v3_small", 0.5),
        ("mobilenet_v3_large", 1.3),
    ]
}
FAMILIES["widths"] = (PLAIN, [*WIDTHS])


# The last scale of a residual branch.
BRANCH_END = re.compile(r"(bn[23]|conv\.[23]|block\.[23]\.1|f\.c\.1)\.weight$|layer_scale$")


def parameter(name, shape, norms):
    """Layers with inputs keep the variance behind a ReLU; what is added to a sum is a third of it, lest it grow. Other
    norms scale by about `norms`."""
    u = uniform(name, shape)
    if BRANCH_END.search(name) and np.prod(shape) == shape[0]:
        u = 0.3 * (1 + 0.2 * u)
    elif len(shape) >= 2:
        u *= np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        u = norms * (1 + 0.2 * u)
    elif name.endswith("running_var"):
        u = 1 + 0.2 * u
    else:
        u *= 0.1
    # As single precision holds it.
    return torch.from_numpy(u.astype(np.float32).astype(np.float64))


def sample(tensor):
    flat = tensor.detach().reshape(-1)
    places = np.floor((uniform("places", (16,)) + 1) / 2 * flat.numel()).astype(np.int64)
    summary = torch.stack([flat.mean(), flat.square().mean().sqrt(), flat.abs().max()])
    return torch.cat([summary, flat[torch.from_numpy(places)]])


def spread(names, count):
    """Some of the names, the first and the last among them."""
    names = sorted(names)
    return sorted({names[round(place)] for place in np.linspace(0, len(names) - 1, count)})


def build(name, init_weights=True):
    # GoogLeNet's auxiliary heads are only there for training.
    auxiliary = {"aux_logits": False, "init_weights": init_weights} if name == "googlenet" else {}
    name, settings = WIDTHS.get(name, (name, auxiliary))
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **settings)


def initial(network):
    parameters = dict(network.named_parameters())
    # With enough numbers for their spread to be known.
    large = [key for key, value in parameters.items() if value.numel() >= 1000 or value.dim() == 1]
    for key in spread(large, 14):
        value = parameters[key].detach().double()
        yield key, torch.stack([value.mean(), value.std(correction=0), value.min(), value.max()])


def fill(network):
    """Weights by formula, and nothing dropped by chance."""
    # Only numbers above six tell a ReLU6 from a ReLU.
    norms = 1.7 if isinstance(network, torchvision.models.MobileNetV2) else 1.0
    for key, value in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value.copy_(parameter(key, tuple(value.shape), norms))
    for module in network.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0


def batch():
    return torch.from_numpy(uniform("input", IMAGES).astype(np.float32).astype(np.float64))


def trained(network, images):
    """Training mode, and the loss before and after a step of gradient descent."""
    network.train()
    logits = network(images)
    yield "train/logits", logits.detach()
    buffers = dict(network.named_buffers())
    running = [key for key in buffers if "running" in key]
    for key in spread(running, 4) if running else []:
        yield f"train/buffers/{key}", sample(buffers[key].clone())
    loss = torch.nn.functional.cross_entropy(logits, LABELS)
    loss.backward()
    parameters = dict(network.named_parameters())
    for key in spread(parameters, 10):
        yield f"train/gradients/{key}", sample(parameters[key].grad)
    with torch.no_grad():
        for value in parameters.values():
            value -= LEARNING_RATE * value.grad
        after = torch.nn.functional.cross_entropy(network(images), LABELS)
    yield "train/losses", torch.stack([loss.detach(), after])


def goldens(name, stages):
    network = build(name)
    for key, value in initial(network):
        yield f"init/{key}", value
    network.double()
    fill(network)
    images = batch()

    network.eval()
    outputs = {}
    hooks = []
    for key, module in network.named_modules():
        if re.fullmatch(stages, key):

            def record(_, inputs, output, key=key):
                # A dense layer is given a list and puts out what is new; a stage hands on all of it.
                if isinstance(inputs[0], list):
                    output = torch.cat([*inputs[0], output], 1)
                outputs[key] = sample(output)

            hooks.append(module.register_forward_hook(record))
    with torch.no_grad():
        logits = network(images)
    for hook in hooks:
        hook.remove()
    for key, value in outputs.items():
        assert 1e-3 < value[1] < 1e3, (name, key, value[:3])
        yield f"stages/{key}", value
    yield "logits", logits

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images[:1])
    published, _ = WIDTHS.get(name, (name, {}))
    weights = torchvision.models.get_model_weights(published)["IMAGENET1K_V1"]
    yield "facts", torch.tensor(
        [
            sum(parameter.numel() for parameter in network.parameters()),
            counter.get_total_flops() // 2,
            weights.meta["min_size"][0],
            weights.transforms().crop_size[0],
        ],
        dtype=torch.float64,
    )

    yield from trained(network, images)


def chances():
    for _, names in FAMILIES.values():
        # RegNet counts with tensors while it is built, and drops nothing; a width changes no probability.
        for name in set(names) - {"regnet_y_400mf"} - WIDTHS.keys():
            with torch.device("meta"):
                network = build(name, init_weights=False)
            for key, module in network.named_modules():
                if isinstance(module, torch.nn.Dropout):
                    yield f"{name}/dropout/{key}", torch.tensor([module.p], dtype=torch.float64)
                if isinstance(module, torchvision.ops.StochasticDepth):
                    block = key.removesuffix(".stochastic_depth")
                    # It stands in every block of EfficientNet, but is used in those with a shortcut.
                    if getattr(network.get_submodule(block), "use_res_connect", True):
                        yield f"{name}/stochastic_depth/{block}", torch.tensor([module.p], dtype=torch.float64)


def save(name, tensors):
    path = HERE / "torchvision" / f"{name}.safetensors"
    save_file(tensors, path, VERSIONS)
    path.chmod(0o644)
    assert path.stat().st_size < 300_000, path


if __name__ == "__main__":
    for family in sys.argv[1:] or [*FAMILIES, "chances"]:
        if family == "chances":
            save("chances", dict(chances()))
            continue
        stages, names = FAMILIES[family]
        tensors = {}
        for name in names:
            for key, value in goldens(name, stages):
                tensors[f"{name}/{key}"] = value.contiguous()
            losses = tensors[f"{name}/train/losses"].tolist()
            rms = [float(value[1]) for key, value in tensors.items() if key.startswith(f"{name}/stages/")]
            print(name, "losses", losses, "rms", min(rms), max(rms), flush=True)
        save(family, tensors)
