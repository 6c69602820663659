"""Writes the small files of torch's beside which `src/state_dict` is tested.

    python crates/models/tests/goldens/state_dicts.py

Ran with torch 2.11.0 and torchvision 0.26.0. What is in each file, and what is to be read from it:

kinds.pth           tensors of every kind and of every way to lie in a storage
kinds-row.pth       the same in the format of torch before 1.6
kinds-protocol4.pth the same with the pickle's protocol 4
kinds.safetensors   the same, each tensor whole: what is to be read from the three
resnet18.pth        ResNet-18 of 5 classes; the I-th variable by name is all I / 64
checkpoint.pth      the same in the old format, as the entry `model` of a checkpoint, from DataParallel
module.pth          a whole module, which is no state dict
"""

from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch
import torchvision

HERE = Path(__file__).parent / "state_dicts"


def kinds():
    numbers = torch.arange(24, dtype=torch.float32) / 8 - 1
    grid = numbers.view(2, 3, 4)
    tensors = OrderedDict(
        whole=grid,
        transposed=grid.permute(2, 0, 1),
        part=grid[1, 1:, ::2],
        channels_last=numbers.view(1, 2, 3, 4).to(memory_format=torch.channels_last).clone(),
        repeated=numbers[5:6].expand(2, 1000),
        scalar=numbers[7],
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.tensor([0.5, -2.0])),
    )
    for kind in (
        "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8".split()
    ):
        tensors[kind] = torch.tensor([0, 1, 2, 100]).to(getattr(torch, kind))
    tensors["bool"] = torch.tensor([True, False, True])
    tensors._metadata = OrderedDict({"": {"version": 1}})
    return tensors


def resnet18():
    network = torchvision.models.resnet18(num_classes=5)
    names = sorted(name for name in network.state_dict() if not name.endswith("num_batches_tracked"))
    state = network.state_dict()
    for index, name in enumerate(names):
        # One number that every place refers to: the file stays small.
        state[name] = torch.tensor(index / 64).expand(state[name].shape)
    return state


HERE.mkdir(exist_ok=True)
torch.save(kinds(), HERE / "kinds.pth")
torch.save(kinds(), HERE / "kinds-row.pth", _use_new_zipfile_serialization=False)
torch.save(kinds(), HERE / "kinds-protocol4.pth", pickle_protocol=4)
whole = {name: tensor.detach().clone().contiguous() for name, tensor in kinds().items()}
safetensors.torch.save_file(whole, HERE / "kinds.safetensors")
torch.save(resnet18(), HERE / "resnet18.pth")
checkpoint = {
    "epoch": 90,
    "best": 0.75,
    "classes": ["tumour", "normal"],
    "model": OrderedDict(("module." + name, tensor) for name, tensor in resnet18().items()),
    "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "nesterov": False}]},
}
checkpoint["model"]["module.projector.weight"] = torch.ones(2, 2)
torch.save(checkpoint, HERE / "checkpoint.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 1), HERE / "module.pth")
