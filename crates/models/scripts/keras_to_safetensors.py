"""Converts the weights of a Keras application to the safetensors that `models` loads by name.

Ran with keras 3.15.1 (torch 2.11.0 backend, jax 0.10.2 for NASNetMobile), h5py 3.16.0,
safetensors 0.8.0, numpy 2.4.6.

    python keras_to_safetensors.py keras_xception imagenet xception.safetensors
    python keras_to_safetensors.py keras_densenet121 tuned.weights.h5 tuned.safetensors --classes 2

The source is `imagenet` (Keras fetches it), a whole model's `.h5` or `.keras` file, or a
`.weights.h5` file. With `--no-top` it is one without the classifier (`include_top=False`); the
result then lacks `predictions.weight` and `predictions.bias`.

One rule makes the names and layouts, `tensors` below:

    Keras layer        its variable       name here              layout there -> here
    Conv2D             kernel             LAYER.weight           HWIO -> OIHW
    DepthwiseConv2D    kernel             LAYER.weight           HWC1 -> C1HW
    SeparableConv2D    depthwise_kernel   LAYER.depthwise.weight HWC1 -> C1HW
                       pointwise_kernel   LAYER.pointwise.weight 11IO -> OI11
    Dense              kernel             LAYER.weight           IO -> OI
    (any of these)     bias               LAYER.bias
    BatchNormalization gamma, beta        LAYER.weight, .bias
                       moving_mean        LAYER.running_mean
                       moving_variance    LAYER.running_var

LAYER is the layer's name; layers without a name of their own have the one that Keras numbers them
by in a fresh session (`conv2d_17`, `batch_normalization`).
"""

import argparse
import os

import numpy as np

APPLICATIONS = {
    "keras_xception": "Xception",
    "keras_inception_v3": "InceptionV3",
    "keras_densenet121": "DenseNet121",
    "keras_resnet50_v2": "ResNet50V2",
    "keras_nasnet_mobile": "NASNetMobile",
    "keras_mobilenet_v2": "MobileNetV2",
}


def backend(name):
    """Chooses Keras's backend, before its first import: it refuses NASNetMobile on torch."""
    os.environ.setdefault("KERAS_BACKEND", "jax" if name == "keras_nasnet_mobile" else "torch")


def build(name, **arguments):
    """The application in a fresh session, so that its layers are numbered as in any other."""
    import keras

    keras.backend.clear_session()
    return getattr(keras.applications, APPLICATIONS[name])(classifier_activation=None, **arguments)


def variables(model):
    """Every variable of `model` as (name here, Keras variable, axes that bring it to our layout)."""
    from keras import layers

    for layer in model.layers:
        name = layer.name
        if isinstance(layer, layers.SeparableConv2D):
            yield f"{name}.depthwise.weight", layer.depthwise_kernel, (2, 3, 0, 1)
            yield f"{name}.pointwise.weight", layer.pointwise_kernel, (3, 2, 0, 1)
        elif isinstance(layer, layers.DepthwiseConv2D):
            yield f"{name}.weight", layer.kernel, (2, 3, 0, 1)
        elif isinstance(layer, layers.Conv2D):
            yield f"{name}.weight", layer.kernel, (3, 2, 0, 1)
        elif isinstance(layer, layers.Dense):
            yield f"{name}.weight", layer.kernel, (1, 0)
        elif isinstance(layer, layers.BatchNormalization):
            if layer.scale:
                yield f"{name}.weight", layer.gamma, (0,)
            yield f"{name}.bias", layer.beta, (0,)
            yield f"{name}.running_mean", layer.moving_mean, (0,)
            yield f"{name}.running_var", layer.moving_variance, (0,)
            continue
        else:
            assert not layer.weights, f"{name} is a {type(layer).__name__} with variables"
            continue
        if layer.use_bias:
            yield f"{name}.bias", layer.bias, (0,)


def tensors(model):
    """Every variable's values by its name and in its layout here."""
    found = {
        name: np.ascontiguousarray(np.transpose(value(variable), axes))
        for name, variable, axes in variables(model)
    }
    assert len(found) == len(model.weights), "a variable has no name, or two have one"
    return found


def value(variable):
    from keras import ops

    return ops.convert_to_numpy(variable)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=APPLICATIONS)
    parser.add_argument("source", help="imagenet, or a .h5, .weights.h5 or .keras file")
    parser.add_argument("target", help="the .safetensors file to write")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--no-top", action="store_true", help="the source has no classifier")
    arguments = parser.parse_args()
    backend(arguments.network)

    from safetensors.numpy import save_file

    imagenet = arguments.source == "imagenet"
    top = {"include_top": False} if arguments.no_top else {"classes": arguments.classes}
    if arguments.no_top and arguments.network == "keras_nasnet_mobile":
        top["input_shape"] = (224, 224, 3)
    model = build(arguments.network, weights="imagenet" if imagenet else None, **top)
    if not imagenet:
        model.load_weights(arguments.source)
    found = tensors(model)
    save_file(found, arguments.target, {"network": arguments.network, "source": arguments.source})
    os.chmod(arguments.target, 0o644)
    print(f"{arguments.target}: {len(found)} tensors, {sum(map(np.size, found.values()))} values")


if __name__ == "__main__":
    main()
