"""Writes composition_plain, composition_branched and composition_volumes.safetensors here: what is built on maps, gradients
and activations, on the networks of methods.py with the weights, images and targets that its files hold.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), torchcam 0.5.0 (torch-cam), captum 0.9.0, scikit-learn 1.9.1,
ttach 0.0.3, safetensors 0.8.0, numpy 2.4.6. `python composition.py`, after methods.py.

Keys of a file:
  maps.eigen_smoothing_METHOD.LAYER   pytorch-grad-cam's eigen_smooth, on the layer's grid, negative values cut off, each
                                      sample brought to 0..1
  fused.KIND                          maps of both layers as one at the image's size, brought to 0..1; `layer_cam` as it is
  augmented.VIEWS.LAYER               the mean over altered images, at the image's size
  saliency, guided_backpropagation, guided_grad_cam.LAYER
                                      by the input; of the branched network only the ReLUs that are modules are guided
  every_relu.guided_backpropagation   of the branched network, with the ReLUs inside its blocks
  factors.LAYER.K.error               what K concepts leave of the layer's activations, |A - H W| / |A|, at best, and at
                                      worst with scikit-learn's usual settings, which are pytorch-grad-cam's
  factors.LAYER.K.maps, …concepts     H [N, K, space] and W [K, channels] of length 1, the largest share first, where more
                                      than one start ends there and none elsewhere that leaves as little

Where a peer's own code runs it is changed in three things. The sign of a principal component is arbitrary in
pytorch-grad-cam, which cuts off what is negative by it: here it goes along with the plain sum over the channels. It adds 1e-7
to a map's range, which counts where maps are small: here nothing is added. It resizes volumes with cubic splines:
here trilinearly, as torch does.
"""

import copy
import warnings
from importlib.metadata import version

import numpy as np
import pytorch_grad_cam as pgc
import torch
import torchcam.methods as torchcam
import ttach
from captum.attr import GuidedBackprop, GuidedGradCam, Saliency
from pytorch_grad_cam.feature_factorization.deep_feature_factorization import dff
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from safetensors.torch import save_file
from sklearn.decomposition import NMF
from torch import nn

import methods
from methods import normalised, per_channel, same, stretched, upsampled

assert version("scikit-learn") == "1.9.1" and version("ttach") == "0.0.3"
VERSIONS = methods.VERSIONS | {"scikit-learn": "1.9.1", "ttach": "0.0.3"}
for message in ("Setting backward hooks on ReLU", "Input Tensor 0 did not already", "Maximum number of iterations"):
    warnings.filterwarnings("ignore", message)


# Into the place of what pytorch-grad-cam has.

def projection(terms):
    """Its own, in double precision, turned along the sum of [N, C, space] over the channels."""
    terms = np.float64(terms)
    maps = get_2d_projection(terms)
    along = (maps * terms.sum(1)).reshape(len(maps), -1).sum(1)
    return maps * np.sign(along).reshape(-1, *[1] * (maps.ndim - 1))


def rescaled(maps, size=None):
    """Each map brought to 0..1 and resized to `size`, which begins with the last axis."""
    maps = stretched(maps).double()
    return (maps if size is None else upsampled(maps[:, None], size[::-1])[:, 0]).numpy()


for module in (pgc.base_cam, pgc.hirescam, pgc.grad_cam_elementwise, pgc.layer_cam):
    module.get_2d_projection = projection
pgc.base_cam.scale_cam_image = rescaled


def peer(cls, net, layers, images, targets, views=None, **smoothing):
    """One of pytorch-grad-cam's classes on several layers at the image's size."""
    with cls(net, [net.get_submodule(layer) for layer in layers]) as cam:
        cam.tta_transforms = views or cam.tta_transforms
        return torch.from_numpy(cam(images, [ClassifierOutputTarget(target) for target in targets], **smoothing)).float()


# What is compared: each puts what it has into `out`.

def eigen_smoothing(out, net, layer, images, targets):
    logits = [ClassifierOutputTarget(target) for target in targets]
    at = methods.At(net, layer, images, targets)
    for name, cls in (
        ("grad_cam", pgc.GradCAM), ("x_grad_cam", pgc.XGradCAM), ("hires_cam", pgc.HiResCAM),
        ("element_wise_grad_cam", pgc.GradCAMElementWise), ("layer_cam", pgc.LayerCAM),
    ):
        out[f"maps.eigen_smoothing_{name}.{layer}"] = methods.OnTheGrid(cls, net, layer)(images, logits, eigen_smooth=True)

    # Without the 1e-6 in its weights' denominator, as in methods.py.
    def plus_plus(epsilon):
        weights = methods.plus_plus_weights(at, epsilon)
        return normalised(projection(weights.view(*weights.shape, *[1] * len(at.space)) * at.a))

    out[f"maps.eigen_smoothing_grad_cam_plus_plus.{layer}"] = plus_plus(0)
    theirs = methods.OnTheGrid(pgc.GradCAMPlusPlus, net, layer)(images, logits, eigen_smooth=True)
    same(theirs, plus_plus(1e-6), 1e-5)


