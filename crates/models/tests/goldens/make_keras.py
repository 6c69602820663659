"""Writes the keras_*.safetensors files here: what Keras's applications make of weights and inputs
from formula.py.

Ran with keras 3.15.1 on the torch 2.11.0 backend, NASNetMobile on the jax 0.10.2 one (Keras refuses
it on torch); safetensors 0.8.0, numpy 2.4.6. `python make_keras.py` writes all, `python
make_keras.py keras_xception` one.

Keras runs in double precision here, on weights and inputs rounded to single: the numbers are those
of the definition, not of one more order of rounding. A file holds

    gain                   what norms scale by, chosen to keep signals in range
    HxW.stage.NAME         18 numbers (formula.numbers) of every stage's output for a batch of two in
                           evaluation mode, at an even and at an odd size; the last are the logits
    HxW.gradient.NAME      18 numbers of the gradient of the samples' classes' logits by the output of some of
                           NASNet's cells, with what earlier cells put out held fixed, at the first size
    train.HxW.logits       of a batch of four in training mode
    train.loss             cross-entropy before and after one step of gradient descent
    train.gradients        root mean square of every trained variable's gradient, by sorted name
    train.gradient.NAME    18 numbers of some gradients
    train.running          root mean square of all running statistics after the first forward pass,
                           by sorted name
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
from formula import CLASSES, LEARNING_RATE, images, labels, numbers, parameter, rms  # noqa: E402
from keras_to_safetensors import backend, build, value, variables  # noqa: E402


def numbered(name, places):
    """Keras's names of layers that were given none."""
    return [f"{name}_{place}" if place else name for place in places]


def after(stem, *ends):
    return [stem + end for end in ends]


# Stages are named after the layer that they end with.
XCEPTION = (
    [f"block1_{conv}{end}" for conv in ("conv1", "conv2") for end in ("", "_bn", "_act")]
    + numbered("add", range(12))
    + [f"block14_{conv}{end}" for conv in ("sepconv1", "sepconv2") for end in ("", "_bn", "_act")]
    + ["avg_pool", "predictions"]
)


def inception_stem(place):
    return [numbered(name, [place])[0] for name in ("conv2d", "batch_normalization", "activation")]


INCEPTION_V3 = (
    [*inception_stem(0), *inception_stem(1), *inception_stem(2), "max_pooling2d"]
    + [*inception_stem(3), *inception_stem(4), "max_pooling2d_1"]
    + [f"mixed{block}" for block in range(11)]
    + ["avg_pool", "predictions"]
)
DENSENET121 = ["conv1_conv", "conv1_bn", "conv1_relu", "pool1"]
for stage, blocks in ((2, 6), (3, 12), (4, 24), (5, 16)):
    DENSENET121 += [f"conv{stage}_block{block}_concat" for block in range(1, blocks + 1)]
    if stage < 5:
        DENSENET121 += after(f"pool{stage}", "_bn", "_relu", "_conv", "_pool")
DENSENET121 += ["bn", "relu", "avg_pool", "predictions"]
RESNET50_V2 = (
    ["conv1_conv", "pool1_pad", "pool1_pool"]
    + [f"conv{stage}_block{block + 1}_out" for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)) for block in range(blocks)]
    + ["post_bn", "post_relu", "avg_pool", "predictions"]
)
NASNET_MOBILE = (
    ["stem_conv1", "stem_bn1", "reduction_concat_stem_1", "reduction_concat_stem_2"]
    + [f"normal_concat_{cell}" for cell in range(4)]
    + ["reduction_concat_reduce_4"]
    + [f"normal_concat_{cell}" for cell in range(5, 9)]
    + ["reduction_concat_reduce_8"]
    + [f"normal_concat_{cell}" for cell in range(9, 13)]
    + ["activation_187", "global_average_pooling2d", "predictions"]
)
WITHOUT_SHORTCUT = (1, 3, 6, 10, 13, 16)
MOBILENET_V2 = (
    ["Conv1", "bn_Conv1", "Conv1_relu", "expanded_conv_project_BN"]
    + [f"block_{block}_{'project_BN' if block in WITHOUT_SHORTCUT else 'add'}" for block in range(1, 17)]
    + ["Conv_1", "Conv_1_bn", "out_relu", "global_average_pooling2d", "predictions"]
)

