"""Writes the resnet*_3d.safetensors and basic_unet_*.safetensors files here: what MONAI's 3-D ResNets and BasicUNets make of weights
and inputs from formula.py.

Ran with monai 1.6.1, torch 2.11.0, safetensors 0.8.0, numpy 2.4.6. `python make_monai.py` writes
all, `python make_monai.py resnet10_3d` one.

MONAI runs in double precision here, on weights and inputs rounded to single. The files hold what
those of make_keras.py do. The loss of a BasicUNet is the mean over pixels; its gradients in evaluation mode are
those of the logits of a class for each sample, summed over a region, and torch's at every stage's output, which its
hooks would see: through the next block and past it.
"""

import sys
from pathlib import Path

import monai
import numpy as np
import torch
from monai.networks import nets
from safetensors.numpy import save_file

from formula import CLASSES, LEARNING_RATE, images, labels, numbers, parameter, rms

HERE = Path(__file__).parent
VERSIONS = {"monai": monai.__version__, "torch": torch.__version__.split("+")[0]}
assert VERSIONS == {"monai": "1.6.1", "torch": "2.11.0"}, VERSIONS


def resnet(depth, blocks):
    build = getattr(nets, f"resnet{depth}")
    stages = ["conv1", "bn1", "act", "maxpool"]
    stages += [f"layer{layer + 1}.{block}" for layer, count in enumerate(blocks) for block in range(count)]
    return lambda: build(spatial_dims=3, n_input_channels=1, num_classes=CLASSES), [*stages, "avgpool", "fc"], 1


DOWN = [f"down_{level}" for level in (1, 2, 3, 4)]
UP = [f"upcat_{level}" for level in (4, 3, 2, 1)]
UNET = ["conv_0", *DOWN, *UP, "final_conv"]


def unet(dimensions, channels, **settings):
    def build():
        return nets.BasicUNet(spatial_dims=dimensions, in_channels=channels, out_channels=CLASSES, **settings)

    return build, UNET, channels


# Network, gain, sizes in evaluation mode, size in training mode.
VOLUMES = [(16, 12, 20), (19, 17, 13)], (16, 20, 16)
PICTURES = [(32, 48), (53, 39)], (32, 64)
NETWORKS = {
    "resnet10_3d": (resnet(10, [1, 1, 1, 1]), 0.7, *VOLUMES),
    "resnet18_3d": (resnet(18, [2, 2, 2, 2]), 0.7, *VOLUMES),
    "resnet34_3d": (resnet(34, [3, 4, 6, 3]), 0.7, *VOLUMES),
    "resnet50_3d": (resnet(50, [3, 4, 6, 3]), 0.7, *VOLUMES),
    "basic_unet_2d": (unet(2, 3), 1.0, *PICTURES),
    # Odd ones too, which the way up halves.
    "basic_unet_2d_features": (unet(2, 3, features=(6, 9, 13, 20, 31, 10)), 1.0, *PICTURES),
    "basic_unet_2d_batch_norm": (unet(2, 3, norm="batch"), 1.0, *PICTURES),
    "basic_unet_3d": (unet(3, 1), 1.0, [(32, 32, 48), (37, 35, 33)], (32, 32, 32)),
}

# Where gradients are taken in evaluation mode: the first of the sizes, and the stages. Volumes take long in double
# precision, so there one size and a block on the way down, the lowest and one on the way up will do.
GRADIENTS = {"basic_unet_2d": (0, UNET), "basic_unet_3d": (1, ["down_1", "down_4", "upcat_3"])}


def fill(network, gain):
    for key, tensor in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(parameter(key, tuple(tensor.shape), gain)))


def region(size):
    """Every third place, along diagonals."""
    places = np.indices(size)
    return torch.from_numpy((places[0] + 2 * places[1]) % 3 == 0)


def gradients(network, stages, inputs):
    """Of the logits of a sample's class in the region, by each stage's output."""
    outputs = {}

    def keep(stage):
        def hook(_, __, output):
            output.retain_grad()
            outputs[stage] = output

        return hook

    hooks = [network.get_submodule(stage).register_forward_hook(keep(stage)) for stage in stages]
    logits = network(inputs)
    for hook in hooks:
        hook.remove()
    chosen = logits[torch.arange(len(inputs)), torch.from_numpy(labels(len(inputs)))]
    (chosen * region(inputs.shape[2:])).sum().backward()
    return {stage: output.grad.numpy() for stage, output in outputs.items()}