def fusion(out, net, layers, images, targets):
    size = tuple(images.shape[2:])
    out["fused.mean"] = peer(pgc.GradCAM, net, layers, images, targets)
    if len(size) == 2:  # as it is
        pgc.base_cam.scale_cam_image = scale_cam_image
        same(peer(pgc.GradCAM, net, layers, images, targets), out["fused.mean"], 1e-3)
        pgc.base_cam.scale_cam_image = rescaled

    def maps(cls):
        with cls(net, list(layers), input_shape=tuple(images.shape[1:])) as cam:
            return [map.detach() for map in cam(list(targets), net(images), normalized=False)]

    # torch-cam adds 1e-8 to the range, so that maps are brought to 0..1 before it sees them.
    ones = [normalised(map) for map in maps(torchcam.GradCAM)]
    out["fused.maximum"] = stretched(torchcam.GradCAM.fuse_cams(ones, size))
    out["fused.product"] = stretched(torchcam.RefineCAM.fuse_cams(ones, size))
    # It takes the hyperbolic tangent of twice what it is given; in the paper's equation 9 each map is divided by its largest
    # value first.
    ones = [map / map.flatten(1).amax(1).view(-1, *[1] * len(size)) for map in maps(torchcam.LayerCAM)]
    out["fused.layer_cam"] = torchcam.LayerCAM.fuse_cams(ones, size)


def augmentation(out, net, layer, images, targets, any_size):
    """Without the scales for a network that takes one size only."""
    augmented = lambda views=None, **smoothing: peer(
        pgc.GradCAM, net, [layer], images, targets, views, aug_smooth=True, **smoothing
    )
    # ttach mirrors the third and the fourth axis of a tensor: of volumes, depth and height.
    flips = ttach.Compose([ttach.HorizontalFlip(), ttach.VerticalFlip()])
    out[f"augmented.usual.{layer}"] = augmented()
    out[f"augmented.flips.{layer}"] = augmented(flips)
    out[f"augmented.smooth.{layer}"] = augmented(flips, eigen_smooth=True)
    if images.ndim == 4:  # as it is
        pgc.base_cam.scale_cam_image = scale_cam_image
        same(augmented(), out[f"augmented.usual.{layer}"], 1e-3)
        pgc.base_cam.scale_cam_image = rescaled

    # ttach would bring each map to the scaled image's size and from there to the image's: resized twice. Plainly, once.
    if any_size:
        logits = [ClassifierOutputTarget(target) for target in targets]
        size = images.shape[2:]
        views = [upsampled(images, [int(extent * scale + 0.5) for extent in size]) for scale in (1.0, 1.5, 2.0)]
        maps = [methods.OnTheGrid(pgc.GradCAM, net, layer)(view, logits) for view in views]
        out[f"augmented.scales.{layer}"] = torch.stack([torch.from_numpy(rescaled(
            upsampled(map[:, None].double(), size)[:, 0])) for map in maps]).mean(0).float()


def guided(out, net, layers, images, targets, prefix=""):
    targets = torch.tensor(targets)
    out[f"{prefix}guided_backpropagation"] = GuidedBackprop(net).attribute(images, targets)
    if images.ndim == 4:
        for image, target, ours in zip(images, targets.tolist(), out[f"{prefix}guided_backpropagation"]):
            theirs = pgc.GuidedBackpropReLUModel(copy.deepcopy(net))(image[None].clone(), target).transpose(2, 0, 1)
            same(torch.from_numpy(theirs) / ours.abs().max(), ours / ours.abs().max(), 1e-5)
    if prefix:
        return
    out["saliency"] = Saliency(net).attribute(images, targets, abs=False)
    # By default captum takes the nearest value.
    mode = "bilinear" if images.ndim == 4 else "trilinear"
    for layer in layers:
        out[f"guided_grad_cam.{layer}"] = GuidedGradCam(net, net.get_submodule(layer)).attribute(
            images, targets, interpolate_mode=mode
        )