# Stages, gain, sizes in evaluation mode, size in training mode. The least sizes are Keras's own.
NETWORKS = {
    "keras_xception": (XCEPTION, 0.7, [(72, 80), (77, 71)], (76, 72)),
    "keras_inception_v3": (INCEPTION_V3, 1.0, [(76, 88), (95, 79)], (107, 109)),
    "keras_densenet121": (DENSENET121, 0.7, [(32, 64), (75, 61)], (64, 68)),
    "keras_resnet50_v2": (RESNET50_V2, 0.7, [(32, 64), (75, 61)], (64, 68)),
    "keras_nasnet_mobile": (NASNET_MOBILE, 0.7, [(32, 64), (75, 61)], (64, 68)),
    "keras_mobilenet_v2": (MOBILENET_V2, 1.7, [(32, 64), (75, 61)], (64, 68)),
}


# Networks by a setting of Keras's: its name for them, and the setting.
SETTINGS = {}
for alpha in (0.35, 1.4):
    SETTINGS[f"keras_mobilenet_v2_width_{alpha}"] = ("keras_mobilenet_v2", {"alpha": alpha})
    NETWORKS[f"keras_mobilenet_v2_width_{alpha}"] = NETWORKS["keras_mobilenet_v2"]


def filled(name, size, gain):
    """The network for one input size (Keras fixes some paddings when it builds), weights by formula."""
    name, settings = SETTINGS.get(name, (name, {}))
    model = build(name, weights=None, classes=CLASSES, input_shape=(*size, 3), **settings)
    for key, variable, axes in variables(model):
        # A permuted shape's array, brought back to Keras's layout.
        shape = tuple(variable.shape[axis] for axis in axes)
        variable.assign(np.transpose(parameter(key, shape, gain), np.argsort(axes)))
    return model


def batch(count, size):
    return np.transpose(images((count, 3, *size)), (0, 2, 3, 1)).astype(np.float64)


def channels_first(array):
    return np.moveaxis(np.asarray(array), -1, 1)


def torch_gradients(model):
    import torch

    def gradients(inputs, targets):
        model.zero_grad()
        logits = model(inputs, training=True)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets))
        loss.backward()
        gradients = [variable.value.grad.numpy().copy() for variable in model.trainable_variables]
        return float(loss.detach()), logits.detach().numpy(), gradients

    return gradients


def jax_gradients(model):
    import jax

    def loss(trained, others, inputs, targets):
        logits, others = model.stateless_call(trained, others, inputs, training=True)
        chosen = jax.nn.log_softmax(logits)[np.arange(len(targets)), targets]
        return -chosen.mean(), (logits, others)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def gradients(inputs, targets):
        trained = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        (loss, (logits, others)), gradients = step(trained, others, inputs, targets)
        for variable, updated in zip(model.non_trainable_variables, others):
            variable.assign(updated)
        return float(loss), np.asarray(logits), [np.asarray(gradient) for gradient in gradients]

    return gradients


