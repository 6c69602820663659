"""Writes squeezenet1_0-imagenet-methods.safetensors here: maps of every method on the trained SqueezeNet, of one image, at
features.12, on the layer's grid of 13 by 13.

Ran with torch 2.11.0, torchvision 0.26.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0 (torch-cam), captum 0.9.0,
scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, safetensors 0.8.0. `python methods.py WEIGHTS`, where WEIGHTS is the folder that holds
squeezenet1_0-imagenet.safetensors.

crates/gradcam-core/tests/goldens/methods.py says what the keys mean and which peer a method's maps come from; its code runs
here too.
"""

import importlib.util
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file, save_file

from make import uniform

HERE = Path(__file__).parent
path = HERE.parents[1] / "crates/gradcam-core/tests/goldens/methods.py"
spec = importlib.util.spec_from_file_location("gradcam_core_methods", path)
methods = importlib.util.module_from_spec(spec)
spec.loader.exec_module(methods)

LAYER = "features.12"

network = torchvision.models.squeezenet1_0(weights=None)
network.load_state_dict(load_file(Path(sys.argv[1]) / "squeezenet1_0-imagenet.safetensors"))
network.eval()

images = torch.from_numpy(((uniform("input", (2, 3, 224, 224)) + 1) / 2).astype("float32"))[:1]
mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
images = (images - mean) / std
with torch.no_grad():
    targets = [int(network(images).argmax())]

out = {"targets": torch.tensor(targets)}
methods.gradient_methods(out, network, LAYER, images, targets)
methods.activation_methods(out, network, LAYER, images, targets)
rest = lambda activations: network.classifier(activations).flatten(1)
methods.perturbation_methods(
    out, network, LAYER, images, targets, rest, groups=32, radius=25, deviation=50.0, variants=False
)
# The head is a convolution of one place, a ReLU and the mean: torch-cam takes the convolution's weights for the linear
# layer's.
out[f"maps.cam.{LAYER}"] = methods.torch_cam(
    methods.torchcam.CAM, network, LAYER, images, targets, "classifier.1"
)
path = HERE / "squeezenet1_0-imagenet-methods.safetensors"
save_file({key: value.contiguous() for key, value in out.items()}, path, methods.VERSIONS)
path.chmod(0o644)
print(path.stat().st_size, sorted(out))
