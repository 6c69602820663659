"""Writes composition.safetensors here: what is built on maps, gradients and activations.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0, captum 0.9.0,
scikit-learn 1.9.1, safetensors 0.8.0, numpy 2.4.6.

The net, the images and the targets are those of grad_cam_two_layers.safetensors (make.py):

- fusion.mean: pytorch-grad-cam's Grad-CAM with both layers, which are each brought to 0..1, resized
  and averaged, and the mean brought to 0..1 again;
- fusion.deep, fusion.shallow, fusion.scaled: maps of two grids and what torch-cam's LayerCAM fuses
  them to. It takes tanh(2 m) of what it is given and the maximum; the paper's formula divides each map
  by its maximum first (its equation 9), so that is done here;
- augmented.relu2: pytorch-grad-cam's aug_smooth;
- saliency, guided_backpropagation, guided_grad_cam.relu2: captum, upsampling bilinearly, since its
  default is nearest;
- factors.<k>.error: the best of 20 random starts of scikit-learn's NMF on relu2's activations, as
  |A - H W| / |A|; factors.shifted.<k>.error: on conv2's, each channel's smallest value taken off, as
  pytorch-grad-cam's deep feature factorisation does (it stops at scikit-learn's 200 iterations).
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from captum.attr import GuidedBackprop, GuidedGradCam, Saliency
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import load_file, save_file
from sklearn.decomposition import NMF
from torch import nn
from torchcam.methods import LayerCAM

HERE = Path(__file__).parent
for package, wanted in {
    "torch": "2.11.0", "grad-cam": "1.5.7", "torchcam": "0.5.0", "captum": "0.9.0", "scikit-learn": "1.9.1",
}.items():
    assert version(package).split("+")[0] == wanted, (package, version(package))

golden = load_file(HERE / "grad_cam_two_layers.safetensors")
net = nn.Sequential()
net.add_module("conv1", nn.Conv2d(3, 6, 3, padding=1))
net.add_module("relu1", nn.ReLU())
net.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2))
net.add_module("relu2", nn.ReLU())
net.add_module("pool", nn.AdaptiveAvgPool2d(1))
net.add_module("flatten", nn.Flatten())
net.add_module("fc", nn.Linear(8, 4))
net.load_state_dict({name: golden[name] for name in net.state_dict()})
net.eval()
images, targets = golden["images"], golden["targets"].tolist()
outputs = [ClassifierOutputTarget(target) for target in targets]
tensors = {}

with GradCAM(net, [net.relu1, net.relu2]) as cam:
    tensors["fusion.mean"] = torch.from_numpy(cam(images, outputs))
with GradCAM(net, [net.relu2]) as cam:
    tensors["augmented.relu2"] = torch.from_numpy(cam(images, outputs, aug_smooth=True))

torch.manual_seed(1)
deep, shallow = torch.randn(3, 3, 4), 1e-3 * torch.randn(3, 6, 8)
scaled = [maps.clamp(min=0) / maps.amax(dim=(1, 2), keepdim=True) for maps in (deep, shallow)]
tensors["fusion.deep"], tensors["fusion.shallow"] = deep, shallow
tensors["fusion.scaled"] = LayerCAM.fuse_cams(scaled, (12, 17))

tensors["saliency"] = Saliency(net).attribute(images, golden["targets"], abs=False)
tensors["guided_backpropagation"] = GuidedBackprop(net).attribute(images, golden["targets"])
tensors["guided_grad_cam.relu2"] = GuidedGradCam(net, net.relu2).attribute(
    images, golden["targets"], interpolate_mode="bilinear"
)

rectified, signed = (
    net[:stop](images).detach().double().permute(0, 2, 3, 1).reshape(-1, 8).numpy() for stop in (4, 3)
)
for name, matrix in {"factors": rectified, "factors.shifted": signed - signed.min(axis=0)}.items():
    for count in (1, 2, 3, 5):
        errors = []
        for seed in range(20):
            model = NMF(count, init="random", random_state=seed, tol=1e-10, max_iter=20000)
            model.fit(matrix)
            errors.append(model.reconstruction_err_ / np.linalg.norm(matrix))
        print(name, count, min(errors), max(errors))
        tensors[f"{name}.{count}.error"] = torch.tensor([min(errors)])
save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, HERE / "composition.safetensors")
