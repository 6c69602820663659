"""Converts the weights of a Keras application to the safetensors that `models` loads by name.

Ran with keras 3.15.1 (torch 2.11.0 backend, jax 0.10.2 for NASNetMobile), h5py 3.16.0,
safetensors 0.8.0, numpy 2.4.6.

    python keras_to_safetensors.py keras_xception imagenet xception.safetensors
    python keras_to_safetensors.py keras_densenet121 tuned.weights.h5 tuned.safetensors --classes 2

The source is `imagenet` (Keras fetches it), a whole model's `.h5` or `.keras` file, or a
`.weights.h5` file. With `--no-top` it is one without the classifier (`include_top=False`); the
result then lacks `predictions.weight` and `predictions.bias`. MobileNetV2 of another width than 1 is
asked for with `--alpha 0.35`, and loaded with `NetworkConfig::with_width(0.35)`.

With `--own-top` the source is a whole model (`.h5` or `.keras`) that you made of the application
without its classifier and layers of your own, in one graph or the one within the other:

    python keras_to_safetensors.py keras_mobilenet_v2 mine.keras mine.safetensors --own-top

The application's layers are found by order, kind and shape, whatever number Keras gave them. If what
comes behind is a mean over space and one Dense layer, with dropout and a final softmax or sigmoid if
any, then that layer becomes `predictions`. Otherwise the result lacks it, and is loaded with
`Head::Replace`. Every layer that is left out is named: what lies before the application, such as a
Rescaling, is then for you to do.

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
    for layer in model.layers:
        yield from layer_variables(layer, layer.name)


def layer_variables(layer, name):
    from keras import layers

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
        return
    else:
        assert not layer.weights, f"{name} is a {type(layer).__name__} with variables"
        return
    if layer.use_bias:
        yield f"{name}.bias", layer.bias, (0,)


def tensors(model):
    """Every variable's values by its name and in its layout here."""
    found = arrays(variables(model))
    assert len(found) == len(model.weights), "a variable has no name, or two have one"
    return found


def arrays(variables):
    return {name: np.ascontiguousarray(np.transpose(value(variable), axes)) for name, variable, axes in variables}


def value(variable):
    from keras import ops

    return ops.convert_to_numpy(variable)


def flattened(model):
    """The layers of a model and of the models within it, in order."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from flattened(layer)
        else:
            yield layer


def same_layer(layer, application, first):
    """Whether a layer of a user's model can be this one of the application's, whose images may have other channels."""
    if type(layer) is not type(application):
        return False
    shapes = [[list(weight.shape) for weight in one.weights] for one in (layer, application)]
    if first:
        for weights in shapes:
            weights[0][2] = None
    return shapes[0] == shapes[1]


def own_top(name, model, **settings):
    """The tensors of a user's model on top of the application, the layer that became `predictions` (or None), and
    descriptions of the layers that are left out."""
    from keras import layers

    arguments = {"input_shape": (224, 224, 3)} if name == "keras_nasnet_mobile" else {}
    base = build(name, weights=None, include_top=False, **arguments, **settings)
    weighted = [layer for layer in base.layers if layer.weights]
    owned = list(flattened(model))
    found, taken = {}, []
    for place, layer in enumerate(owned):
        if len(taken) < len(weighted) and same_layer(layer, weighted[len(taken)], not taken):
            found |= arrays(layer_variables(layer, weighted[len(taken)].name))
            taken.append(place)
    if len(taken) < len(weighted):
        lacking = weighted[len(taken)]
        raise SystemExit(f"the model is not on top of {name}: no layer like its `{lacking.name}` is where it should be")

    # What the application does after its last variables is here by kind; the rest is the user's.
    end = taken[-1] + 1
    for layer in base.layers[base.layers.index(weighted[-1]) + 1 :]:
        if end < len(owned) and type(owned[end]) is type(layer):
            end += 1
    before, behind = owned[: taken[0]], owned[end:]
    between = [owned[place] for place in range(taken[0], end) if owned[place].weights and place not in taken]
    outputs = ("softmax", "sigmoid", "linear")
    dense = [place for place, layer in enumerate(behind) if isinstance(layer, layers.Dense)]
    head = None
    if len(dense) == 1:
        (place,) = dense
        pooled = any(isinstance(layer, layers.GlobalAveragePooling2D) for layer in behind[:place])
        kept = (layers.GlobalAveragePooling2D, layers.Dropout, layers.Flatten)
        plain = all(isinstance(layer, kept) for layer in behind[:place]) and not between
        is_output = all(
            isinstance(layer, layers.Softmax) or getattr(getattr(layer, "activation", None), "__name__", "") in outputs
            for layer in behind[place:]
        )
        if pooled and plain and is_output:
            head = behind[place]
            found |= arrays(layer_variables(head, "predictions"))
            found.setdefault("predictions.bias", np.zeros(head.units, np.float32))
    # With a head, what comes behind the application is what this network does behind it too.
    rest = before if head else before + between + behind
    rest = [layer for layer in rest if not isinstance(layer, layers.InputLayer)]
    return found, head, [f"`{layer.name}` ({type(layer).__name__})" for layer in rest]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=APPLICATIONS)
    parser.add_argument("source", help="imagenet, or a .h5, .weights.h5 or .keras file")
    parser.add_argument("target", help="the .safetensors file to write")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--alpha", type=float, help="the width of keras_mobilenet_v2")
    parser.add_argument("--no-top", action="store_true", help="the source has no classifier")
    parser.add_argument("--own-top", action="store_true", help="the source has layers of your own instead")
    arguments = parser.parse_args()
    if arguments.alpha is not None and arguments.network != "keras_mobilenet_v2":
        parser.error(f"--alpha is a setting of keras_mobilenet_v2, not of {arguments.network}")
    settings = {} if arguments.alpha is None else {"alpha": arguments.alpha}
    backend(arguments.network)

    from safetensors.numpy import save_file

    def save(found):
        save_file(found, arguments.target, {"network": arguments.network, "source": arguments.source})
        os.chmod(arguments.target, 0o644)
        print(f"{arguments.target}: {len(found)} tensors, {sum(map(np.size, found.values()))} values")

    if arguments.own_top:
        import keras

        found, head, rest = own_top(arguments.network, keras.models.load_model(arguments.source, compile=False), **settings)
        save(found)
        if head is None:
            print("no layer became `predictions`: load it with Head::Replace")
        else:
            print(f"`{head.name}` became `predictions`, {head.units} outputs")
        if rest:
            print(f"left out: {', '.join(rest)}")
        return

    imagenet = arguments.source == "imagenet"
    top = {"include_top": False} if arguments.no_top else {"classes": arguments.classes}
    if arguments.no_top and arguments.network == "keras_nasnet_mobile":
        top["input_shape"] = (224, 224, 3)
    model = build(arguments.network, weights="imagenet" if imagenet else None, **top, **settings)
    if not imagenet:
        model.load_weights(arguments.source)
    save(tensors(model))


if __name__ == "__main__":
    main()
