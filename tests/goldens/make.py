"""Writes the .safetensors files here: logits of torchvision's networks and heatmaps that
pytorch-grad-cam makes of them.

Ran with torch 2.11.0, torchvision 0.26.0, grad-cam 1.5.7 (pytorch-grad-cam), numpy 2.4.6,
safetensors 0.8.0. `python make.py [weights]`, where `weights` is the folder that holds
squeezenet1_0-imagenet.safetensors; without it that network's golden is left as it is.

Weights and inputs follow a formula, so that they need not be stored; formula.rs has it too.
Maps are stored as 16-bit integers, round(65535 value) - 32768, an error below 1e-5.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
VERSIONS = {
    "torch": torch.__version__.split("+")[0],
    "torchvision": torchvision.__version__.split("+")[0],
    "grad-cam": version("grad-cam"),
}
assert VERSIONS == {"torch": "2.11.0", "torchvision": "0.26.0", "grad-cam": "1.5.7"}, VERSIONS


def uniform(name, shape):
    """Numbers in [-1, 1) from a name: splitmix64 of the name's fnv1a64 hash plus the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    z = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed)
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1).reshape(shape)


def parameter(name, shape):
    u = uniform(name, shape)
    if len(shape) >= 2:
        u *= np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith(("weight", "running_var")):
        u = 1 + 0.2 * u
    else:
        u *= 0.1
    return torch.from_numpy(u.astype(np.float32))


def trained(folder):
    """SqueezeNet with the weights trained on ImageNet, and two images for it."""
    network = torchvision.models.squeezenet1_0(weights=None)
    network.load_state_dict(load_file(Path(folder) / "squeezenet1_0-imagenet.safetensors"))
    images = torch.from_numpy(((uniform("input", (2, 3, 224, 224)) + 1) / 2).astype(np.float32))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return network.eval(), (images - mean) / std


def write(name, network, images, layers, second_class):
    """Sample 0 is explained for its largest logit, sample 1 for `second_class`."""
    network.eval()
    with torch.no_grad():
        logits = network(images)
    top = logits[0].topk(2).values
    assert top[0] - top[1] > 1e-3 * logits.abs().max(), "the largest logit is not clear"
    targets = [int(logits[0].argmax()), second_class]
    tensors = {"logits": logits, "targets": torch.tensor(targets)}
    for layer in layers:
        with GradCAM(network, [network.get_submodule(layer)]) as cam:
            maps = cam(images, [ClassifierOutputTarget(target) for target in targets])
        assert (maps.max(axis=(1, 2)) > 0.999).all(), f"{name} {layer}: a map is empty, take another class"
        tensors[f"maps.{layer}"] = torch.from_numpy(np.round(maps * 65535.0) - 32768).to(torch.int16)
    path = HERE / f"{name}.safetensors"
    save_file(tensors, path, VERSIONS)
    path.chmod(0o644)
    assert path.stat().st_size < 300_000, path


NETWORKS = {
    "squeezenet1_0": (torchvision.models.squeezenet1_0, ["features.7", "features.12", "classifier.2"]),
    "resnet18": (torchvision.models.resnet18, ["layer2.1", "layer4.1"]),
}


def main():
    for name, (build, layers) in NETWORKS.items():
        network = build(weights=None)
        state = network.state_dict()
        for key, value in state.items():
            if not key.endswith("num_batches_tracked"):
                value.copy_(parameter(key, tuple(value.shape)))
        network.eval()
        for height, width in ((64, 64), (96, 80)):
            images = torch.from_numpy(uniform("input", (2, 3, height, width)).astype(np.float32))
            with torch.no_grad():
                second_class = int(network(images)[1].topk(5).indices[4])
            write(f"{name}-{height}x{width}", network, images, layers, second_class)

    if len(sys.argv) > 1:
        network, images = trained(sys.argv[1])
        write("squeezenet1_0-imagenet-224x224", network, images, ["features.12"], 281)


if __name__ == "__main__":
    main()
