"""Networks: this workspace against PyTorch and torchvision. `cargo xtask bench-peers models`.

Both sides have the same architecture, random weights, images of the same shape, and all cores. PyTorch runs eagerly as its
documentation shows, on torch 2.11.0, which is the libtorch of this workspace. Ours keep freed memory
(`models::keep_freed_memory`), as every program here that runs networks does; the peer has the allocator as Python starts it.
"""

import copy

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from interleave import HEADER, Table, median_ms

BATCH = 8
PEER = f"torch {torch.__version__}, eager"
# Ours in bf16 is held against it in single precision.
F32_PEER = f"{PEER}, f32"

table = Table("models", "peers_models")
bf16 = table.ours("has_bf16") > 0
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads, "
      f"the processor {'has' if bf16 else 'lacks'} bf16, "
      f"rebuilt networks run {'with packed' if table.ours('packs_weights') > 0 else 'without packed'} weights\n\n{HEADER}",
      flush=True)

images = torch.rand(BATCH, 3, 224, 224)
labels = torch.arange(BATCH)


def forward(network, kind=torch.float32):
    batch = images.to(kind)

    def run():
        with torch.no_grad():
            network(batch)

    return run


def training_step(network, kind=torch.float32):
    batch = images.to(kind)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def run():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch).float(), labels).backward()
        optimizer.step()

    return run


def bare(network, kind=torch.float32):
    """The network without batch norms and activations: what is left is convolutions, pools, sums and the head."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (torch.nn.BatchNorm2d, torch.nn.ReLU)):
                setattr(module, name, torch.nn.Identity())
    return network.to(kind)


def product(network):
    """The arithmetic of a forward pass in one piece."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(images)
    # Two operations each.
    side = round((counter.get_total_flops() / 2) ** (1 / 3))
    one, other = torch.rand(2, side, side).to(torch.bfloat16)
    return lambda: torch.mm(one, other)


def explain(run, what):
    """Measured only where a bar is missed."""
    table.explain(lambda peer: f"{what} takes PyTorch {median_ms(run()) / peer:.2f} of the peer's time.")


# The bars are ResNet-50's; the others are to be no slower.
for name, folded, bf16_bar, training in [("resnet50", 0.82, 0.35, 0.95), ("resnet18", 1, 1, 1)]:
    network = getattr(torchvision.models, name)(weights=None)
    step = training_step(network.train())
    table.add(f"training step {name}, batch {BATCH}", f"training/{name}", PEER, step, training, rounds=7)
    explain(lambda: training_step(bare(network)), "The same step without batch norms and activations")
    if bf16:
        table.add(f"training step in bf16 {name}, batch {BATCH}", f"training_bf16/{name}", F32_PEER, step, 1, rounds=7)
        explain(lambda: training_step(bare(network, torch.bfloat16), torch.bfloat16),
                "The same step in bf16 without batch norms and activations")
    run = forward(network.eval())
    table.add(f"forward as built {name}, batch {BATCH}", f"as_built/{name}", PEER, run, 1, rounds=11)
    explain(lambda: forward(bare(network)), "The forward pass without batch norms and activations")
    table.add(f"forward folded {name}, batch {BATCH}", f"folded/{name}", PEER, run, folded, rounds=11)
    explain(lambda: forward(bare(network)), "The forward pass without batch norms and activations")
    if bf16:
        table.add(f"forward bf16 {name}, batch {BATCH}", f"bf16/{name}", F32_PEER, run, bf16_bar, rounds=11)
        explain(lambda: product(network), "One matrix product in bf16 of as many multiply-adds as the convolutions have")

table.write()
