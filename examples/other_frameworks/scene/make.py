"""Writes scene.safetensors and network.onnx here: a trained network, two images, and what captum makes of them.

Ran with torch 2.11.0, captum 0.9.0, onnx 1.23.2, safetensors 0.8.0, numpy 2.4.6. `python make.py`.

The network tells a bright disk (class 0) from a dark one (class 1) and from none (class 2) in grey images; it is trained here,
in a few seconds, with a fixed seed. Each of the two test images holds a bright disk and a dark one, the first is explained for
class 0 and the second for class 1, in one batch. The maps are captum's LayerGradCam at relu1, whose gradients differ from
place to place, and at relu2, after which there are a mean over space and a linear layer; and Eigen-CAM at relu2 by numpy's
singular value decomposition, with the sign of the plain sum of the channels.

network.onnx is the same network with relu2 as a second output. torch's exporter is not asked, so that the file does not depend
on its version; the lines at `outputs` are all that an ONNX model at hand needs to give out a layer.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from captum.attr import LayerAttribution, LayerGradCam
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

for package, expected in {"torch": "2.11.0", "captum": "0.9.0", "onnx": "1.23.2"}.items():
    assert version(package).split("+")[0] == expected, (package, version(package))

HERE = Path(__file__).parent
SIDE = 64
torch.manual_seed(0)
torch.set_num_threads(1)
rng = np.random.default_rng(0)


def image(*disks):
    """Grey 0.5 with noise; a disk is its row, its column and its brightness."""
    y, x = np.mgrid[:SIDE, :SIDE]
    values = 0.5 + 0.02 * rng.standard_normal((SIDE, SIDE))
    for row, column, brightness in disks:
        values[np.hypot(y - row, x - column) < 9] += brightness
    return torch.tensor(values, dtype=torch.float32)[None]


def sample():
    label = int(rng.integers(3))
    row, column = rng.uniform(10, SIDE - 10, 2)
    return image(*[(row, column, [0.4, -0.4][label])] if label < 2 else []), label


net = nn.Sequential()
net.add_module("conv1", nn.Conv2d(1, 6, 3, stride=2, padding=1))
net.add_module("relu1", nn.ReLU())
net.add_module("conv2", nn.Conv2d(6, 8, 3, stride=2, padding=1))
net.add_module("relu2", nn.ReLU())
net.add_module("pool", nn.AdaptiveAvgPool2d(1))
net.add_module("flatten", nn.Flatten())
net.add_module("head", nn.Linear(8, 3))

optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(1500):
    batch, labels = zip(*[sample() for _ in range(32)])
    labels = torch.tensor(labels)
    logits = net(torch.stack(batch))
    loss = nn.functional.cross_entropy(logits, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print(f"loss {loss.item():.4f}, accuracy {(logits.argmax(1) == labels).float().mean().item():.2f} on the last batch")
net.eval()

# The centres stand in src/lib.rs too.
images = torch.stack([image((18, 44, 0.4), (46, 18, -0.4)), image((20, 16, 0.4), (44, 46, -0.4))])
classes = torch.tensor([0, 1])
tensors = {"images": images}
tensors |= {f"network.{name}": value.detach() for name, value in net.named_parameters()}


def heatmaps(maps):
    """Maps [N, 1, h, w] upsampled, each brought to 0..1."""
    large = LayerAttribution.interpolate(maps, (SIDE, SIDE), "bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return ((large - low) / (high - low)).detach()[:, 0]


for name in ["relu1", "relu2"]:
    layer = getattr(net, name)
    maps = LayerGradCam(net, layer).attribute(images, target=classes, relu_attributions=True)
    tensors[f"{name}.grad_cam"] = heatmaps(maps)
    print(name, "hottest at", [divmod(int(heat.argmax()), SIDE) for heat in tensors[f"{name}.grad_cam"]])

activations = net[:4](images).detach().double().numpy()
components = []
for sample in activations.reshape(2, 8, -1):
    left, _, _ = np.linalg.svd(sample - sample.mean(1, keepdims=True), full_matrices=False)
    component = left[:, 0] @ (sample - sample.mean(1, keepdims=True))
    components.append(component * np.sign(component @ sample.sum(0)))
maps = np.maximum(components, 0).reshape(2, 1, SIDE // 4, SIDE // 4)
tensors["relu2.eigen_cam"] = heatmaps(torch.from_numpy(maps).float())

save_file({name: value.contiguous() for name, value in tensors.items()}, HERE / "scene.safetensors")

conv = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
nodes = [
    helper.make_node("Conv", ["images", "conv1.weight", "conv1.bias"], ["conv1"], **conv),
    helper.make_node("Relu", ["conv1"], ["relu1"]),
    helper.make_node("Conv", ["relu1", "conv2.weight", "conv2.bias"], ["conv2"], **conv),
    helper.make_node("Relu", ["conv2"], ["relu2"]),
    helper.make_node("GlobalAveragePool", ["relu2"], ["pool"]),
    helper.make_node("Flatten", ["pool"], ["flatten"]),
    helper.make_node("Gemm", ["flatten", "head.weight", "head.bias"], ["logits"], transB=1),
]
model = helper.make_model(
    helper.make_graph(
        nodes,
        "disks",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value.detach().numpy(), name) for name, value in net.named_parameters()],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
# A layer becomes an output by its name.
outputs = model.graph.output
outputs.append(helper.make_tensor_value_info("relu2", TensorProto.FLOAT, ["N", 8, SIDE // 4, SIDE // 4]))
onnx.checker.check_model(model, full_check=True)
onnx.save(model, HERE / "network.onnx")
