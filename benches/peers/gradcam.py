"""Heatmaps: this workspace against pytorch-grad-cam, torch-cam and captum. `cargo xtask bench-peers gradcam`.

Both sides have the same architecture, random weights, images of the same shape, and all cores. The peers run as their
documentation shows, on torch 2.11.0, which is the libtorch of this workspace. Ours keep freed memory
(`models::keep_freed_memory`), as every program here that runs networks does; the peers have the allocator as Python starts it.
"""

import os
import statistics
from importlib.metadata import version

# Before the peers come in: their progress bars would run through the table.
os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import torchvision
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import AblationCAM, GradCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam.methods import GradCAM as TorchCam

from interleave import HEADER, Table, median_ms, turn_ms

NAMES = {name: f"{name} {version(name)}" for name in ("grad-cam", "torchcam", "captum")}

table = Table("gradcam", "peers_gradcam")
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {', '.join(NAMES.values())}, "
      f"{torch.get_num_threads()} threads\n\n{HEADER}", flush=True)

# The kernel: weights, weighted sum, ReLU.
for shape in [(32, 2048, 7, 7), (32, 512, 14, 14), (8, 256, 56, 56)]:
    name = "x".join(map(str, shape))
    table.add(f"kernel {name}", f"kernel/{name}", "copying both arrays once", f"copy/{name}", 1.3, rounds=25)
    generator = np.random.default_rng(0)
    activations, gradients = (generator.uniform(-1, 1, shape).astype(np.float32) for _ in range(2))

    def numpy_path():
        # What pytorch-grad-cam's GradCAM does with the arrays of a layer.
        weights = GradCAM.get_cam_weights(None, None, None, None, activations, gradients)
        cam = (weights[:, :, None, None] * activations).sum(axis=1)
        return np.maximum(cam, 0)

    table.add(f"kernel {name}", f"kernel/{name}", f"{NAMES['grad-cam']}, numpy", numpy_path, 0.2, rounds=9)

    def reading(peer):
        times = []
        for _ in range(9):
            turn_ms(numpy_path)
            times.append(1e3 * table.ours(f"read/{name}"))
        return f"Reading both arrays once, in turns with numpy, takes {statistics.median(times) / peer:.2f} of its time."

    table.explain(reading)

# What `optimize_for_inference` makes of the same network. Its heatmaps are checked against those of the network as built.
REBUILT = "rebuilt"

# Grad-CAM end to end.
BATCH = 8
network = torchvision.models.resnet50(weights=None).eval()
images = torch.rand(BATCH, 3, 224, 224)
case = f"Grad-CAM resnet50, batch {BATCH}"
table.add(case, "grad_cam/as_built", "our forward pass alone", "forward", 1.05, rounds=15)

with GradCAM(network, [network.layer4]) as cam:
    targets = [ClassifierOutputTarget(index) for index in range(BATCH)]
    cases = [(case, "grad_cam/as_built", 1 / 3), (f"{case}, {REBUILT}", "grad_cam/rebuilt", 1 / 3)]
    table.compare(cases, NAMES["grad-cam"], lambda: cam(images, targets), rounds=9)
with torch.no_grad():
    forward = median_ms(lambda: network(images))


def one_forward(peer):
    return f"PyTorch's forward pass alone takes {forward / peer:.2f} of the peer's time."


table.explain(one_forward)
for parameter in network.parameters():
    parameter.grad = None

with TorchCam(network, "layer4") as cam:
    def torch_cam():
        scores = network(images)
        maps = cam(list(range(BATCH)), scores)[0]
        return torch.nn.functional.interpolate(maps[:, None], (224, 224), mode="bilinear")

    table.add(case, "grad_cam/as_built", NAMES["torchcam"], torch_cam, 1, rounds=9)
    table.explain(one_forward)

captum = LayerGradCam(network, network.layer4)


def captum_cam():
    maps = captum.attribute(images, torch.arange(BATCH), relu_attributions=True)
    return LayerAttribution.interpolate(maps, (224, 224), "bilinear")


table.add(case, "grad_cam/as_built", NAMES["captum"], captum_cam, 1, rounds=9)
table.explain(one_forward)

table.add(f"all one-pass methods resnet50, batch {BATCH}", "one_pass", "our forward pass alone", "forward", 1.3, rounds=15)

# Perturbation.
network = torchvision.models.resnet18(weights=None).eval()
image = torch.rand(1, 3, 224, 224)
# Both peers run the whole network on a copy for each of the layer's 512 channels.
with torch.no_grad():
    once = median_ms(lambda: network(image))
    all_masks = 512 / 32 * median_ms(lambda: network(image.expand(32, -1, -1, -1)))
case = "Ablation-CAM resnet18, one image"
with AblationCAM(network, [network.layer4]) as cam:
    cam.batch_size = 32
    cases = [
        (case, "ablation_cam/as_built", 1 / 500),
        (f"{case}, {REBUILT}", "ablation_cam/rebuilt", 1 / 500),
        (f"{case}, after the capture", "ablation_cam/as_built_after_capture", 1 / 500),
        (f"{case}, {REBUILT}, after the capture", "ablation_cam/rebuilt_after_capture", 1 / 500),
    ]
    table.compare(cases, NAMES["grad-cam"], lambda: cam(image, [ClassifierOutputTarget(3)]), rounds=3)
table.explain(
    lambda peer: f"One forward pass in PyTorch, which all but the rows after the capture begin with, takes {once / peer:.2g} "
    "of the peer's time."
)

case = "Score-CAM resnet18, one image"
with ScoreCAM(network, [network.layer4]) as cam:
    cam.batch_size = 32
    cases = [
        (case, "score_cam/as_built", 1 / 5),
        (f"{case}, {REBUILT}", "score_cam/rebuilt", 1 / 5),
    ]
    if table.ours("has_bf16") > 0:
        cases.append((f"{case}, {REBUILT} in bf16", "score_cam/rebuilt_bf16", 1 / 5))
    table.compare(cases, NAMES["grad-cam"], lambda: cam(image, [ClassifierOutputTarget(3)]), rounds=3)
table.explain(
    lambda peer: f"512 masked forward passes, which define the method, take PyTorch's network as built {all_masks / peer:.2f} "
    "of the peer's time."
)

table.write()
