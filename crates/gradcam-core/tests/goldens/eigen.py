"""Writes eigen.safetensors here: eigen smoothing of methods that need more than one backward pass, and Seg-Eigen-CAM, on the
networks of methods.py, with the weights, images and targets that its files hold.

Ran with torch 2.11.0, grad-cam 1.5.7 (pytorch-grad-cam), safetensors 0.8.0, numpy 2.4.6. `python eigen.py`

Keys, all of pytorch-grad-cam's own maps on the layer's grid:
  NETWORK.signed.METHOD_smooth.LAYER   eigen_smooth=True, as its SVD leaves the sign, divided by each sample's largest absolute value
  NETWORK.maps.seg_eigen_cam.LAYER     SegEigenCAM, negative values cut off, each sample brought to 0..1

composition.py has the smoothing of the methods of one backward pass. Of volumes there is neither Ablation-CAM nor Score-CAM,
where it fails.
"""

import numpy as np
import pytorch_grad_cam as pgc
import torch
from pytorch_grad_cam.utils.model_targets import (
    ClassifierOutputSoftmaxTarget, ClassifierOutputTarget, FinerWeightedTarget,
)
from safetensors.torch import save_file

import methods


def smooth(cls, net, layer, images, targets):
    """The principal component that pytorch-grad-cam would cut off below zero and resize."""
    cam = cls(net, [net.get_submodule(layer)])
    base = getattr(cam, "base_cam", cam)
    kept, get = [], base.get_cam_image
    base.get_cam_image = lambda *arguments: kept.append(get(*arguments)) or kept[-1]
    cam(images, targets, eigen_smooth=True)
    base.activations_and_grads.release()
    return methods.signed(np.stack(kept)[0])


def main():
    out = {}
    for build, layers in (
        (methods.plain, ["relu2", "relu3"]),
        (methods.branched, ["residual", "fire"]),
        (methods.volumes, ["relu1", "relu2"]),
    ):
        net, images, targets = methods.load(build)
        logits = [ClassifierOutputTarget(target) for target in targets]
        probabilities = [ClassifierOutputSoftmaxTarget(target) for target in targets]
        with torch.no_grad():
            rows = net(images).tolist()
        others = [
            sorted((other for other in range(len(row)) if other != target), key=lambda other: abs(row[other] - row[target]))
            for row, target in zip(rows, targets)
        ]
        weighted = [FinerWeightedTarget(target, near[:3], 1.0) for target, near in zip(targets, others)]
        cases = [("shapley_cam", pgc.ShapleyCAM, probabilities), ("finer_cam_weighted", pgc.FinerCAM, weighted)]
        if images.ndim == 4:
            cases += [("ablation_cam", pgc.AblationCAM, logits), ("score_cam_aligned_corners", pgc.ScoreCAM, logits)]
        for layer in layers:
            for name, cls, wanted in cases:
                out[f"{build.__name__}.signed.{name}_smooth.{layer}"] = smooth(cls, net, layer, images, wanted)
            out[f"{build.__name__}.maps.seg_eigen_cam.{layer}"] = methods.OnTheGrid(pgc.SegEigenCAM, net, layer)(
                images, logits
            )
    path = methods.HERE / "eigen.safetensors"
    save_file({key: value.contiguous() for key, value in out.items()}, path, methods.VERSIONS)
    path.chmod(0o644)
    print(path.stat().st_size, len(out))


if __name__ == "__main__":
    main()
