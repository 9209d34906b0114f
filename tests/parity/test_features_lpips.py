"""LPIPS against PyTorch: torchvision's backbones written anew, files written by torch.save."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.convert import weights

torch = pytest.importorskip("torch")


class Fire(torch.nn.Module):
    """torchvision's module of SqueezeNet."""

    def __init__(self, in_dim, squeeze_dim, expand_dim):
        super().__init__()
        self.squeeze = torch.nn.Conv2d(in_dim, squeeze_dim, 1)
        self.expand1x1 = torch.nn.Conv2d(squeeze_dim, expand_dim, 1)
        self.expand3x3 = torch.nn.Conv2d(squeeze_dim, expand_dim, 3, padding=1)

    def forward(self, values):
        values = torch.relu(self.squeeze(values))
        return torch.relu(torch.cat([self.expand1x1(values), self.expand3x3(values)], 1))


def squeeze():
    def pool():
        return torch.nn.MaxPool2d(3, 2, ceil_mode=True)

    modules = [torch.nn.Conv2d(3, 64, 3, stride=2), torch.nn.ReLU(), pool()]
    modules += [Fire(64, 16, 64), Fire(128, 16, 64), pool()]
    modules += [Fire(128, 32, 128), Fire(256, 32, 128), pool()]
    modules += [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return modules, (1, 4, 7, 9, 10, 11, 12)


def alex():
    conv, relu, pool = torch.nn.Conv2d, torch.nn.ReLU, torch.nn.MaxPool2d
    modules = [conv(3, 64, 11, stride=4, padding=2), relu(), pool(3, 2)]
    modules += [conv(64, 192, 5, padding=2), relu(), pool(3, 2)]
    modules += [conv(192, 384, 3, padding=1), relu(), conv(384, 256, 3, padding=1), relu()]
    return [*modules, conv(256, 256, 3, padding=1), relu()], (1, 4, 7, 9, 11)


def vgg():
    modules, taps, in_dim = [], [], 3
    for out_dim, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if modules:
            modules.append(torch.nn.MaxPool2d(2, 2))
        for _ in range(count):
            modules += [torch.nn.Conv2d(in_dim, out_dim, 3, padding=1), torch.nn.ReLU()]
            in_dim = out_dim
        taps.append(len(modules) - 1)
    return modules, tuple(taps)


BACKBONES = {
    "squeeze": (squeeze, "squeezenet1_1-b8a52dc0.pth"),
    "alex": (alex, "alexnet-owt-7be5be79.pth"),
    "vgg": (vgg, "vgg16-397923af.pth"),
}


class Distance(torch.nn.Module):
    """The lpips package's distance, version 0.1, without its dropout."""

    def __init__(self, backbone):
        super().__init__()
        modules, self.taps = backbone()
        self.features = torch.nn.Sequential(*modules)
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        widths = [maps.shape[1] for maps in self.maps(torch.zeros(1, 3, 64, 64))]
        self.heads = [torch.rand(1, width, 1, 1) for width in widths]

    def maps(self, images):
        shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
        values, maps = (
            (images - shift) / torch.tensor([0.458, 0.448, 0.450])[None, :, None, None],
            [],
        )
        for index, module in enumerate(self.features):
            values = module(values)
            if index in self.taps:
                maps.append(values)
        return maps

    def forward(self, first, second):
        total = 0
        for head, *pair in zip(self.heads, self.maps(first), self.maps(second), strict=True):
            ours, theirs = (maps / (maps.norm(dim=1, keepdim=True) + 1e-10) for maps in pair)
            total = total + (head * (ours - theirs) ** 2).sum(1).mean((1, 2))
        return total


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["squeeze", "alex", "vgg"])
def test_distances_and_gradients_are_those_of_pytorch(backbone, tmp_path):
    torch.manual_seed(0)
    build, file = BACKBONES[backbone]
    reference = Distance(build)
    torch.save(reference.state_dict(), tmp_path / file)
    heads = {f"lin{index}.model.1.weight": head for index, head in enumerate(reference.heads)}
    torch.save(heads, tmp_path / f"{backbone}.pth")

    first, second = 2 * torch.rand(2, 2, 3, 40, 47) - 1
    second.requires_grad_()
    expected = reference(first, second)
    expected.sum().backward()

    network, params = weights.load_lpips(backbone, tmp_path)

    def total(second, params, first):
        distances = network.distance(params, first, second)
        return distances.sum(), distances

    ours = [jnp.asarray(x.detach().numpy().transpose(0, 2, 3, 1)) for x in (first, second)]
    gradient, distances = jax.jit(jax.grad(total, has_aux=True))(ours[1], params, ours[0])
    np.testing.assert_allclose(distances, expected.detach(), rtol=1e-4)
    expected_gradient = second.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(
        gradient, expected_gradient, atol=1e-3 * np.abs(expected_gradient).max()
    )
