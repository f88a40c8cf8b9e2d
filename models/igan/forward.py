"""The network's forward on the CPU, without new memory for every layer: the same operations in the same order."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.igan.network import Fusion, IganNetwork, fuse
from models.igan.novelty import Mahalanobis


class TileForward:
    """`IganNetwork.views` and `fuse` of tiles of one size, to the bit, into buffers that are made once.

    A megabyte that every layer asks for and gives back costs more than the layer's arithmetic where the memory goes
    back to the system in between. The network must be in evaluation mode; one thread at a time.

    Parameters
    ----------
    network : on the CPU, its parameters without gradients
    rows : size of a tile
    """

    def __init__(self, network: IganNetwork, rows: int) -> None:
        self._network = network
        self._rows = rows
        self._heavy = network.preprocess.log > 0
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, tile: Tensor, distance: Mahalanobis, fusion: Fusion) -> Tensor:
        """(rows, F) → (rows, 4): score, class index (exact in float32), novelty, probability of that class."""
        network = self._network
        z = self._preprocessed(tile)
        latent = self._through("encoder", network.encoder.layers, z)
        logits = network.classifier.last(self._through("classifier", network.classifier.layers, latent))
        head = self._through("novelty", network.novelty.layers, latent).squeeze(1)
        benign = network.benign
        attack = torch.logsumexp(logits[:, benign:], dim=1) - torch.logsumexp(logits[:, :benign], dim=1)
        views = torch.stack([attack, head, self._distance(z, distance)], dim=1)
        score, novelty = fuse(views, fusion)
        likeliest = torch.softmax(logits, dim=1).max(dim=1)
        return torch.stack([score, likeliest.indices.to(torch.float32), novelty, likeliest.values], dim=1)

    def _preprocessed(self, tile: Tensor) -> Tensor:
        """As `Preprocess.forward`."""
        scaling, shape = self._network.preprocess, tile.shape
        compressed = torch.abs(tile, out=self._buffer("compressed", *shape)).log1p_()
        compressed.mul_(torch.sign(tile, out=self._buffer("sign", *shape)))
        z = torch.where(self._heavy, compressed, tile, out=self._buffer("z", *shape))
        return z.sub_(scaling.mean).div_(scaling.deviation).nan_to_num_(nan=0.0).clamp_(-scaling.clip, scaling.clip)

    def _through(self, part: str, layers: nn.Sequential, value: Tensor) -> Tensor:
        """As the layers themselves, in evaluation mode; TypeError for a kind of layer that is not known here."""
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.Linear):
                out = self._buffer(f"{part}.{number}", self._rows, layer.out_features)
                value = torch.addmm(layer.bias, value, layer.weight.T, out=out)
            elif isinstance(layer, nn.LayerNorm):
                value = layer(value)
            elif isinstance(layer, nn.SiLU):
                value = functional.silu(value, inplace=True)
            elif isinstance(layer, nn.LeakyReLU):
                value = functional.leaky_relu(value, layer.negative_slope, inplace=True)
            elif not isinstance(layer, nn.Dropout):
                raise TypeError(f"{part}: got a layer {layer}, expected one that a forward on tiles knows")
        return value

    def _distance(self, z: Tensor, distance: Mahalanobis) -> Tensor:
        """As `Mahalanobis.forward`."""
        moved = torch.sub(z, distance.centre, out=self._buffer("moved", *z.shape))
        white = torch.mm(moved, distance.whitening.T, out=self._buffer("white", *z.shape))
        return white.square_().mean(dim=1).sqrt_()

    def _buffer(self, name: str, *shape: int) -> Tensor:
        if name not in self._buffers:
            self._buffers[name] = torch.empty(shape)
        return self._buffers[name]