def batch(channels, count, size):
    return torch.from_numpy(images((count, channels, *size))).double()


def spelled(size):
    return "x".join(map(str, size))


def trained(name, kind, nudges):
    """Training mode, and the loss before and after a step of gradient descent, in numbers of this kind: once for each
    function of `nudges`, which is applied to the weights and the images."""
    (build, stages, channels), gain, _, training = NETWORKS[name]

    def loss(logits):
        # The class goes with the sample: for a map, the same in every pixel.
        targets = torch.from_numpy(labels(4)).view(4, *[1] * (logits.ndim - 2))
        return torch.nn.functional.cross_entropy(logits, targets.expand(4, *logits.shape[2:]))

    for nudge in nudges:
        network = build().to(kind)
        fill(network, gain)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(nudge(tensor.numpy())))
        network.train()
        inputs = torch.from_numpy(nudge(batch(channels, 4, training).numpy())).to(kind)
        found = {}
        logits = network(inputs)
        before = loss(logits)
        before.backward()
        found[f"train.{spelled(training)}.logits"] = (
            logits.detach().numpy() if logits.ndim == 2 else numbers("logits", logits.detach().numpy())
        )
        parameters = dict(network.named_parameters())
        keys = sorted(parameters)
        found["train.gradients"] = np.array([rms(parameters[key].grad.numpy()) for key in keys])
        head = stages[-1]
        for key in {*keys[:: len(keys) // 8], f"{head}.weight", f"{head}.bias"}:
            found[f"train.gradient.{key}"] = numbers(key, parameters[key].grad.numpy())
        running = {key: tensor for key, tensor in network.named_buffers() if ".running_" in key}
        if running:
            found["train.running"] = np.array([rms(running[key].numpy()) for key in sorted(running)])
        with torch.no_grad():
            for parameter_ in parameters.values():
                parameter_ -= LEARNING_RATE * parameter_.grad
            found["train.loss"] = np.array([float(before.detach()), float(loss(network(inputs)))])
        yield found


def write(name):
    (build, stages, channels), gain, sizes, _ = NETWORKS[name]
    network = build().double()
    found = {"gain": np.array([gain])}

    fill(network, gain)
    network.eval()
    for size in sizes:
        outputs = {}
        def keep(stage):
            # The activation module runs in every block too; its first call is the stage's. Activations work in
            # place, so the outputs are copied at once. A hook that returned the copy would replace the output.
            def hook(_, __, output):
                if stage not in outputs:
                    outputs[stage] = output.detach().clone()

            return hook

        hooks = [network.get_submodule(stage).register_forward_hook(keep(stage)) for stage in stages]
        with torch.no_grad():
            network(batch(channels, 2, size))
        for hook in hooks:
            hook.remove()
        print(f"{name} {spelled(size)}, root mean square of each stage:")
        for stage in stages:
            key = f"{spelled(size)}.stage.{stage}"
            found[key] = numbers(stage, outputs[stage].numpy())
            print(f"    {stage} {tuple(outputs[stage].shape[1:])} {found[key][1]:.3g}")
        first, looked_into = GRADIENTS.get(name, (0, []))
        if looked_into and size in sizes[first:]:
            for stage, gradient in gradients(network, looked_into, batch(channels, 2, size)).items():
                found[f"{spelled(size)}.gradient.{stage}"] = numbers(stage, gradient)
            network.zero_grad()

    found |= next(trained(name, torch.float64, [lambda values: values]))
    print(f"    loss {found['train.loss']}, gradients {found['train.gradients'].min():.2g} to {found['train.gradients'].max():.2g}")

    path = HERE / f"{name}.safetensors"
    save_file({key: np.ascontiguousarray(array, np.float64) for key, array in found.items()}, path, VERSIONS)
    path.chmod(0o644)
    assert path.stat().st_size < 300_000, path


if __name__ == "__main__":
    for name in sys.argv[1:] or NETWORKS:
        write(name)