def trained(name, nudges):
    """Training mode, and the loss before and after a step of gradient descent, in Keras's present precision: once for
    each function of `nudges`, which is applied to the weights and the images."""
    import keras

    _, gain, _, training = NETWORKS[name]
    model = filled(name, training, gain)
    compute = (jax_gradients if keras.backend.backend() == "jax" else torch_gradients)(model)
    start = [value(variable).copy() for variable in model.variables]
    named = {variable.path: (key, axes) for key, variable, axes in variables(model)}
    for nudge in nudges:
        for variable, values in zip(model.variables, start):
            variable.assign(nudge(values))
        inputs, targets = nudge(batch(4, training)), labels(4)
        found = {}
        loss, logits, gradients = compute(inputs, targets)
        found[f"train.{training[0]}x{training[1]}.logits"] = logits
        updates = {}
        for variable, gradient in zip(model.trainable_variables, gradients):
            key, axes = named[variable.path]
            updates[key] = np.transpose(gradient, axes)
        keys = sorted(updates)
        found["train.gradients"] = np.array([rms(updates[key]) for key in keys])
        for key in {*keys[:: len(keys) // 8], "predictions.weight", "predictions.bias"}:
            found[f"train.gradient.{key}"] = numbers(key, updates[key])
        running = {key: value(variable) for key, variable, _ in variables(model) if ".running_" in key}
        found["train.running"] = np.array([rms(running[key]) for key in sorted(running)])
        for variable, gradient in zip(model.trainable_variables, gradients):
            variable.assign(value(variable) - LEARNING_RATE * gradient)
        found["train.loss"] = np.array([loss, compute(inputs, targets)[0]])
        yield found


def nasnet_gradients(model, size):
    """Of the logits of each sample's class, by what every fourth cell puts out. The next cell looks at the output of the
    cell before, too, which is held fixed."""
    import jax
    import keras

    for cell in range(NASNET_MOBILE.index("reduction_concat_stem_1"), NASNET_MOBILE.index("normal_concat_12"), 4):
        outputs = [model.get_layer(NASNET_MOBILE[place]).output for place in (cell, cell - 1)]
        values = keras.Model(model.inputs, outputs).predict_on_batch([batch(2, size)])
        tail = keras.Model(outputs, model.outputs[0])
        weights = [[variable.value for variable in part] for part in (tail.trainable_variables, tail.non_trainable_variables)]

        def score(*outputs):
            logits, _ = tail.stateless_call(*weights, list(outputs), training=False)
            return logits[np.arange(2), labels(2)].sum()

        yield NASNET_MOBILE[cell], channels_first(jax.grad(score)(*values))


def write(name):
    backend(name)
    import keras
    from safetensors.numpy import save_file

    keras.config.set_floatx("float64")
    # Even so, Keras computes means and norms in single precision: by this table, it has doubles with TensorFlow only.
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    jax = keras.backend.backend() == "jax"
    if jax:
        import jax as module

        module.config.update("jax_enable_x64", True)
    else:
        import torch as module
    versions = {"keras": keras.__version__, keras.backend.backend(): module.__version__.split("+")[0]}
    assert versions["keras"] == "3.15.1" and versions.get("torch", "2.11.0") == "2.11.0", versions
    assert versions.get("jax", "0.10.2") == "0.10.2", versions

    stages, gain, sizes, _ = NETWORKS[name]
    found = {"gain": np.array([gain])}
    for size in sizes:
        model = filled(name, size, gain)
        whole = keras.Model(model.inputs, [model.get_layer(stage).output for stage in stages])
        outputs = whole.predict_on_batch([batch(2, size)]) if jax else whole([batch(2, size)], training=False)
        print(f"{name} {size[0]}x{size[1]}, root mean square of each stage:")
        for stage, output in zip(stages, outputs):
            output = channels_first(output if jax else output.detach().numpy())
            key = f"{size[0]}x{size[1]}.stage.{stage}"
            found[key] = numbers(stage, output)
            print(f"    {stage} {output.shape[1:]} {found[key][1]:.3g}")
        if stages is NASNET_MOBILE and size == sizes[0]:
            for stage, gradient in nasnet_gradients(model, size):
                found[f"{size[0]}x{size[1]}.gradient.{stage}"] = numbers(stage, gradient)
                print(f"    gradient at {stage} {gradient.shape[1:]} {rms(gradient):.3g}")

    found |= next(trained(name, [lambda values: values]))
    print(f"    loss {found['train.loss']}, gradients {found['train.gradients'].min():.2g} to {found['train.gradients'].max():.2g}")

    path = HERE / f"{name}.safetensors"
    save_file({key: np.ascontiguousarray(array, np.float64) for key, array in found.items()}, path, versions)
    path.chmod(0o644)
    assert path.stat().st_size < 300_000, path


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(sys.argv[1])
    else:
        # Each in a process of its own, as Keras has one backend a process.
        for name in NETWORKS:
            subprocess.run([sys.executable, __file__, name], check=True)
