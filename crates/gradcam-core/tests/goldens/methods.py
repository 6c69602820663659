"""Writes methods_plain, methods_branched and methods_volumes.safetensors here: the maps of every method on three small
networks with random weights, three samples with a target each, at two layers.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0 (torch-cam), captum 0.9.0, scikit-learn 1.9.1,
safetensors 0.8.0, numpy 2.4.6. `python methods.py`

Keys of a file:
  images, targets, logits      what goes in and comes out
  weights.KEY                  the network's state
  maps.METHOD.LAYER            on the layer's grid, negative values cut off, each sample brought to 0..1
  signed.METHOD.LAYER          of methods whose sign is arbitrary in the peers (that of a singular vector): on the layer's
                               grid, divided by each sample's largest absolute value, equal up to the sign
  graded.METHOD[.LAYER]        each sample brought to 0..1, negative values and all; with LAYER on its grid, without (and of
                               Group-CAM) at the image's size
  noise.METHOD[.LAYER], masks.METHOD   what a method that draws at random was given instead

Where a peer has the method its own code ran, with one change: pytorch-grad-cam is kept from resizing, so that the maps
stay on the layer's grid (it resizes volumes with cubic splines, pictures bilinearly). Where no peer has it or all deviate
from the paper, the formula stands here plainly and a comment says why.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytorch_grad_cam as pgc
import torch
import torchcam.methods as torchcam
from captum.attr import LayerGradCam, Occlusion
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection, get_2d_projection_kernel
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
VERSIONS = {
    "torch": torch.__version__.split("+")[0],
    **{name: version(name) for name in ("grad-cam", "torchcam", "captum")},
}
assert VERSIONS == {"torch": "2.11.0", "grad-cam": "1.5.7", "torchcam": "0.5.0", "captum": "0.9.0"}, VERSIONS


# The networks.

class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(inner)))


class Fire(nn.Module):
    def __init__(self, channels, squeezed, expanded):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)


def sequential(**modules):
    net = nn.Sequential()
    for name, module in modules.items():
        net.add_module(name, module)
    return net


def plain():
    """A convolution, batch norm, ReLU and pooling after the other, and a global-average head."""
    return sequential(
        conv1=nn.Conv2d(3, 6, 3, padding=1), bn1=nn.BatchNorm2d(6), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 8, 3, padding=1), bn2=nn.BatchNorm2d(8), relu2=nn.ReLU(),
        conv3=nn.Conv2d(8, 10, 3, stride=2), bn3=nn.BatchNorm2d(10), relu3=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(10, 5),
    )


def branched():
    """A sum and a concatenation of branches, and a head that tells places apart."""
    return sequential(
        conv1=nn.Conv2d(3, 6, 3, stride=2, padding=1), bn1=nn.BatchNorm2d(6), relu1=nn.ReLU(),
        residual=Residual(6), fire=Fire(6, 4, 5), pool=nn.MaxPool2d(2),
        conv2=nn.Conv2d(10, 8, 1), relu2=nn.ReLU(), average=nn.AvgPool2d(2),
        flatten=nn.Flatten(), fc=nn.Linear(32, 5),
    )


def volumes():
    return sequential(
        conv1=nn.Conv3d(2, 4, 3, padding=1), bn1=nn.BatchNorm3d(4), relu1=nn.ReLU(), pool1=nn.MaxPool3d(2),
        conv2=nn.Conv3d(4, 6, 3, padding=1), bn2=nn.BatchNorm3d(6), relu2=nn.ReLU(),
        pool=nn.AdaptiveAvgPool3d(1), flatten=nn.Flatten(), fc=nn.Linear(6, 4),
    )


def randomise(net):
    for key, value in net.state_dict().items():
        if key.endswith("running_var") or ("bn" in key and key.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean") or key.endswith("bias"):
            value.normal_(0, 0.2)
        elif not key.endswith("num_batches_tracked"):
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
    return net.eval()


# What the formulas need.

def normalised(maps):
    """Negative values cut off, each sample brought to 0..1. A map of one value everywhere is none."""
    maps = torch.as_tensor(maps).double().clamp(min=0)
    flat = maps.flatten(1)
    low, high = (bound.view(-1, *[1] * (maps.ndim - 1)) for bound in (flat.amin(1), flat.amax(1)))
    assert (high > low).all(), "a map is empty; take other weights"
    return ((maps - low) / (high - low)).float()


def stretched(maps):
    """Each sample brought to 0..1, negative values and all."""
    maps = torch.as_tensor(maps).double()
    return normalised(maps - maps.flatten(1).amin(1).view(-1, *[1] * (maps.ndim - 1)))


def signed(maps):
    maps = torch.as_tensor(maps).double()
    return (maps / maps.flatten(1).abs().amax(1).view(-1, *[1] * (maps.ndim - 1))).float()


def same(found, expected, tolerance):
    difference = (found - expected).abs().max().item()
    assert difference < tolerance, difference


def per_channel(weights, activations):
    """The sum over channels of weights [N, C] times activations."""
    return (weights.view(*weights.shape, *[1] * (activations.ndim - 2)) * activations).sum(1)


class At:
    """Activations and gradients of each sample's logit at a layer, in double precision, and the rest of the network."""

    def __init__(self, net, layer, images, targets):
        kept = []
        handle = net.get_submodule(layer).register_forward_hook(lambda _module, _input, output: kept.append(output))
        self.scores = net(images).gather(1, torch.tensor(targets)[:, None])[:, 0]
        handle.remove()
        gradients, = torch.autograd.grad(self.scores.sum(), kept[0])
        self.a, self.g = kept[0].detach().double(), gradients.double()
        self.space = tuple(range(2, self.a.ndim))

    def sums(self, values):
        return values.sum(self.space, keepdim=True)


