"""Writes `src/onednn.pt`: oneDNN's fused convolutions and linear layers, which libtorch has and tch does not name, as TorchScript.

    python crates/models/scripts/onednn.py

Ran with torch 2.11.0. The archive holds no weights, only the calls below; libtorch looks the operators up by name when it
loads the archive, and refuses it where they are missing. They are the ones that TorchInductor puts into its graphs
(`torch/_inductor/fx_passes/mkldnn_fusion.py`).
"""

from pathlib import Path

import torch

CONVOLUTION = "padding: List[int], stride: List[int], dilation: List[int], groups: int"
ARGUMENTS = "padding, stride, dilation, groups"
INPUT = "x: Tensor, weight: Tensor, bias: Optional[Tensor]"

# Written as text: Python has no word for the operators' type `Scalar?[]`.
SOURCE = f"""
def pack(self, weight: Tensor, {CONVOLUTION}, input_size: List[int]) -> Tensor:
    return torch.ops.mkldnn._reorder_convolution_weight(weight, {ARGUMENTS}, input_size)

def convolve(self, {INPUT}, {CONVOLUTION}, activation: str) -> Tensor:
    scalars : List[Optional[number]] = []
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, {ARGUMENTS}, activation, scalars, "none")

def convolve_clamp(self, {INPUT}, {CONVOLUTION}, low: float, high: float) -> Tensor:
    scalars : List[Optional[number]] = [low, high]
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, {ARGUMENTS}, "hardtanh", scalars, "")

def convolve_add_(self, sum: Tensor, {INPUT}, {CONVOLUTION}, activation: Optional[str]) -> Tensor:
    scalars : List[Optional[number]] = []
    return torch.ops.mkldnn._convolution_pointwise_(
        sum, x, weight, bias, {ARGUMENTS}, "add", 1.0, activation, scalars, "")

def pack_linear(self, weight: Tensor, rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, rows)

def linear(self, {INPUT}, activation: str) -> Tensor:
    scalars : List[Optional[number]] = []
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, scalars, "none")
"""


class OneDnn(torch.nn.Module):
    pass


module = torch.jit.script(OneDnn())
module.define(SOURCE)
torch.jit.save(module, str(Path(__file__).parent.parent / "src" / "onednn.pt"))

# What was written does what it should.
module = torch.jit.load(str(Path(__file__).parent.parent / "src" / "onednn.pt"))
for axes in (2, 3):
    x, weight, bias = torch.randn(2, 8, *[5] * axes), torch.randn(4, 8, *[3] * axes), torch.randn(4)
    settings = [1] * axes, [1] * axes, [1] * axes, 1
    packed = module.pack(weight, *settings, list(x.shape))
    expected = getattr(torch.nn.functional, f"conv{axes}d")(x, weight, bias, padding=1)
    close = torch.testing.assert_close
    close(module.convolve(x, packed, bias, *settings, "none"), expected)
    close(module.convolve(x, packed, bias, *settings, "gelu"), torch.nn.functional.gelu(expected))
    close(module.convolve_clamp(x, packed, bias, *settings, 0.0, 6.0), torch.nn.functional.relu6(expected))
    other = torch.randn_like(expected)
    close(module.convolve_add_(other.clone(), x, packed, bias, *settings, "relu"), (expected + other).relu())
    close(module.convolve_add_(other.clone(), x, packed, bias, *settings, None), expected + other)
x, weight, bias = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3)
packed = module.pack_linear(weight, 5)
expected = torch.nn.functional.linear(x, weight, bias)
close(module.linear(x, packed, bias, "none"), expected)
close(module.linear(x, packed, bias, "gelu"), torch.nn.functional.gelu(expected))
