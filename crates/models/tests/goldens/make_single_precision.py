"""Writes single_precision.tsv: how far the references themselves are in single precision from what they are in double,
for one step of training.

Ran with torch 2.11.0, torchvision 0.26.0, keras 3.15.1 (torch backend, jax 0.10.2 for NASNetMobile), monai 1.6.1,
numpy 2.4.6, two threads. `python make_single_precision.py` adds the networks that it lacks; the other files here must be
there.

Batch norms over few values blow rounding up, and rounding decides on which side of zero a number close to it falls, and
with it a ReLU's gradient: some networks with weights by formula are worse conditioned than single precision can bear.
How they round depends on the processor and on the number of threads, too. So the references run as they are and with
their weights and images changed at random by up to four roundings, unless the first run shows already that gradients are
worse than a thousandth. A line is a network, a quantity (logits, running
statistics, gradients, losses before and after a step) and the largest difference in any run of any of that quantity's
tensors, each as a part of its largest number (gradients: or of a hundredth of the largest of all, since what a norm
takes out again has no gradient but of rounding).
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
QUANTITIES = ("logits", "running", "gradients", "losses")


def difference(found, expected, scale=0.0):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.abs(found - expected).max() / max(scale, np.abs(expected).max())


def same(values):
    return values


def nudged(seed):
    generator = np.random.default_rng(seed)

    def nudge(values):
        change = generator.random(values.shape, np.float32)
        change -= np.float32(0.5)
        change *= np.float32(2.0**-21)
        change += np.float32(1)
        return values * change

    return nudge


# Gradients that differ by more than this in a first run say enough.
ILL_CONDITIONED = 1e-3
NUDGES = [same, *map(nudged, range(4))]


def torchvision_network(name, family):
    import torch
    from make_torchvision import batch, build, fill, trained
    from safetensors.torch import load_file

    golden = load_file(HERE / "torchvision" / f"{family}.safetensors")
    gradients = [value.abs().max() for key, value in golden.items() if key.startswith(f"{name}/train/gradients/")]
    floor = 1e-2 * float(max(gradients))
    network = build(name)
    with torch.no_grad():
        fill(network)
    start = {key: value.clone() for key, value in network.state_dict().items()}
    worst = 0.0
    for nudge in NUDGES:
        if worst > ILL_CONDITIONED:
            return
        for key, value in network.state_dict().items():
            value.copy_(torch.from_numpy(nudge(start[key].numpy())) if value.is_floating_point() else start[key])
        network.zero_grad()
        images = torch.from_numpy(nudge(batch().numpy())).float()
        for key, value in trained(network, images):
            part = key.split("/")[1]
            apart = difference(value.detach(), golden[f"{name}/{key}"], floor if part == "gradients" else 0.0)
            worst = max(worst, apart if part == "gradients" else 0.0)
            yield {"buffers": "running"}.get(part, part), apart


def other_network(name):
    from safetensors.numpy import load_file

    expected = load_file(HERE / f"{name}.safetensors")
    if name.startswith("keras_"):
        import make_keras

        make_keras.backend(name)
        runs = make_keras.trained(name, NUDGES)
    else:
        import make_monai
        import torch

        runs = make_monai.trained(name, torch.float32, NUDGES)
    floor = 1e-2 * expected["train.gradients"].max()
    worst = 0.0
    for found in runs:
        for quantity, apart in differences(found, expected, floor):
            worst = max(worst, apart if quantity == "gradients" else 0.0)
            yield quantity, apart
        if worst > ILL_CONDITIONED:
            return


def differences(found, expected, floor):
    for key, value in found.items():
        part = key.split(".")[1]
        if key.endswith(".logits"):
            yield "logits", difference(value, expected[key])
        elif part == "gradient":
            yield "gradients", difference(value, expected[key], floor)
        elif part == "gradients":
            yield from (("gradients", difference(*pair, floor)) for pair in zip(value, expected[key]))
        elif part == "running":
            yield from (("running", difference(*pair)) for pair in zip(value, expected[key]))
        else:
            yield "losses", difference(value, expected[key])


def lines(name, found):
    largest = {}
    for quantity, value in found:
        assert quantity in QUANTITIES and np.isfinite(value), (name, quantity, value)
        largest[quantity] = max(largest.get(quantity, 0.0), value)
    for quantity in QUANTITIES:
        if quantity in largest:
            yield f"{name}\t{quantity}\t{largest[quantity]:.1e}"


def main():
    sys.path.insert(0, str(HERE.parents[1] / "scripts"))
    if len(sys.argv) > 1:
        print("\n".join(lines(sys.argv[1], other_network(sys.argv[1]))))
        return
    from make_torchvision import FAMILIES

    path = HERE / "single_precision.tsv"
    known = {line.split("\t")[0] for line in path.read_text().splitlines()} if path.exists() else {}

    def write(found):
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in found)

    for family, (_, names) in FAMILIES.items():
        for name in [name for name in names if name not in known]:
            write(lines(name, torchvision_network(name, family)))
    for golden in sorted(path for path in HERE.glob("*.safetensors") if path.stem not in known):
        # Each in a process of its own, as Keras has one backend a process.
        command = [sys.executable, __file__, golden.stem]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        write(line for line in output.splitlines() if line.startswith(f"{golden.stem}\t"))


if __name__ == "__main__":
    main()
