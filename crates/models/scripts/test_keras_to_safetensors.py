"""Converts weights saved in each of Keras's formats, and models with tops of their own, and compares every tensor: `python
test_keras_to_safetensors.py`. Ran with keras 3.15.1, torch 2.11.0, h5py 3.16.0, safetensors 0.8.0."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import keras_to_safetensors as converter

NETWORK = "keras_mobilenet_v2"
converter.backend(NETWORK)

from safetensors.numpy import load_file  # noqa: E402


def converted(source, *options, network=NETWORK):
    target = source.with_suffix(".safetensors")
    sys.argv = ["keras_to_safetensors.py", network, str(source), str(target), *options]
    converter.main()
    return load_file(target)


def randomised(network=NETWORK, **arguments):
    model = converter.build(network, weights=None, **arguments)
    randomise(model)
    return model, converter.tensors(model)


def randomise(model):
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.random(variable.shape, dtype=np.float32))


def own_top(model, network=NETWORK):
    """What is converted, the name of the layer that became the head, and the names of those left out."""
    found, head, rest = converter.own_top(network, model)
    return found, head and head.name, [description.split("`")[1] for description in rest]


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    model, expected = randomised(classes=2)
    model.save_weights(folder / "weights.weights.h5")
    model.save(folder / "whole.h5")
    model.save(folder / "whole.keras")
    for name in ("weights.weights.h5", "whole.h5", "whole.keras"):
        same(converted(folder / name, "--classes", "2"), expected)
    model, expected = randomised(include_top=False)
    model.save_weights(folder / "no_top.weights.h5")
    same(converted(folder / "no_top.weights.h5", "--no-top"), expected)

    # Of another width.
    model, expected = randomised(classes=2, alpha=0.35)
    model.save_weights(folder / "narrow.weights.h5")
    same(converted(folder / "narrow.weights.h5", "--classes", "2", "--alpha", "0.35"), expected)
    try:
        converted(folder / "narrow.weights.h5", "--alpha", "0.35", network="keras_xception")
        raise AssertionError("a width was taken for a network without one")
    except SystemExit as refusal:
        assert refusal.code == 2, refusal

    # Tops of one's own: in the same graph, around the application, and of more layers than one.
    import keras
    from keras import layers

    def head(base, *tops):
        x = base.output
        for top in tops:
            x = top(x)
        return keras.Model(base.input, x)

    def with_head(expected, dense):
        kernel, bias = dense.get_weights()
        return expected | {"predictions.weight": kernel.T, "predictions.bias": bias}

    base, expected = randomised(include_top=False, input_shape=(96, 96, 3))
    dense = layers.Dense(3, activation="softmax", name="mine")
    model = head(base, layers.GlobalAveragePooling2D(), layers.Dropout(0.5), dense)
    for name in ("own.h5", "own.keras"):
        model.save(folder / name)
        same(converted(folder / name, "--own-top"), with_head(expected, dense))

    base, expected = randomised(include_top=False, input_shape=(96, 96, 3), alpha=0.35)
    dense = layers.Dense(3, name="mine")
    head(base, layers.GlobalAveragePooling2D(), dense).save(folder / "narrow.keras")
    same(converted(folder / "narrow.keras", "--own-top", "--alpha", "0.35"), with_head(expected, dense))

    base, expected = randomised(include_top=False, input_shape=(96, 96, 3))
    dense = layers.Dense(1, name="mine")
    tops = [layers.GlobalAveragePooling2D(), dense, layers.Activation("sigmoid")]
    model = keras.Sequential([layers.Input((96, 96, 3)), layers.Rescaling(1 / 127.5, -1, name="scale"), base, *tops])
    model.save(folder / "nested.keras")
    same(converted(folder / "nested.keras", "--own-top"), with_head(expected, dense))
    found, name, rest = own_top(model)
    same(found, with_head(expected, dense))
    assert (name, rest) == ("mine", ["scale"]), (name, rest)

    for tops in (
        [layers.GlobalAveragePooling2D(), layers.Dense(8, activation="relu", name="one"), layers.Dense(2, name="two")],
        [layers.GlobalMaxPooling2D(), layers.Dense(2, name="two")],
        [layers.Conv2D(8, 1, name="one"), layers.GlobalAveragePooling2D(), layers.Dense(2, name="two")],
        [layers.GlobalAveragePooling2D(), layers.BatchNormalization(name="one"), layers.Dense(2, name="two")],
    ):
        base, expected = randomised(include_top=False, input_shape=(96, 96, 3))
        found, name, rest = own_top(head(base, *tops))
        same(found, expected)
        assert name is None and "two" in rest, (name, rest)

    # Numbered by Keras as no fresh session would; one channel.
    network = "keras_inception_v3"
    _, expected = randomised(network, include_top=False, input_shape=(96, 96, 1))
    base = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(96, 96, 1), pooling="avg")
    assert "conv2d" not in {layer.name for layer in base.layers}
    randomise(base)
    dense = layers.Dense(2, name="mine")
    same(own_top(head(base, dense), network)[0], with_head(expected, dense))

    try:
        own_top(model, network)
        raise AssertionError("another application was taken for this one")
    except SystemExit as refusal:
        assert "the model is not on top of keras_inception_v3: no layer like" in str(refusal), refusal
