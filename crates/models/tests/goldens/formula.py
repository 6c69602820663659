"""Weights and inputs from a formula, the same as in formula.rs, so that none need be stored; and
the few numbers that are stored of each tensor."""

import numpy as np

CLASSES = 10
# Small, so that the loss after one step still hangs on the gradient and not on its curvature.
LEARNING_RATE = 1e-3


def uniform(name, shape):
    """Numbers in [-1, 1) from a name: splitmix64 of the name's fnv1a64 hash plus the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    z = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed)
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1).reshape(shape)


def parameter(name, shape, gain):
    """A variable in torch's layout. Layers keep the mean square of what a ReLU feeds them, those
    over single channels that of what they are fed; norms scale by about `gain`, those that narrow MobileNetV2's blocks by a
    quarter of it: the others' gain is large there, as only numbers above six tell a ReLU6 from a ReLU."""
    u = uniform(name, shape)
    if len(shape) >= 2:
        inputs = np.prod(shape[1:])
        u *= np.sqrt((3 if shape[1] == 1 else 6) / inputs)
    elif name.endswith("running_var"):
        u = 1 + 0.2 * u
    elif name.endswith("weight"):
        u = gain * (1 + 0.2 * u) * (0.25 if name.endswith("_project_BN.weight") else 1)
    else:
        u *= 0.1
    return u.astype(np.float32)


def images(shape):
    """A batch in [-1, 1), [N, C, ...]."""
    return uniform("input", shape).astype(np.float32)


def labels(count):
    return np.arange(count) * 3 % CLASSES


def numbers(name, values):
    """Mean, root mean square, and 16 values at places from a formula."""
    values = np.asarray(values, dtype=np.float64).ravel()
    places = ((uniform(f"places {name}", (16,)) + 1) / 2 * values.size).astype(np.int64)
    return np.concatenate([[values.mean(), np.sqrt(np.square(values).mean())], values[places]])


def rms(values):
    return np.sqrt(np.square(np.asarray(values, dtype=np.float64)).mean())
