"""Networks: this workspace against PyTorch and torchvision. `cargo xtask bench-peers models`.

Both sides have the same architecture, random weights, images of the same shape, and all cores. PyTorch runs eagerly as its
documentation shows, on torch 2.11.0, which is the libtorch of this workspace.
"""

import torch
import torchvision

from interleave import HEADER, Table

BATCH = 8
PEER = f"torch {torch.__version__}, eager"

table = Table("models", "peers_models")
bf16 = table.ours("has_bf16") > 0
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads, "
      f"the processor {'has' if bf16 else 'lacks'} bf16, "
      f"rebuilt networks run {'with packed' if table.ours('packs_weights') > 0 else 'without packed'} weights\n\n{HEADER}",
      flush=True)

images = torch.rand(BATCH, 3, 224, 224)
labels = torch.arange(BATCH)


def forward(network):
    def run():
        with torch.no_grad():
            network(images)

    return run


def training_step(network):
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def run():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return run


# The bars are ResNet-50's; the others are to be no slower.
for name, folded, bf16_bar, training in [("resnet50", 0.82, 0.35, 0.95), ("resnet18", 1, 1, 1)]:
    network = getattr(torchvision.models, name)(weights=None)
    step = training_step(network.train())
    table.add(f"training step {name}, batch {BATCH}", f"training/{name}", PEER, step, training, rounds=7)
    if bf16:
        table.add(f"training step in bf16 {name}, batch {BATCH}", f"training_bf16/{name}", PEER, step, 1, rounds=7)
    run = forward(network.eval())
    table.add(f"forward as built {name}, batch {BATCH}", f"as_built/{name}", PEER, run, 1, rounds=11)
    table.add(f"forward folded {name}, batch {BATCH}", f"folded/{name}", PEER, run, folded, rounds=11)
    if bf16:
        table.add(f"forward bf16 {name}, batch {BATCH}", f"bf16/{name}", PEER, run, bf16_bar, rounds=11)

table.write()