def plus_plus_weights(at, epsilon):
    """Equation 19 of Chattopadhyay et al. with the score exp(logit), whose derivatives are powers of the gradient and whose
    own factor cancels. pytorch-grad-cam adds 1e-6 to the denominator, which counts where gradients are small; torch-cam
    has no denominator at all, because it divides a copy."""
    alpha = at.g**2 / (2 * at.g**2 + at.sums(at.a) * at.g**3 + epsilon)
    alpha[at.g == 0] = 0
    return (alpha * at.g.relu()).sum(at.space)


def upsampled(maps, size):
    """Bilinear or trilinear at half-pixel centres. `maps` is [N, C, space]."""
    return F.interpolate(maps, size, mode="bilinear" if len(size) == 2 else "trilinear", align_corners=False)


# The peers.

class OnTheGrid:
    """One of pytorch-grad-cam's classes without its resizing."""

    def __init__(self, cls, net, layer, **settings):
        self.cam = cls(net, [net.get_submodule(layer)], **settings)
        self.cam.get_target_width_height = lambda _images: None

    def __call__(self, images, targets, **smoothing):
        with self.cam as cam:
            maps = cam(images, targets, **smoothing)
        return normalised(maps)


def torch_cam(cls, net, layer, images, targets, *arguments, **settings):
    """One of torch-cam's classes, its maps as they are before it brings them to 0..1."""
    shape = tuple(images.shape[1:])
    with cls(net, layer, *arguments, input_shape=shape, **settings) as cam:
        scores = net(images)
        maps = cam(list(targets), scores, normalized=False)[0]
    return normalised(maps.detach())


