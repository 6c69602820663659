"""Writes full_grad.safetensors here: FullGrad on the networks of methods.py, with the weights, images and targets that
its files hold.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), safetensors 0.8.0. `python full_grad.py`

Keys:
  channel.NETWORK, stage.NETWORK   the paper's formula, each channel rescaled by itself or all of a layer together, as it adds up

The biases are those that the parameters hold, of convolutions and batch norms. pytorch-grad-cam adds 1e-7 to each channel's
range, which counts where gradients are small; with that the formula gives its maps. It cannot do volumes.
"""

from pathlib import Path

import pytorch_grad_cam as pgc
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file
from torch import nn

import methods

HERE = Path(__file__).parent


def rescaled(values, whole_layer, epsilon):
    """Absolute values of [C, space], their smallest taken to 0 and their largest to 1."""
    values = values.abs()
    axes = tuple(range(0 if whole_layer else 1, values.ndim))
    values = values - values.amin(axes, keepdim=True)
    most = values.amax(axes, keepdim=True)
    return torch.where(most > 0, values / (most + epsilon), 0)


def formula(net, images, targets, whole_layer, epsilon=0):
    net = net.double()
    images = images.double().requires_grad_()
    outputs = []

    def keep(module, _inputs, output):
        if isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.bias is not None:
            outputs.append((output, module.bias))
        elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            scale = module.weight / (module.running_var + module.eps).sqrt()
            outputs.append((output, module.bias - module.running_mean * scale))

    hooks = [module.register_forward_hook(keep) for module in net.modules()]
    score = net(images).gather(1, torch.tensor(targets)[:, None]).sum()
    for hook in hooks:
        hook.remove()
    at_input, *gradients = torch.autograd.grad(score, [images, *(output for output, _ in outputs)])
    terms = [at_input * images]
    terms += [gradient * bias.view(1, -1, *[1] * (images.ndim - 2)) for gradient, (_, bias) in zip(gradients, outputs)]
    maps = 0
    for term in terms:
        layer = torch.stack([rescaled(sample, whole_layer, epsilon) for sample in term])
        maps = maps + methods.upsampled(layer, images.shape[2:]).sum(1)
    return maps.detach().float()


out = {}
for build in (methods.plain, methods.branched, methods.volumes):
    net, images, targets = methods.load(build)
    if build is not methods.volumes:
        with pgc.FullGrad(net, []) as cam:
            theirs = torch.from_numpy(cam(images, [ClassifierOutputTarget(target) for target in targets]))
        methods.same(methods.stretched(formula(net, images, targets, False, 1e-7)), theirs, 1e-5)
        net.float()
    for name, whole_layer in (("channel", False), ("stage", True)):
        out[f"{name}.{build.__name__}"] = formula(net, images, targets, whole_layer)
save_file(out, HERE / "full_grad.safetensors", methods.VERSIONS)
print({key: tuple(value.shape) for key, value in out.items()})
