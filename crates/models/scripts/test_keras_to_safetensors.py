"""Converts weights saved in each of Keras's formats and compares every tensor: `python
test_keras_to_safetensors.py`. Ran with keras 3.15.1, torch 2.11.0, h5py 3.16.0, safetensors 0.8.0."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import keras_to_safetensors as converter

NETWORK = "keras_mobilenet_v2"
converter.backend(NETWORK)

from safetensors.numpy import load_file  # noqa: E402


def converted(source, *options):
    target = source.with_suffix(".safetensors")
    sys.argv = ["keras_to_safetensors.py", NETWORK, str(source), str(target), *options]
    converter.main()
    return load_file(target)


def randomised(**arguments):
    model = converter.build(NETWORK, weights=None, **arguments)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(generator.random(variable.shape, dtype=np.float32))
    return model, converter.tensors(model)


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
