"""Writes refine_cam.safetensors here: torch-cam's Refine-CAM on the networks of methods.py, with the weights, images and targets
that its files hold, at both of their layers, on the larger layer's grid.

Ran with torch 2.11.0, torchcam 0.5.0 (torch-cam), safetensors 0.8.0. `python refine_cam.py`

Keys, each sample brought to 0..1:
  NETWORK.graded.refine_layer_cam              of LayerCAM
  NETWORK.graded.refine_grad_cam_plus_plus     of Grad-CAM++, its default: torch-cam's fuse_cams on the maps of methods.py, since
                                               torch-cam's own have lost their denominator
"""

import torchcam.methods as torchcam
from safetensors.torch import load_file, save_file

import methods

out = {}
for build, layers in (
    (methods.plain, ["relu2", "relu3"]),
    (methods.branched, ["residual", "fire"]),
    (methods.volumes, ["relu1", "relu2"]),
):
    net, images, targets = methods.load(build)
    name = build.__name__
    with torchcam.RefineCAM(net, layers, tuple(images.shape[1:]), base_method=torchcam.LayerCAM) as cam:
        out[f"{name}.graded.refine_layer_cam"] = methods.stretched(cam(targets, net(images))[0].detach())
    golden = load_file(methods.HERE / f"methods_{name}.safetensors")
    maps = [golden[f"maps.grad_cam_plus_plus.{layer}"] for layer in layers]
    out[f"{name}.graded.refine_grad_cam_plus_plus"] = methods.stretched(torchcam.RefineCAM.fuse_cams(maps))
path = methods.HERE / "refine_cam.safetensors"
save_file({key: value.contiguous() for key, value in out.items()}, path, methods.VERSIONS)
path.chmod(0o644)
print({key: tuple(value.shape) for key, value in out.items()})
