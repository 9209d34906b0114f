"""The FID's Inception against PyTorch: pytorch-fid's network written anew, file by torch.save."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.convert import weights

torch = pytest.importorskip("torch")


class Conv(torch.nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, in_dim, out_dim, size, **settings):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_dim, out_dim, size, bias=False, **settings)
        self.bn = torch.nn.BatchNorm2d(out_dim, eps=0.001)

    def forward(self, values):
        return torch.relu(self.bn(self.conv(values)))


class Block(torch.nn.Module):
    """Branches by name; `forward` of a subclass says how they are joined."""

    def __init__(self, **branches):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def chain(self, values, prefix, *suffixes):
        for suffix in suffixes:
            values = getattr(self, f"{prefix}_{suffix}")(values)
        return values

    def average(self, values):
        pool = torch.nn.functional.avg_pool2d
        return self.branch_pool(pool(values, 3, 1, 1, count_include_pad=False))


def seven(in_dim, out_dim, *, tall):
    size, padding = ((7, 1), (3, 0)) if tall else ((1, 7), (0, 3))
    return Conv(in_dim, out_dim, size, padding=padding)


class A(Block):
    def __init__(self, in_dim, pool_dim):
        super().__init__(
            branch1x1=Conv(in_dim, 64, 1),
            branch5x5_1=Conv(in_dim, 48, 1),
            branch5x5_2=Conv(48, 64, 5, padding=2),
            branch3x3dbl_1=Conv(in_dim, 64, 1),
            branch3x3dbl_2=Conv(64, 96, 3, padding=1),
            branch3x3dbl_3=Conv(96, 96, 3, padding=1),
            branch_pool=Conv(in_dim, pool_dim, 1),
        )

    def forward(self, values):
        five = self.chain(values, "branch5x5", 1, 2)
        double = self.chain(values, "branch3x3dbl", 1, 2, 3)
        return torch.cat([self.branch1x1(values), five, double, self.average(values)], 1)


class B(Block):
    def __init__(self, in_dim):
        super().__init__(
            branch3x3=Conv(in_dim, 384, 3, stride=2),
            branch3x3dbl_1=Conv(in_dim, 64, 1),
            branch3x3dbl_2=Conv(64, 96, 3, padding=1),
            branch3x3dbl_3=Conv(96, 96, 3, stride=2),
        )

    def forward(self, values):
        double = self.chain(values, "branch3x3dbl", 1, 2, 3)
        pooled = torch.nn.functional.max_pool2d(values, 3, 2)
        return torch.cat([self.branch3x3(values), double, pooled], 1)


class C(Block):
    def __init__(self, width):
        super().__init__(
            branch1x1=Conv(768, 192, 1),
            branch7x7_1=Conv(768, width, 1),
            branch7x7_2=seven(width, width, tall=False),
            branch7x7_3=seven(width, 192, tall=True),
            branch7x7dbl_1=Conv(768, width, 1),
            branch7x7dbl_2=seven(width, width, tall=True),
            branch7x7dbl_3=seven(width, width, tall=False),
            branch7x7dbl_4=seven(width, width, tall=True),
            branch7x7dbl_5=seven(width, 192, tall=False),
            branch_pool=Conv(768, 192, 1),
        )

    def forward(self, values):
        seven_wide = self.chain(values, "branch7x7", 1, 2, 3)
        double = self.chain(values, "branch7x7dbl", 1, 2, 3, 4, 5)
        return torch.cat([self.branch1x1(values), seven_wide, double, self.average(values)], 1)


class D(Block):
    def __init__(self):
        super().__init__(
            branch3x3_1=Conv(768, 192, 1),
            branch3x3_2=Conv(192, 320, 3, stride=2),
            branch7x7x3_1=Conv(768, 192, 1),
            branch7x7x3_2=seven(192, 192, tall=False),
            branch7x7x3_3=seven(192, 192, tall=True),
            branch7x7x3_4=Conv(192, 192, 3, stride=2),
        )

    def forward(self, values):
        three = self.chain(values, "branch3x3", 1, 2)
        long = self.chain(values, "branch7x7x3", 1, 2, 3, 4)
        return torch.cat([three, long, torch.nn.functional.max_pool2d(values, 3, 2)], 1)


class E(Block):
    def __init__(self, in_dim):
        super().__init__(
            branch1x1=Conv(in_dim, 320, 1),
            branch3x3_1=Conv(in_dim, 384, 1),
            branch3x3_2a=Conv(384, 384, (1, 3), padding=(0, 1)),
            branch3x3_2b=Conv(384, 384, (3, 1), padding=(1, 0)),
            branch3x3dbl_1=Conv(in_dim, 448, 1),
            branch3x3dbl_2=Conv(448, 384, 3, padding=1),
            branch3x3dbl_3a=Conv(384, 384, (1, 3), padding=(0, 1)),
            branch3x3dbl_3b=Conv(384, 384, (3, 1), padding=(1, 0)),
            branch_pool=Conv(in_dim, 192, 1),
        )

    def pool(self, values):
        return self.average(values)

    def forward(self, values):
        three = self.branch3x3_1(values)
        double = self.chain(values, "branch3x3dbl", 1, 2)
        parts = [self.branch1x1(values), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.pool(values)]
        return torch.cat(parts, 1)


class LastE(E):
    """The peculiarity of the graph of 2015-12-05."""

    def pool(self, values):
        return self.branch_pool(torch.nn.functional.max_pool2d(values, 3, 1, 1))


class Inception(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a, self.Mixed_6b = B(288), C(128)
        self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = C(160), C(160), C(192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = D(), E(1280), LastE(2048)
        self.fc = torch.nn.Linear(2048, 1008)

    def forward(self, values):
        """Features, spatial features in the order "h w c", logits without bias."""
        pool = torch.nn.functional.max_pool2d
        values = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(values)))
        values = pool(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(pool(values, 3, 2))), 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c"):
            values = getattr(self, f"Mixed_{name}")(values)
        spatial = self.Mixed_6d.branch1x1(values)[:, :7].permute(0, 2, 3, 1).flatten(1)
        for name in ("6d", "6e", "7a", "7b", "7c"):
            values = getattr(self, f"Mixed_{name}")(values)
        features = values.mean((2, 3))
        return features, spatial, features @ self.fc.weight.T


def randomize(network):
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.slow
def test_all_outputs_are_those_of_pytorch(tmp_path):
    torch.manual_seed(0)
    reference = Inception().eval()
    # The size the network works at, so that nothing is resized.
    images = torch.randint(0, 256, (1, 3, 299, 299)).float()
    with torch.no_grad():
        randomize(reference)
        expected = reference((images - 128) / 128)
    torch.save(reference.state_dict(), tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    network, params = weights.load_features("inception", tmp_path)
    outputs = jax.jit(network.apply)(params, jnp.asarray(images.numpy().transpose(0, 2, 3, 1)))
    found = (outputs.features, outputs.spatial, outputs.logits)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.1 * theirs.abs().mean()
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
