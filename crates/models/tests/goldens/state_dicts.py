"""Writes the small files of torch's beside which `src/state_dict` is tested.

    python crates/models/tests/goldens/state_dicts.py

Ran with torch 2.11.0 and torchvision 0.26.0. What is in each file, and what is to be read from it:

kinds.pth           tensors of every kind and of every way to lie in a storage
kinds-row.pth       the same in the format of torch before 1.6
kinds-protocol4.pth the same with the pickle's protocol 4
kinds-python2.pth   the same, less the kinds that came later, as torch 0.1.10 to 0.3 wrote it under Python 2
kinds.safetensors   the same, each tensor whole: what is to be read from the four
attributes.pth      `tensor` and `parameter`, the numbers 0 to 3, to which attributes were given in Python
resnet18.pth        ResNet-18 of 5 classes; the I-th variable by name is all I / 64
densenet121.pth     DenseNet-121 of 5 classes in the same manner, in torch 0.3's format and with the names of its time, as in
                    the file that torchvision publishes
googlenet.pth       GoogLeNet of 5 classes in the same manner, with auxiliary heads of zeros, as torchvision publishes it
checkpoint.pth      ResNet-18 in the old format, as the entry `model` of a checkpoint, from DataParallel
module.pth          a whole module, which is no state dict
"""

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

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


class Part:
    """A storage's numbers from `offset` on: such parts were storages of their own, and said whose part they are."""

    def __init__(self, tensor, key, offset=0):
        self.whole, self.key, self.offset = tensor.untyped_storage(), key, offset
        self.type = getattr(torch, torch.storage._dtype_to_storage_type_map()[tensor.dtype])
        self.numel = self.whole.nbytes() // tensor.element_size()


class Python2Pickler(pickle._Pickler):
    """As torch 0.3 pickled under Python 2: strings of bytes, ordered dictionaries as lists of pairs, tensors without
    gradients, parameters as a class that is called."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = {}
        self.dispatch_table = {
            OrderedDict: lambda entries: (OrderedDict, ([[key, value] for key, value in entries.items()],)),
            torch.Tensor: self.tensor,
            torch.nn.Parameter: lambda it: (torch.nn.Parameter, (it.data,), (it.requires_grad, False, OrderedDict())),
        }

    def tensor(self, tensor):
        key = str(tensor.untyped_storage()._cdata)
        # Where it can be, one that begins within another storage.
        offset = min(4, tensor.storage_offset())
        part = self.storages.setdefault((key, offset), Part(tensor, key, offset))
        size = torch.Size(tensor.size()) if tensor.dim() == 2 else tuple(tensor.size())
        return torch._utils._rebuild_tensor, (part, tensor.storage_offset() - offset, size, tensor.stride())

    def persistent_id(self, part):
        if isinstance(part, Part):
            view = (f"{part.key}-{part.offset}", part.offset, part.numel - part.offset) if part.offset else None
            return ("storage", part.type, part.key, "cpu", part.numel, view)

    def save_text(self, text):
        self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text.encode())
        self.memoize(text)

    dispatch[str] = save_text


def save_python2(state, path):
    with open(path, "wb") as file:
        for header in (
            torch.serialization.MAGIC_NUMBER,
            torch.serialization.PROTOCOL_VERSION,
            {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}},
        ):
            pickle.dump(header, file, protocol=2)
        pickler = Python2Pickler(file)
        pickler.dump(state)
        wholes = {part.key: part for part in pickler.storages.values()}
        pickle.dump(sorted(wholes), file, protocol=2)
        file.flush()
        for key in sorted(wholes):
            part = wholes[key]
            file.write(part.numel.to_bytes(8, "little"))
            file.write(bytes(part.whole.tolist()))
    read = torch.load(path, weights_only=True)
    assert list(read) == list(state) and all(torch.equal(read[name], state[name]) for name in state)


def numbered(network, but=()):
    """A state dict whose I-th variable by name is all I / 64, zeros for those whose name begins so."""
    variables = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    names = sorted(name for name in variables if not name.startswith(but))
    # One number that every place refers to, out of one storage: the file stays small.
    numbers = torch.arange(len(names)) / 64
    values = {name: numbers[index] for index, name in enumerate(names)}
    shapes = network.state_dict()
    return OrderedDict((name, values.get(name, numbers[0]).expand(shapes[name].shape)) for name in variables)


def resnet18():
    network = torchvision.models.resnet18(num_classes=5)
    state = network.state_dict()
    names = sorted(name for name in state if not name.endswith("num_batches_tracked"))
    for index, name in enumerate(names):
        state[name] = torch.tensor(index / 64).expand(state[name].shape)
    return state


def densenet121():
    network = torchvision.models.densenet121(num_classes=5)
    now = numbered(network)
    then = OrderedDict(
        (re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name), tensor) for name, tensor in now.items()
    )
    # As torchvision takes it.
    published = SimpleNamespace(get_state_dict=lambda **_: dict(then))
    torchvision.models.densenet._load_state_dict(network, published, progress=False)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in now.items())
    return then


HERE.mkdir(exist_ok=True)
torch.save(kinds(), HERE / "kinds.pth")
torch.save(kinds(), HERE / "kinds-row.pth", _use_new_zipfile_serialization=False)
torch.save(kinds(), HERE / "kinds-protocol4.pth", pickle_protocol=4)
old = kinds()
for later in ("bfloat16", "bool"):
    del old[later]
del old._metadata
save_python2(old, HERE / "kinds-python2.pth")
whole = {name: tensor.detach().clone().contiguous() for name, tensor in kinds().items()}
safetensors.torch.save_file(whole, HERE / "kinds.safetensors")
attributes = {"tensor": torch.arange(4.0), "parameter": torch.nn.Parameter(torch.arange(4.0))}
for tensor in attributes.values():
    tensor.decays = False
torch.save(attributes, HERE / "attributes.pth")
torch.save(resnet18(), HERE / "resnet18.pth")
save_python2(densenet121(), HERE / "densenet121.pth")
googlenet = torchvision.models.googlenet(num_classes=5, init_weights=False)
torch.save(numbered(googlenet, but="aux"), HERE / "googlenet.pth")
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