class HalfPixelUpsampling(nn.Module):
    """Stands in for torch.nn.UpsamplingBilinear2d, which puts the corners' centres onto each other."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, maps):
        return upsampled(maps, self.size)


# The methods: each puts what it has for a layer into `out`.

def gradient_methods(out, net, layer, images, targets):
    logits = [ClassifierOutputTarget(target) for target in targets]
    grid = lambda cls, wanted=logits, **settings: OnTheGrid(cls, net, layer, **settings)(images, wanted)
    at = At(net, layer, images, targets)

    out[f"maps.grad_cam.{layer}"] = grid(pgc.GradCAM)
    same(torch_cam(torchcam.GradCAM, net, layer, images, targets), out[f"maps.grad_cam.{layer}"], 1e-5)
    captum = LayerGradCam(net, net.get_submodule(layer)).attribute(images, torch.tensor(targets), relu_attributions=True)
    same(normalised(captum[:, 0].detach()), out[f"maps.grad_cam.{layer}"], 1e-5)

    plus_plus = lambda epsilon: normalised(per_channel(plus_plus_weights(at, epsilon), at.a))
    out[f"maps.grad_cam_plus_plus.{layer}"] = plus_plus(0)
    same(grid(pgc.GradCAMPlusPlus), plus_plus(1e-6), 1e-5)

    out[f"maps.x_grad_cam.{layer}"] = grid(pgc.XGradCAM)
    same(torch_cam(torchcam.XGradCAM, net, layer, images, targets), out[f"maps.x_grad_cam.{layer}"], 1e-4)
    out[f"maps.hires_cam.{layer}"] = grid(pgc.HiResCAM)
    out[f"maps.element_wise_grad_cam.{layer}"] = grid(pgc.GradCAMElementWise)
    out[f"maps.layer_cam.{layer}"] = grid(pgc.LayerCAM)
    same(torch_cam(torchcam.LayerCAM, net, layer, images, targets), out[f"maps.layer_cam.{layer}"], 1e-5)

    # The sign of a singular vector is arbitrary, and pytorch-grad-cam cuts off what is negative by it.
    out[f"signed.eigen_grad_cam.{layer}"] = signed(get_2d_projection((at.g * at.a).numpy()))

    # Of the probability, since a logit that is piecewise linear has no second derivative.
    probabilities = [ClassifierOutputSoftmaxTarget(target) for target in targets]
    out[f"maps.shapley_cam.{layer}"] = grid(pgc.ShapleyCAM, probabilities)
    difference = (out[f"maps.shapley_cam.{layer}"] - grid(pgc.GradCAM, probabilities)).abs().max()
    assert difference > 1e-3, "the second derivative changes nothing"

    # The paper's contrast: the logit less 0.6 times the mean of the three nearest. pytorch-grad-cam weighs the three by their
    # probability, and differentiates those too, with strength 1.
    out[f"maps.finer_cam.{layer}"] = torch_cam(
        torchcam.FinerCAM, net, layer, images, targets, gamma=0.6, num_references=3
    )
    nearest = lambda row, target: sorted(
        (other for other in range(len(row)) if other != target), key=lambda other: abs(row[other] - row[target])
    )[:3]
    with torch.no_grad():
        near = [nearest(row.tolist(), target) for row, target in zip(net(images), targets)]
    weighted = [pgc.utils.model_targets.FinerWeightedTarget(c, d, 1.0) for c, d in zip(targets, near)]
    out[f"maps.finer_cam_weighted.{layer}"] = grid(pgc.GradCAM, weighted)

    if "noise.smooth_grad_cam_plus_plus" not in out:
        return
    # Omeiza et al.: the derivatives of Grad-CAM++ are means over noisy copies of the image; activations are the clean
    # image's. torch-cam takes the gradient inside the ReLU from the last copy alone instead of the mean.
    noise = out["noise.smooth_grad_cam_plus_plus"]
    copies = torch.stack([At(net, layer, images + delta, targets).g for delta in noise])
    first, second, third = (copies.pow(power).mean(0) for power in (1, 2, 3))
    denominator = 2 * second + at.sums(at.a) * third
    alpha = torch.where(denominator != 0, second / denominator, 0)
    out[f"maps.smooth_grad_cam_plus_plus.{layer}"] = normalised(
        per_channel((alpha * first.relu()).sum(at.space), at.a)
    )


def activation_methods(out, net, layer, images, targets):
    logits = [ClassifierOutputTarget(target) for target in targets]
    at = At(net, layer, images, targets)
    activations = at.a.numpy()
    out[f"signed.eigen_cam.{layer}"] = signed(get_2d_projection(activations))
    for kernel in ("sigmoid", "rbf"):
        out[f"signed.kpca_cam_{kernel}.{layer}"] = signed(get_2d_projection_kernel(activations, kernel))
    out[f"maps.fem.{layer}"] = OnTheGrid(pgc.FEM, net, layer)(images, logits)


def perturbation_methods(out, net, layer, images, targets, rest, groups=3, radius=2, deviation=1.5, variants=True):
    """`rest` is the network from the layer's output on; `groups`, `radius` and `deviation` are for Group-CAM. Without
    `variants`, some of what takes a large network long is left out."""
    logits = [ClassifierOutputTarget(target) for target in targets]
    volume = images.ndim == 5
    at = At(net, layer, images, targets)
    scores = at.scores.detach().double()
    channels = at.a.shape[1]
    size = images.shape[2:]

    @torch.no_grad()
    def tail(sample, activations):
        """The target's score of what the layer might have put out for a sample."""
        return rest(activations.float())[:, targets[sample]].double()

    @torch.no_grad()
    def score(sample, pictures):
        outputs = torch.cat([net(some.float()) for some in pictures.split(16)])
        return outputs[:, targets[sample]].double()

    # Desai & Ramaswamy: the share of the score that is lost with the channel.
    weights = torch.stack([
        torch.stack([
            (scores[n] - tail(n, at.a[n:n + 1] * (torch.arange(channels) != k).view(1, -1, *[1] * len(size)))[0])
            / scores[n] for k in range(channels)
        ]) for n in range(len(images))
    ])
    out[f"maps.ablation_cam.{layer}"] = normalised(per_channel(weights, at.a))
    if not volume:  # where pytorch-grad-cam fails
        same(OnTheGrid(pgc.AblationCAM, net, layer)(images, logits), out[f"maps.ablation_cam.{layer}"], 1e-4)

    # Wang et al.: masks are upsampled, then brought to 0..1; pytorch-grad-cam's order, with half-pixel centres instead of its
    # corners onto each other (`score_cam_aligned_corners`). torch-cam does it in the other order: `score_cam_normalised_first`.
    masks = upsampled(at.a, size)
    flat = masks.flatten(2)
    low, high = (bound.view(*flat.shape[:2], *[1] * len(size)) for bound in (flat.amin(2), flat.amax(2)))
    masks = torch.where(high > low, (masks - low) / (high - low).clamp(min=1e-30), 0)
    weights = torch.stack([score(n, images[n:n + 1] * masks[n][:, None]) for n in range(len(images))]).softmax(1)
    out[f"maps.score_cam.{layer}"] = normalised(per_channel(weights, at.a))
    if not volume:  # where pytorch-grad-cam fails
        if variants:
            out[f"maps.score_cam_aligned_corners.{layer}"] = OnTheGrid(pgc.ScoreCAM, net, layer)(images, logits)
        theirs = torch.nn.UpsamplingBilinear2d
        torch.nn.UpsamplingBilinear2d = HalfPixelUpsampling
        same(OnTheGrid(pgc.ScoreCAM, net, layer)(images, logits), out[f"maps.score_cam.{layer}"], 1e-4)
        torch.nn.UpsamplingBilinear2d = theirs
    if variants:
        out[f"maps.score_cam_normalised_first.{layer}"] = torch_cam(torchcam.ScoreCAM, net, layer, images, targets)
        # Each step's factor is the sum of the steps so far, as torch-cam reads the paper.
        out[f"maps.is_cam.{layer}"] = torch_cam(torchcam.ISCAM, net, layer, images, targets, num_samples=4)

    # Zhang et al., as their code has it: of each group's map what is above its 70th percentile; the image blurred. Of the
    # logit, where the authors take the gradient of the logit and scores of the probability.
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.double) / deviation) ** 2)
    blurred = F.pad(images.double(), [radius, radius] * len(size), mode="reflect")
    for axis in range(2, images.ndim):
        blurred = blurred.unfold(axis, len(kernel), 1) @ (kernel / kernel.sum())
    maps = torch.zeros(len(images), *size, dtype=torch.double)
    for group in (at.g.mean(at.space, keepdim=True) * at.a).chunk(groups, 1):
        for n, plane in enumerate(group.sum(1).relu()):
            plane = torch.where(plane > np.percentile(plane.numpy(), 70), plane, 0)
            mask = upsampled(plane[None, None], size)[0, 0]
            if mask.max() > mask.min():
                mask = (mask - mask.min()) / (mask.max() - mask.min())
                mixed = images[n:n + 1] * mask + blurred[n:n + 1] * (1 - mask)
                maps[n] += (score(n, mixed) - score(n, blurred[n:n + 1])) * mask
    # A map may be empty here, which other methods' may not.
    maps = maps.relu()
    highest = maps.flatten(1).amax(1).view(-1, *[1] * len(size))
    lowest = maps.flatten(1).amin(1).view(-1, *[1] * len(size))
    out[f"graded.group_cam.{layer}"] = ((maps - lowest) / (highest - lowest).clamp(min=1e-12)).float()

    # torch-cam's SS-CAM with the noise that the file holds, for every sample the same, in place of its own.
    if f"noise.ss_cam.{layer}" in out:
        draws = iter(out[f"noise.ss_cam.{layer}"].float())
        sample = torch.distributions.Normal.sample
        torch.distributions.Normal.sample = lambda _self, shape: next(draws).expand(shape)
        out[f"maps.ss_cam.{layer}"] = torch_cam(torchcam.SSCAM, net, layer, images, targets, num_samples=2)
        torch.distributions.Normal.sample = sample
        assert next(draws, None) is None

    # Byun & Lee: the score of the features around a place alone, under a Gaussian of 1/4, 1/2, 1/4 along each axis or of the
    # place by itself. Of the logit here; the authors take the probability.
    for name, kernel in (("recipro_cam", [0.25, 0.5, 0.25]), ("recipro_cam_single", [0.0, 1.0, 0.0])):
        kernel = torch.tensor(kernel, dtype=torch.double)
        maps = torch.empty(len(images), *at.a.shape[2:], dtype=torch.double)
        for place in np.ndindex(*at.a.shape[2:]):
            mask = torch.ones([1] * len(size), dtype=torch.double)
            for axis, (index, extent) in enumerate(zip(place, at.a.shape[2:])):
                along = F.pad(kernel, (index, extent - 1 - index))[1:-1]
                mask = mask * along.view([-1 if other == axis else 1 for other in range(len(size))])
            for n in range(len(images)):
                maps[(n, *place)] = tail(n, at.a[n:n + 1] * mask)[0]
        out[f"graded.{name}.{layer}"] = stretched(maps)