def factorisation(out, layer, activations, counts=(1, 2, 3, 5), starts=12):
    """scikit-learn's best end, of starts at random and of starts from places drawn at random; pytorch-grad-cam takes one
    start and stops after 200 iterations. Below zero each channel's smallest value is taken off, as pytorch-grad-cam does it
    everywhere."""
    samples, channels, *grid = activations.shape
    matrix = activations.double().flatten(2).transpose(1, 2).reshape(-1, channels).numpy()
    if matrix.min() < 0:
        matrix = matrix - matrix.min(0)
    # As many concepts as channels leave nothing.
    for count in (count for count in counts if count < channels):
        found = []
        for seed in range(2 * starts):
            init, first = "random", {}
            if seed >= starts:
                draw = np.random.default_rng(seed)
                places = draw.choice(np.flatnonzero(matrix.any(1)), count, replace=False)
                init, first = "custom", {"W": draw.random((len(matrix), count)), "H": matrix[places] + 1e-9}
            model = NMF(count, init=init, random_state=seed, tol=1e-12, max_iter=20000)
            amounts, concepts = model.fit_transform(matrix, **first), model.components_
            lengths = np.linalg.norm(concepts, axis=1)
            amounts, concepts = amounts * lengths, concepts / lengths[:, None]
            order = np.argsort(-np.linalg.norm(amounts, axis=0))
            error = np.linalg.norm(matrix - amounts @ concepts) / np.linalg.norm(matrix)
            found.append((error, amounts[:, order], concepts[order]))
        found.sort(key=lambda factors: factors[0])
        error, amounts, concepts = found[0]
        key = f"factors.{layer}.{count}"
        usual = [NMF(count, init="random", random_state=seed).fit(matrix).reconstruction_err_ for seed in range(starts)]
        worst = max(usual) / np.linalg.norm(matrix)
        out[f"{key}.error"] = torch.tensor([error, worst])
        equal = [other for other in found if other[0] < error * (1 + 1e-5)]
        one = len(equal) > 1 and all(abs(other[1] - amounts).max() < 1e-5 * amounts.max() for other in equal)
        if one:
            maps = amounts.reshape(samples, -1, count).transpose(0, 2, 1).reshape(samples, count, *grid)
            out[f"{key}.maps"] = torch.from_numpy(maps).float()
            out[f"{key}.concepts"] = torch.from_numpy(concepts).float()
        print(key, f"{error:.6f} to {found[-1][0]:.6f}, {worst:.6f}", "one end" if one else "no end or several")
        if count == 1 and len(grid) == 2 and matrix.min(0).max() == 0:
            theirs = torch.from_numpy(dff(activations.float().numpy(), 1)[1])
            same(theirs / theirs.max(), out[f"{key}.maps"] / out[f"{key}.maps"].max(), 1e-3)


class VisibleResidual(nn.Module):
    """methods.Residual with modules for ReLUs, which captum and pytorch-grad-cam find."""

    def __init__(self, residual):
        super().__init__()
        self.first = nn.Sequential(residual.conv1, residual.bn1, nn.ReLU())
        self.second = nn.Sequential(residual.conv2, residual.bn2)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.second(self.first(x)))


class VisibleFire(nn.Module):
    def __init__(self, fire):
        super().__init__()
        self.squeeze = nn.Sequential(fire.squeeze, nn.ReLU())
        self.expand1 = nn.Sequential(fire.expand1, nn.ReLU())
        self.expand3 = nn.Sequential(fire.expand3, nn.ReLU())

    def forward(self, x):
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], 1)


def main():
    for build, layers, signed in (
        (methods.plain, ("relu2", "relu3"), "conv2"),
        (methods.branched, ("residual", "fire"), "conv2"),
        (methods.volumes, ("relu1", "relu2"), "conv2"),
    ):
        net, images, targets = methods.load(build)
        out = {}
        for layer in layers:
            eigen_smoothing(out, net, layer, images, targets)
            augmentation(out, net, layer, images, targets, any_size=build is not methods.branched)
        fusion(out, net, layers, images, targets)
        guided(out, net, layers, images, targets)
        if build is methods.branched:
            visible = copy.deepcopy(net)
            visible.residual, visible.fire = VisibleResidual(visible.residual), VisibleFire(visible.fire)
            same(visible(images), net(images), 1e-6)
            guided(out, visible, layers, images, targets, "every_relu.")
        for layer in (*layers, signed):
            factorisation(out, layer, methods.At(net, layer, images, targets).a)
        path = methods.HERE / f"composition_{build.__name__}.safetensors"
        save_file({key: value.detach().contiguous() for key, value in out.items()}, path, VERSIONS)
        path.chmod(0o644)
        assert path.stat().st_size < 300_000, path
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
