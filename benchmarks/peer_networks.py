"""What two known trainers compute in one step, written anew for the benchmark. Unconditional.

Both work in float32 and the default memory layout; upsample, convolve, then pool as separate
operations; take a WGAN-GP penalty (weight 10) and a drift term (0.001) at every step; and run the
generator twice, once for each network's step. They differ in where the equalized learning rate
enters, in their pixel norms and in the first and last layers.
"""

import copy
import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import GeneratorConfig
from models.layers import minibatch_stddev


@dataclass(frozen=True)
class Peer:
    """Where the two differ."""

    scales_output: bool
    """The equalized factor multiplies the layer's output, bias and all, not its weights."""
    norm_first: bool
    """A pixel norm after the first layer of the generator, as after all others."""
    new_latents: bool
    """The generator's step draws new latents."""


PEERS = {
    "pytorch_GAN_zoo": Peer(scales_output=True, norm_first=True, new_latents=True),
    "pro_gan_pytorch": Peer(scales_output=False, norm_first=False, new_latents=False),
}


class Layer(nn.Module):
    """Equalized k×k convolution as the peer has it."""

    def __init__(self, peer: Peer, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.peer, self.padding = peer, kernel // 2 if kernel != 4 else 0
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.scale = math.sqrt(2 / (channels_in * kernel * kernel))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.peer.scales_output:
            return F.conv2d(x_BCHW, self.weight, self.bias, padding=self.padding) * self.scale
        return F.conv2d(x_BCHW, self.weight * self.scale, self.bias, padding=self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """As the formula stands."""
    return x * torch.rsqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)


def _activate(x: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(x, 0.2))


class Generator(nn.Module):
    """z_BZ → image_BCHW, at its full resolution."""

    def __init__(self, peer: Peer, config: GeneratorConfig) -> None:
        super().__init__()
        self.peer = peer
        channels = [config.channels(r) for r in config.resolutions]
        self.first = nn.Parameter(torch.randn(config.latent_dim, channels[0] * 16))
        self.first_bias = nn.Parameter(torch.zeros(channels[0] * 16))
        self.first_scale = math.sqrt(2 / config.latent_dim)
        self.conv = Layer(peer, channels[0], channels[0])
        self.blocks = nn.ModuleList(
            nn.ModuleList([Layer(peer, below, above), Layer(peer, above, above)])
            for below, above in itertools.pairwise(channels)
        )
        self.to_rgb = Layer(peer, channels[-1], 3, kernel=1)

    def forward(self, z_BZ: Tensor) -> Tensor:
        x = pixel_norm(z_BZ) @ self.first * self.first_scale + self.first_bias
        x = F.leaky_relu(x.reshape(len(z_BZ), -1, 4, 4), 0.2)
        x = _activate(self.conv(pixel_norm(x) if self.peer.norm_first else x))
        for conv0, conv1 in self.blocks:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = _activate(conv1(_activate(conv0(x))))
        return self.to_rgb(x)


class Discriminator(nn.Module):
    """image_BCHW → score_B."""

    def __init__(self, peer: Peer, config: GeneratorConfig) -> None:
        super().__init__()
        channels = [config.channels(r) for r in config.resolutions]
        base = channels[0]
        self.from_rgb = Layer(peer, 3, channels[-1], kernel=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Layer(peer, above, above), Layer(peer, above, below)])
            for below, above in itertools.pairwise(channels)
        )
        self.conv = Layer(peer, base + 1, base)
        self.dense = Layer(peer, base, base, kernel=4)
        self.score = Layer(peer, base, 1, kernel=1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        x = F.leaky_relu(self.from_rgb(image_BCHW), 0.2)
        for conv0, conv1 in reversed(self.blocks):
            x = F.leaky_relu(conv1(F.leaky_relu(conv0(x), 0.2)), 0.2)
            x = F.avg_pool2d(x, 2)
        x = F.leaky_relu(self.conv(minibatch_stddev(x)), 0.2)
        return self.score(F.leaky_relu(self.dense(x), 0.2)).flatten()


class PeerStep:
    """One step of the peer: discriminator, generator, average."""

    def __init__(self, peer: Peer, config: GeneratorConfig, batch: int) -> None:
        self.peer, self.batch, self.latent_dim = peer, batch, config.latent_dim
        self.generator, self.discriminator = Generator(peer, config), Discriminator(peer, config)
        self.average = copy.deepcopy(self.generator)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.0, 0.99), eps=1e-8)
            for network in (self.discriminator, self.generator)
        ]
        self.real_BCHW = torch.rand(batch, 3, config.resolution, config.resolution) * 2 - 1

    def __call__(self) -> None:
        z_BZ = torch.randn(self.batch, self.latent_dim)
        with torch.no_grad():
            fake_BCHW = self.generator(z_BZ)
        real_B, fake_B = self.discriminator(self.real_BCHW), self.discriminator(fake_BCHW)
        loss = fake_B.mean() - real_B.mean() + 0.001 * real_B.square().mean()
        self._descend(0, loss + 10 * self._penalty(fake_BCHW))

        if self.peer.new_latents:
            z_BZ = torch.randn(self.batch, self.latent_dim)
        self.discriminator.requires_grad_(False)
        self._descend(1, -self.discriminator(self.generator(z_BZ)).mean())
        self.discriminator.requires_grad_(True)

        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.generator.parameters(), strict=True)
            for mean, new in pairs:
                mean.lerp_(new, 0.001)

    def _penalty(self, fake_BCHW: Tensor) -> Tensor:
        mix = torch.rand(self.batch, 1, 1, 1)
        between = torch.lerp(self.real_BCHW, fake_BCHW, mix).requires_grad_(True)
        (gradient,) = torch.autograd.grad(
            self.discriminator(between).sum(), between, create_graph=True
        )
        return (gradient.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()

    def _descend(self, which: int, loss: Tensor) -> None:
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()
