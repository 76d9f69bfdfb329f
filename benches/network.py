"""PyTorch's side of the bench of the networks: training and inference of the two models that `cargo bench -- network` times.

    python benches/network.py [--threads 4] [--seconds 3] [--turns 3] [--ferrostem "cargo bench -q --bench speed -- network"]

The same networks: unpadded 3 x 3 convolutions 1-32-32, pooling, 32-64-64, pooling, 128 hidden, 2 outputs, batches of 64 in f32.
Model A sees 32 x 32 pixels; model B 64 x 64 and has batch normalization after each of the four convolutions. A training step is
forward, mean squared error, backward, AdamW. Inference is without gradients, in evaluation mode. PyTorch runs channels last
(f32), and once more under bf16 autocast. With --ferrostem the two programs take turns in one run, and medians are printed beside
each other; times of a machine that is shared differ from turn to turn, so the ratio of a turn counts. Rates per second of processor time (all
threads together) tell more there; with --threads 1 PyTorch's threads do not wait for each other, which counts as processor time.
"""

import argparse
import os
import re
import statistics
import subprocess
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=4)
parser.add_argument("--seconds", type=float, default=3.0)
parser.add_argument("--turns", type=int, default=3)
parser.add_argument("--ferrostem", help="command that prints ferrostem's lines")
parser.add_argument("--one", action="store_true", help="one turn of PyTorch alone, as lines")
arguments = parser.parse_args()

BATCH = 64


def model(torch, normalized, side):
    """The network for sub-images of `side` pixels."""
    nn = torch.nn
    layers, inputs = [], 1
    for outputs in (32, 32), (64, 64):
        for channels in outputs:
            layers.append(nn.Conv2d(inputs, channels, 3, bias=not normalized))
            if normalized:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU())
            inputs = channels
        layers.append(nn.MaxPool2d(2))
    left = ((side - 4) // 2 - 4) // 2
    layers += [nn.Conv2d(64, 128, left), nn.ReLU(), nn.Conv2d(128, 2, 1), nn.Flatten()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def rate(work):
    """Samples per second of `work`, which does one batch, and per second of processor time of all threads."""
    for _ in range(3):
        work()
    count, start, processor = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < arguments.seconds:
        work()
        count += 1
    used = time.process_time() - processor
    return f"{count * BATCH / elapsed:.0f} samples/s, {count * BATCH / used:.0f} per processor second"


def torch_lines():
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    for name, normalized, side in ("A", False, 32), ("B", True, 64):
        network = model(torch, normalized, side)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        images = torch.randn(BATCH, 1, side, side).to(memory_format=torch.channels_last)
        targets = torch.randn(BATCH, 2)
        for precision in "f32", "bf16":
            cast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")

            def train():
                optimizer.zero_grad(set_to_none=True)
                with cast():
                    outputs = network(images)
                torch.nn.functional.mse_loss(outputs.float(), targets).backward()
                optimizer.step()

            def infer():
                with torch.inference_mode(), cast():
                    network(images)

            network.train()
            print(f"pytorch {precision} {name} train {rate(train)}", flush=True)
            network.eval()
            print(f"pytorch {precision} {name} infer {rate(infer)}", flush=True)


def turns():
    own = ["python3", __file__, "--one", "--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    own[0] = os.sys.executable
    commands = [(own, False)]
    if arguments.ferrostem:
        commands.append((arguments.ferrostem, True))
    found = {}
    for turn in range(arguments.turns):
        # One thread for the parts that rayon does not know of, as many as PyTorch for those it does.
        environment = dict(os.environ, RAYON_NUM_THREADS=str(arguments.threads))
        for command, shell in commands:
            out = subprocess.run(command, shell=shell, env=environment, capture_output=True, text=True, check=True).stdout
            for key, wall, processor in re.findall(r"^((?:pytorch|ferrostem) \S+ [AB] (?:train|infer)) (\d+) samples/s, (\d+) per", out, re.M):
                found.setdefault(key, []).append((float(wall), float(processor)))
        print(f"turn {turn + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
    for column, what in enumerate(("second", "processor second")):
        print(f"\n{'samples per ' + what:32}median   lowest  highest   beside PyTorch f32 (turns)")
        for key, values in found.items():
            base = found["pytorch f32 " + " ".join(key.split()[2:])]
            ratios = [value[column] / other[column] for value, other in zip(values, base)]
            values = [value[column] for value in values]
            print(f"{key:30}{statistics.median(values):8.0f} {min(values):8.0f} {max(values):8.0f}"
                  f"   {statistics.median(ratios):5.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


if arguments.one:
    torch_lines()
else:
    turns()
