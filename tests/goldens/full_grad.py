"""Writes squeezenet1_0-imagenet-full-grad.safetensors here: FullGrad on the trained SqueezeNet, of the image of methods.py, with each
channel rescaled by itself; every seventh place along each axis of the map.

Ran with torch 2.11.0, torchvision 0.26.0, numpy 2.4.6, safetensors 0.8.0. `python full_grad.py WEIGHTS`, where WEIGHTS is the folder
that holds squeezenet1_0-imagenet.safetensors.

The formula of Srinivas and Fleuret in double precision, for stages as coarse as ours, Fire modules as a whole: a stage's implicit bias
is what it puts out less what its derivative makes of its input. pytorch-grad-cam rescales channels so too, but looks at each
convolution inside the modules; crates/gradcam-core/tests/goldens/full_grad.py holds that against it.
"""

import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from make import uniform

HERE = Path(__file__).parent


def network(weights):
    net = torchvision.models.squeezenet1_0(weights=None)
    net.load_state_dict(load_file(weights / "squeezenet1_0-imagenet.safetensors"))
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return net.eval()


def image():
    images = torch.from_numpy(((uniform("input", (2, 3, 224, 224)) + 1) / 2).astype("float32"))[:1]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def terms(net, images):
    """What the input and each stage's bias add to the largest logit, [1, C, H, W] each."""
    node = images.clone().requires_grad_()
    x, outputs, biases = node, [], []
    for stage in [*net.features, *net.classifier]:
        linear = torch.func.jvp(stage, (x.detach(),), (x.detach(),))[1]
        x = stage(x)
        bias = (x - linear).detach()
        # Of a stage without a bias rounding leaves a little.
        scale = max(x.detach().abs().max(), linear.abs().max())
        bias[:, bias.abs().amax((0, 2, 3)) <= 1e-12 * scale] = 0
        outputs.append(x)
        biases.append(bias)
    at_input, *gradients = torch.autograd.grad(x.flatten(1).max(), [node, *outputs])
    return [at_input * images, *(gradient * bias for gradient, bias in zip(gradients, biases))]


def channel(parts, size):
    total = 0
    for part in parts:
        part = part.abs()
        least, most = part.amin((2, 3), keepdim=True), part.amax((2, 3), keepdim=True)
        # A channel that is the same everywhere, up to rounding, says nothing about places.
        graded = most - least > 1e-5 * most
        scaled = torch.where(graded, (part - least) / torch.where(graded, most - least, 1), 0)
        if part.shape[2:] != (1, 1):
            total = total + F.interpolate(scaled, size, mode="bilinear", align_corners=False).sum(1)
    return total


def main():
    images = image().double()
    maps = channel(terms(network(Path(sys.argv[1])).double(), images), images.shape[2:])
    heat = (maps - maps.amin()) / (maps.amax() - maps.amin())
    path = HERE / "squeezenet1_0-imagenet-full-grad.safetensors"
    versions = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0]}
    save_file({"graded.full_grad_channel": heat[..., 3::7, 3::7].float().contiguous()}, path, versions)
    path.chmod(0o644)
    print(path.stat().st_size, heat.mean())


if __name__ == "__main__":
    main()
