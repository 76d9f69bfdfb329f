"""A model of ferrostem in PyTorch: python docs/pytorch.py MODEL/ subimages.npy D.npy

Sub-images (n, 1, y, x) are cut from standardized images, as in a dataset; D (n, 2) [pm] is the mean over the ensemble."""

import pathlib, sys, tomllib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


def network(weights, model, x):
    """Outputs (n, ...) of one network, in units of the scales."""
    pool = {"maximum": F.max_pool2d, "average": F.avg_pool2d}[model["pooling"]]

    def convolution(name, x):
        x = F.conv2d(x, weights[f"{name}.weight"].permute(3, 2, 0, 1), weights.get(f"{name}.bias"))
        if f"{name}.gain" not in weights:
            return x
        of = lambda key: weights[f"{name}.{key}"]
        return F.batch_norm(x, of("running_mean"), of("running_variance"), of("gain"), of("shift"), eps=1e-5)

    for b, block in enumerate(model["blocks"]):
        x = pool(x, 2) if b > 0 else x
        for c in range(len(block)):
            if model["residual"] and c % 2 == 1:
                kept = x
            x = convolution(f"block{b}.convolution{c}", x)
            if model["residual"] and c > 0 and c % 2 == 0:
                x = x + kept[:, :, 2:-2, 2:-2]
            x = torch.relu(x)
    x = pool(x, 2) if model["pool_last"] else x
    return convolution("displacement", torch.relu(convolution("hidden", x))).flatten(1)


folder = pathlib.Path(sys.argv[1])
description = tomllib.loads((folder / "model.toml").read_text())
images = torch.from_numpy(np.load(sys.argv[2]))
files = sorted(folder.glob("weights*.safetensors"))
with torch.no_grad():
    outputs = [network(load_file(file), description["model"], images) for file in files]
np.save(sys.argv[3], description["target_scale_pm"] * torch.stack(outputs)[:, :, :2].mean(0).numpy())
