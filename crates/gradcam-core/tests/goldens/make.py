"""Writes grad_cam_two_layers.safetensors here.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), safetensors 0.8.0, numpy 2.4.6.

A small net with random weights, three images with a target each, and the maps that
pytorch-grad-cam makes of them at the input's size at both layers.
"""

from importlib.metadata import version
from pathlib import Path

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file
from torch import nn

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert version("grad-cam") == "1.5.7", version("grad-cam")

torch.manual_seed(0)
net = nn.Sequential()
net.add_module("conv1", nn.Conv2d(3, 6, 3, padding=1))
net.add_module("relu1", nn.ReLU())
net.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2))
net.add_module("relu2", nn.ReLU())
net.add_module("pool", nn.AdaptiveAvgPool2d(1))
net.add_module("flatten", nn.Flatten())
net.add_module("fc", nn.Linear(8, 4))
net.eval()

images = torch.randn(3, 3, 12, 17)
targets = [2, 0, 3]
tensors = {name: tensor.detach() for name, tensor in net.state_dict().items()}
tensors["images"] = images
tensors["targets"] = torch.tensor(targets)
tensors["logits"] = net(images).detach()
for layer in ("relu1", "relu2"):
    with GradCAM(net, [getattr(net, layer)]) as cam:
        maps = cam(images, [ClassifierOutputTarget(target) for target in targets])
    assert (maps.max(axis=(1, 2)) > 0.999).all(), "a map is empty; choose other targets"
    tensors[f"maps.{layer}"] = torch.from_numpy(maps)
save_file(tensors, Path(__file__).parent / "grad_cam_two_layers.safetensors")
