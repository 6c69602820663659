"""Writes initialisation/NETWORK.tsv: what each variable of Keras's and MONAI's networks is drawn from at the start.

Ran with keras 3.15.1 (torch 2.11.0 backend, jax 0.10.2 for NASNetMobile), monai 1.6.1, torch 2.11.0, numpy 2.4.6.
`python make_initialisation.py` writes all, `python make_initialisation.py resnet10_3d` one.

A line is a variable's name, its distribution and the number that goes with it:

    constant          the number
    uniform           the bound: uniform in ± it
    normal            the standard deviation
    truncated_normal  the standard deviation of what is left within two of the normal distribution's own

Keras's layers say which initializer they have, and its fans are counted by Keras's own function. MONAI's layers do not
say: there, it is the last random or constant number that torch was asked to fill the variable with. Either way the
numbers of three seeds are compared with what is written, so that a misread setting shows here.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SEEDS = (1, 2, 3)
CLASSES = 10
# Standard deviation of a standard normal distribution without what lies beyond two.
CUT_DEVIATION = 0.87962566103423978


def keras_distribution(initializer, shape):
    from keras import initializers
    from keras.src.initializers.random_initializers import compute_fans

    if isinstance(initializer, initializers.Zeros):
        return "constant", 0.0
    if isinstance(initializer, initializers.Ones):
        return "constant", 1.0
    assert isinstance(initializer, initializers.VarianceScaling), initializer
    fan_in, fan_out = compute_fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / fan
    if initializer.distribution == "uniform":
        return "uniform", (3 * variance) ** 0.5
    # Keras widens the normal distribution that it cuts, so that the variance is what was asked for.
    assert initializer.distribution == "truncated_normal", initializer.distribution
    return "truncated_normal", variance**0.5


VARIABLES = {
    "kernel": ("kernel_initializer", "depthwise_initializer"),
    "depthwise_kernel": ("depthwise_initializer",),
    "pointwise_kernel": ("pointwise_initializer",),
    "bias": ("bias_initializer",),
    "gamma": ("gamma_initializer",),
    "beta": ("beta_initializer",),
    "moving_mean": ("moving_mean_initializer",),
    "moving_variance": ("moving_variance_initializer",),
}


def keras_network(name, seed):
    """Distributions and numbers by name."""
    import keras
    from keras_to_safetensors import build, value, variables

    keras.utils.set_random_seed(seed)
    model = build(name, weights=None, classes=CLASSES)
    distributions = {}
    for layer in model.layers:
        # A depthwise convolution has the setting of a plain one, and does not use it.
        plain = not isinstance(layer, keras.layers.DepthwiseConv2D)
        for variable, (first, *second) in VARIABLES.items():
            held = getattr(layer, variable, None)
            if held is not None:
                initializer = getattr(layer, first if plain or not second else second[0])
                distributions[held.path] = keras_distribution(initializer, held.shape)
    return {key: (distributions[variable.path], value(variable)) for key, variable, _ in variables(model)}


def monai_network(name, seed):
    """Distributions and numbers by name."""
    import torch
    from make_monai import NETWORKS
    from torch.utils._python_dispatch import TorchDispatchMode

    asked = {}

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            aten = torch.ops.aten
            parameters = arguments[1:]
            if function is aten.uniform_.default:
                low, high = parameters
                assert low == -high
                drawn = "uniform", high
            elif function is aten.normal_.default:
                mean, deviation = parameters
                assert mean == 0
                drawn = "normal", deviation
            elif function is aten.fill_.Scalar:
                drawn = "constant", float(parameters[0])
            elif function is aten.zero_.default:
                drawn = "constant", 0.0
            else:
                drawn = None
            if drawn:
                asked[arguments[0].data_ptr()] = drawn
            return function(*arguments, **(keywords or {}))

    (build, _, _), *_ = NETWORKS[name]
    torch.manual_seed(seed)
    with Record():
        network = build()
    state = network.state_dict()
    return {
        key: (asked[tensor.data_ptr()], tensor.numpy())
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }


def check(name, distribution, number, values):
    """The numbers of all seeds are of the distribution: six standard errors, and not a number beyond its ends."""
    values = np.concatenate([value.ravel() for value in values]).astype(np.float64)
    if distribution == "constant":
        assert np.all(values == np.float32(number)), name
        return
    deviation = number / 3**0.5 if distribution == "uniform" else number
    error = deviation / values.size**0.5
    assert abs(values.mean()) < 6 * error, (name, values.mean(), error)
    assert abs(values.std() - deviation) < 6 * error, (name, values.std(), deviation)
    end = {"uniform": number, "truncated_normal": 2 * number / CUT_DEVIATION, "normal": np.inf}[distribution]
    assert np.abs(values).max() <= end * (1 + 1e-6), (name, np.abs(values).max(), end)


def write(name):
    keras = name.startswith("keras_")
    if keras:
        sys.path.insert(0, str(HERE.parents[1] / "scripts"))
        from keras_to_safetensors import backend

        backend(name)
        import keras as module

        assert module.__version__ == "3.15.1", module.__version__
    draws = [(keras_network if keras else monai_network)(name, seed) for seed in SEEDS]
    lines = []
    for key in sorted(draws[0]):
        settings = {draw[key][0] for draw in draws}
        assert len(settings) == 1, (key, settings)
        ((distribution, number),) = settings
        check(key, distribution, number, [draw[key][1] for draw in draws])
        lines.append(f"{key}\t{distribution}\t{number:.9g}\n")
    path = HERE / "initialisation" / f"{name}.tsv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines))
    kinds = [line.split("\t")[1] for line in lines]
    print(name, {kind: kinds.count(kind) for kind in sorted(set(kinds))}, path.stat().st_size, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(sys.argv[1])
    else:
        # Each in a process of its own, as Keras has one backend a process.
        names = "xception inception_v3 densenet121 resnet50_v2 nasnet_mobile mobilenet_v2".split()
        volumes = [f"resnet{depth}_3d" for depth in (10, 18, 34, 50)]
        for name in [f"keras_{name}" for name in names] + volumes + ["basic_unet_2d", "basic_unet_3d"]:
            subprocess.run([sys.executable, __file__, name], check=True)
