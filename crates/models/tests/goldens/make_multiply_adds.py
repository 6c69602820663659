"""Writes multiply_adds.tsv here: what Keras's applications and MONAI's networks multiply for one image or volume.

    python crates/models/tests/goldens/make_multiply_adds.py

Ran with torch 2.11.0, keras 3.15.1 on torch (NASNetMobile on jax 0.10.2, since Keras refuses it on torch) and monai
1.6.1. torch's FlopCounterMode counts, two operations each; for Keras also the weights of convolutions and dense layers
times the places of their outputs, which is all there is for NASNetMobile.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
from keras_to_safetensors import APPLICATIONS, backend, build  # noqa: E402

CLASSES = 10
IMAGE = (96, 80)
VOLUME = (33, 40, 36)


def counted(run):
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops() // 2


def keras_application(name):
    backend(name)
    import keras
    from keras import layers

    model = build(name, weights=None, input_shape=(*IMAGE, 3), classes=CLASSES)
    total = 0
    for layer in model.layers:
        kernels = []
        if isinstance(layer, layers.SeparableConv2D):
            kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
            kernels = [layer.kernel]
        places = np.prod(layer.output.shape[1:-1], dtype=int)
        total += sum(int(places * np.prod(kernel.shape)) for kernel in kernels)
    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            assert counted(lambda: model(np.zeros((1, *IMAGE, 3), np.float32), training=False)) == total
    return IMAGE, total


def monai_networks():
    import torch
    from monai.networks import nets

    def networks():
        for depth in (10, 18, 34, 50):
            build = getattr(nets, f"resnet{depth}")
            yield f"resnet{depth}_3d", build(spatial_dims=3, n_input_channels=1, num_classes=CLASSES), (1, 1, *VOLUME)
        for axes, shape in ((2, (1, 3, *IMAGE)), (3, (1, 1, *VOLUME))):
            unet = nets.BasicUNet(spatial_dims=axes, in_channels=shape[1], out_channels=CLASSES)
            yield f"basic_unet_{axes}d", unet, shape

    for name, network, shape in networks():
        with torch.no_grad():
            yield name, shape[2:], counted(lambda: network.eval()(torch.zeros(shape)))


def line(name, extents, total):
    return f"{name}\t{'x'.join(map(str, extents))}\t{total}"


if __name__ == "__main__":
    if sys.argv[1:]:
        print(line(sys.argv[1], *keras_application(sys.argv[1])))
    else:
        lines = [line(*counts) for counts in monai_networks()]
        for name in APPLICATIONS:
            # Keras has one backend a process.
            command = [sys.executable, __file__, name]
            lines.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        header = "network\textents\tmultiply-adds"
        (HERE / "multiply_adds.tsv").write_text("\n".join([header, *sorted(lines), ""]))
