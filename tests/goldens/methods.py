"""Writes squeezenet1_0-imagenet-methods.safetensors here: maps of every method on the trained SqueezeNet, of one image, at
features.12, on the layer's grid of 13 by 13; of RISE, occlusion sensitivity and FullGrad, which look at no layer, every
seventh place along each axis of maps of the image's size.

Ran with torch 2.11.0, torchvision 0.26.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0 (torch-cam), captum 0.9.0,
scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6, safetensors 0.8.0. `python methods.py WEIGHTS`, where WEIGHTS is the folder that holds
squeezenet1_0-imagenet.safetensors.

crates/gradcam-core/tests/goldens/methods.py says what the keys mean and which peer a method's maps come from; its code runs
here too. Random masks and noise come from the formula in make.py, by the names that stand here, so that none need be stored.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from torch import nn
from safetensors.torch import save_file

from make import trained, uniform

HERE = Path(__file__).parent
path = HERE.parents[1] / "crates/gradcam-core/tests/goldens/methods.py"
spec = importlib.util.spec_from_file_location("gradcam_core_methods", path)
methods = importlib.util.module_from_spec(spec)
spec.loader.exec_module(methods)

LAYER = "features.12"

network, images = trained(sys.argv[1])
images = images[:1]
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

# Smooth Grad-CAM++ with noise from the formula.
by_formula = lambda name, *shape: torch.from_numpy(uniform(name, shape).astype("float32"))
noisy = {"noise.smooth_grad_cam_plus_plus": 0.3 * by_formula("smooth_grad_cam_plus_plus", 3, 1, 3, 224, 224)}
methods.gradient_methods(noisy, network, LAYER, images, targets)
out[f"maps.smooth_grad_cam_plus_plus.{LAYER}"] = noisy[f"maps.smooth_grad_cam_plus_plus.{LAYER}"]

# IS-CAM and SS-CAM of the 16 channels that vary most; torch-cam, which the small networks are compared with, takes all of
# them, a thousand forward passes. The strengths of IS-CAM are those of torch-cam: the sums of the steps so far. SS-CAM's noise
# is the same for every channel.
at = methods.At(network, LAYER, images, targets)
chosen = at.a[0].flatten(1).var(1, correction=0).argsort(descending=True, stable=True)[:16].sort().values
masks = methods.upsampled(at.a[:, chosen], images.shape[2:])[0, :, None]
low, high = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
masks = (masks - low) / (high - low)
for name, series in (
    ("is_cam", [masks * strength for strength in (1 / 2, 1 / 2 + 2 / 2)]),
    ("ss_cam", [masks + 2 * noise for noise in by_formula("ss_cam", 2, 1, 224, 224).double()]),
):
    with torch.no_grad():
        scores = torch.stack([network((images * some).float())[:, targets[0]].double() for some in series])
    out[f"maps.{name}.{LAYER}"] = methods.normalised(methods.per_channel(scores.mean(0).softmax(0)[None], at.a[:, chosen]))

# Those of the image's size.
every = {"masks.rise": methods.upsampled((by_formula("rise", 16, 1, 7, 7) < 0).float(), images.shape[2:])[:, 0]}
methods.image_methods(every, network, images, targets, window=(56, 56), step=(42, 42))

# Srinivas & Fleuret for stages as coarse as ours, Fire modules as a whole: a stage's implicit bias is what it puts out less
# what its derivative makes of its input. All channels of a stage are rescaled together, as in the authors' code.
for module in network.modules():
    if isinstance(module, nn.ReLU):
        module.inplace = False
stages = [*network.features, *network.classifier]
network.double()
node = images.double().requires_grad_()
x, outputs, biases = node, [], []
for stage in stages:
    linear = torch.func.jvp(stage, (x.detach(),), (x.detach(),))[1]
    x = stage(x)
    outputs.append(x)
    biases.append((x - linear).detach())
    if isinstance(stage, (nn.ReLU, nn.MaxPool2d, nn.Dropout, nn.AdaptiveAvgPool2d)):
        methods.same(biases[-1], 0, 1e-9)
at_input, *gradients = torch.autograd.grad(x.flatten(1)[0, targets[0]], [node, *outputs])
full_grad = 0
for term in [at_input * node.detach(), *(gradient * bias for gradient, bias in zip(gradients, biases))]:
    term = term.abs()
    term = term - term.amin()
    if term.shape[2:] != (1, 1) and term.max() > 1e-9:
        full_grad = full_grad + methods.upsampled(term / term.max(), images.shape[2:]).sum(1)
every["graded.full_grad"] = methods.stretched(full_grad)
out |= {key: maps[..., 3::7, 3::7] for key, maps in every.items() if key.startswith("graded")}

path = HERE / "squeezenet1_0-imagenet-methods.safetensors"
save_file({key: value.contiguous() for key, value in out.items()}, path, methods.VERSIONS)
path.chmod(0o644)
print(path.stat().st_size, sorted(out))