def image_methods(out, net, images, targets, window=None, step=None):
    """Those that look at no layer. `window` and `step` are for occlusion."""
    size = images.shape[2:]

    # Petsiuk et al.: the mean of the masks, each times the class's probability under it.
    masks = out["masks.rise"].double()
    with torch.no_grad():
        scores = [
            net((image * masks[:, None]).float()).softmax(1)[:, target].double() for image, target in zip(images, targets)
        ]
    out["graded.rise"] = stretched(torch.stack([torch.tensordot(score, masks, 1) for score in scores]))

    # Windows of zeros; where they overlap, captum takes the mean of the differences.
    if window is None:
        window, step = ((5, 4), (3, 2)) if len(size) == 2 else ((3, 4, 3), (2, 2, 2))
    maps = Occlusion(net).attribute(
        images, (images.shape[1], *window), (images.shape[1], *step), target=torch.tensor(targets), baselines=0
    )
    out["graded.occlusion_sensitivity"] = stretched(maps[:, 0])


def write(name, net, images, targets, layers):
    torch.manual_seed(1)
    out = {
        "images": images,
        "targets": torch.tensor(targets),
        "logits": net(images).detach(),
        "noise.smooth_grad_cam_plus_plus": 0.3 * torch.randn(3, *images.shape),
        **{f"weights.{key}": value.clone() for key, value in net.state_dict().items() if "num_batches" not in key},
    }
    # In half precision, so that the file stays small; every use converts the same numbers.
    out["masks.rise"] = upsampled((torch.rand(16, 1, *[4] * (images.ndim - 2)) < 0.5).float(), images.shape[2:])[:, 0].half()
    channels = At(net, layers[1], images, targets).a.shape[1]
    out[f"noise.ss_cam.{layers[1]}"] = (2 * torch.randn(2, channels, *images.shape[2:])).half()
    # A head that averages over space: the last layer of these two.
    if not isinstance(dict(net.named_children())["pool"], nn.MaxPool2d):
        out[f"maps.cam.{layers[-1]}"] = torch_cam(torchcam.CAM, net, layers[-1], images, targets, "fc")
    for layer in layers:
        gradient_methods(out, net, layer, images, targets)
        activation_methods(out, net, layer, images, targets)
        rest = net[list(dict(net.named_children())).index(layer) + 1:]
        perturbation_methods(out, net, layer, images, targets, rest)
    image_methods(out, net, images, targets)
    path = HERE / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in out.items()}, path, VERSIONS)
    path.chmod(0o644)
    assert path.stat().st_size < 300_000, path
    print(name, path.stat().st_size)


def load(build):
    """One of the networks with the weights, the images and the targets that its file holds."""
    tensors = load_file(HERE / f"methods_{build.__name__}.safetensors")
    net = build()
    state = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    net.load_state_dict(state, strict=False)
    return net.eval(), tensors["images"], tensors["targets"].tolist()


def main():
    for build, shape, layers in (
        (plain, (3, 3, 20, 18), ["relu2", "relu3"]),
        (branched, (3, 3, 20, 18), ["residual", "fire"]),
        (volumes, (3, 2, 6, 8, 7), ["relu1", "relu2"]),
    ):
        targets = [2, 0, 3]
        # The first weights by which each target's logit is positive, so that Ablation-CAM's division by it keeps its sign,
        # and no map is empty.
        for seed in range(200):
            torch.manual_seed(seed)
            net, images = randomise(build()), torch.randn(shape)
            with torch.no_grad():
                logits = net(images)[range(3), targets]
            if logits.min() < 0.1:
                continue
            try:
                write(f"methods_{build.__name__}", net, images, targets, layers)
                break
            except AssertionError as error:
                if "take other weights" not in str(error):
                    raise
        else:
            sys.exit(f"no seed suits {build.__name__}")


if __name__ == "__main__":
    main()
