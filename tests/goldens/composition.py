"""Writes squeezenet1_0-imagenet-composition.safetensors here: what is built on maps, gradients and activations of the trained
SqueezeNet, of two images, at features.7 and features.12; of what has the image's size, every seventh place along each axis.

Ran with torch 2.11.0, torchvision 0.26.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0 (torch-cam), captum 0.9.0,
scikit-learn 1.9.1, ttach 0.0.3, numpy 2.4.6, safetensors 0.8.0. `python composition.py WEIGHTS`, where WEIGHTS is the folder that
holds squeezenet1_0-imagenet.safetensors.

crates/gradcam-core/tests/goldens/composition.py says what the keys mean and what comes from which peer; its code runs here too.
Gradients by the input are in double precision: in single, a value near zero passes a ReLU here and not there. Those without
`every_relu` guide the ReLUs that stand between the Fire modules and not those inside.
"""

import copy
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from make import trained

HERE = Path(__file__).parent
# There is a composition.py, a methods.py and a make.py in either folder.
sys.path.insert(0, str(HERE.parents[1] / "crates/gradcam-core/tests/goldens"))
import composition

LAYERS = ["features.7", "features.12"]


class Unseen(nn.Module):
    """A ReLU that captum and pytorch-grad-cam do not find."""

    def forward(self, x):
        return x.relu()


network, images = trained(sys.argv[1])
for module in network.modules():
    if isinstance(module, nn.ReLU):
        module.inplace = False
with torch.no_grad():
    targets = [int(network(images)[0].argmax()), 281]

out = {}
for layer in LAYERS:
    composition.eigen_smoothing(out, network, layer, images, targets)
sized = {}
composition.fusion(sized, network, LAYERS, images, targets)
composition.augmentation(sized, network, LAYERS[1], images, targets, any_size=True)
composition.factorisation(out, LAYERS[1], composition.methods.At(network, LAYERS[1], images, targets).a, starts=4)

double = copy.deepcopy(network).double()
composition.guided(sized, double, LAYERS, images.double(), targets, "every_relu.")
for module in double.modules():
    for part in ("squeeze_activation", "expand1x1_activation", "expand3x3_activation"):
        if hasattr(module, part):
            setattr(module, part, Unseen())
composition.guided(sized, double, LAYERS, images.double(), targets)

out |= {key: value.detach()[..., 3::7, 3::7].float() for key, value in sized.items()}
out["targets"] = torch.tensor(targets)
path = HERE / "squeezenet1_0-imagenet-composition.safetensors"
save_file({key: value.contiguous() for key, value in out.items()}, path, composition.VERSIONS)
path.chmod(0o644)
assert path.stat().st_size < 300_000, path.stat().st_size
print(path.stat().st_size, {key: tuple(value.shape) for key, value in out.items()})
