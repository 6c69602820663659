"""Writes a small network of a user's own as two TorchScript files, and what it gives.

    python crates/models/tests/goldens/torch_script.py

Ran with torch 2.11.0. `trunk.pt` is scripted and `head.pt` traced, as both are in use;
`expected.safetensors` has an input, the trunk's output, the logits, and the gradient of the second
logit with respect to the trunk's output, all in evaluation mode. `pair.pt` gives two tensors.
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

HERE = Path(__file__).parent / "torch_script"
HERE.mkdir(exist_ok=True)
torch.manual_seed(1)

trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)).eval()
with torch.no_grad():
    trunk[1].running_mean.uniform_(-0.5, 0.5)
    trunk[1].running_var.uniform_(0.5, 1.5)
head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()

x = torch.rand(2, 3, 6, 5)
features = trunk(x)
activations = features.detach().requires_grad_()
logits = head(activations)
(gradient,) = torch.autograd.grad(logits[:, 1].sum(), activations)

torch.jit.script(trunk).save(str(HERE / "trunk.pt"))
torch.jit.trace(head, features.detach()).save(str(HERE / "head.pt"))
expected = {"input": x, "trunk": features, "logits": logits, "gradient": gradient}
expected = {name: tensor.detach().contiguous() for name, tensor in expected.items()}
safetensors.torch.save_file(expected, HERE / "expected.safetensors")


class Pair(nn.Module):
    def forward(self, x):
        return x, x


torch.jit.script(Pair()).save(str(HERE / "pair.pt"))
