"""PyTorch's numbers for the layers of the networks: makes network.safetensors.

    python network.py       (PyTorch 2.15.0, 2026-11-23; pip install torch numpy safetensors)

In double precision, a small network of every layer: convolution + bias + ReLU, convolution, batch normalization (training) + ReLU,
2 x 2 pooling to the largest, convolution as large as what is left; then the same with 2 x 2 mean pooling. Tensors are stored as
ferrostem has them: images (n, y, x, channel), kernels (y, x, in, out). `gradient.*` are those of the sum of result * weights. The
last entries are Gaussian negative log likelihoods, torch.nn.GaussianNLLLoss, with their gradients. Tolerance of the comparison:
1e-12, rounding in f64 of sums of some hundred terms of order 1.
"""

import torch
from safetensors.numpy import save_file

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
functional = torch.nn.functional
out = {}


def keep(name, tensor):
    """Channels first to channels last, kernels to (y, x, in, out)."""
    tensor = tensor.detach()
    if name.endswith("kernel"):
        tensor = tensor.permute(2, 3, 1, 0)
    elif tensor.dim() == 4:
        tensor = tensor.permute(0, 2, 3, 1)
    out[name] = tensor.contiguous().numpy()


for pooling in "maximum", "average":
    leaves = {
        "input": torch.randn(3, 2, 10, 12),
        "first.kernel": torch.randn(5, 2, 3, 3) * 0.3,
        "first.bias": torch.randn(5),
        "second.kernel": torch.randn(18, 5, 3, 3) * 0.3,
        "gain": torch.randn(18),
        "shift": torch.randn(18),
        "last.kernel": torch.randn(4, 18, 3, 4) * 0.1,
        "last.bias": torch.randn(4),
    }
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    first = functional.relu(functional.conv2d(leaves["input"], leaves["first.kernel"], leaves["first.bias"]))
    second = functional.conv2d(first, leaves["second.kernel"])
    mean, variance = torch.zeros(18), torch.ones(18)
    normalized = functional.relu(
        functional.batch_norm(second, mean, variance, leaves["gain"], leaves["shift"], training=True, momentum=1.0))
    pool = functional.max_pool2d if pooling == "maximum" else functional.avg_pool2d
    pooled = pool(normalized, 2)
    result = functional.conv2d(pooled, leaves["last.kernel"], leaves["last.bias"])
    weights = torch.randn(result.shape)
    (result * weights).sum().backward()
    values = dict(leaves, first=first, second=second, normalized=normalized, pooled=pooled, result=result, weights=weights)
    values.update(mean=mean, variance=variance)
    for name, value in values.items():
        keep(f"{pooling}.{name}", value)
    for name, leaf in leaves.items():
        keep(f"{pooling}.gradient.{name}", leaf.grad)

outputs = torch.randn(6, 4, requires_grad=True)
labels = torch.randn(6, 2)
loss = torch.nn.GaussianNLLLoss(eps=1e-12, reduction="sum")(outputs[:, :2], labels, outputs[:, 2:].exp())
loss.backward()
for name, value in dict(outputs=outputs, labels=labels, gradient=outputs.grad).items():
    keep(f"likelihood.{name}", value)
save_file(out, "network.safetensors")
